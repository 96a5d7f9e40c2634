//! `fanfare serve`: runs a host until a signal arrives.

mod parent;
mod reboot;

use std::convert::Infallible;
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::config::SettingsArgs;
use super::descriptors::raise_limit;
use super::error::CommandError;
use super::log::{Format, LogFormat, start_log};
use super::progress::{Line, progress};
use super::project;
use super::terminal::{exit_code, print};
use fanfare::api::ModuleStatus;
use fanfare::{Config, Host, RunningHost, Stopped};
use parent::Parent;
use reboot::Reboot;

/// Flags of `fanfare serve`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Exit with status 1 if a module is refused or fails to start.
    #[arg(long, env = "FANFARE_STRICT", value_parser = FalseyValueParser::new())]
    pub strict: bool,
    /// The log filter, such as `info`, `debug` or `fanfare=debug,guest=warn`.
    #[arg(long, value_name = "FILTER", env = "FANFARE_LOG", default_value = "info")]
    pub log: String,
    /// How the log looks. `auto`: text on a terminal, JSON elsewhere.
    #[arg(long, value_name = "FORMAT", env = "FANFARE_LOG_FORMAT", default_value = "auto")]
    pub log_format: LogFormat,
    /// Stop in order when standard input, which must be a pipe, ends: then the process that
    /// started this one has ended.
    #[arg(long, env = "FANFARE_STOP_ON_EOF", value_parser = FalseyValueParser::new())]
    pub stop_on_eof: bool,
}

/// Work that a command does around the host that it runs.
pub trait ServeHooks {
    /// How the log looks.
    fn log_format(&self) -> Format {
        Format::Full
    }

    /// The signals that stop the host.
    fn signals(&self) -> std::io::Result<Signals> {
        Signals::new()
    }

    /// Runs once, after the host has bound its ports and before it loads modules.
    fn before_loading(&mut self) -> impl Future<Output = ()>;

    /// Runs while the host serves.
    fn while_serving(&mut self, host: &RunningHost) -> impl Future<Output = Infallible>;
}

/// The hooks of `fanfare serve`, which do nothing.
struct NoHooks;

impl ServeHooks for NoHooks {
    async fn before_loading(&mut self) {}

    async fn while_serving(&mut self, _: &RunningHost) -> Infallible {
        std::future::pending().await
    }
}

/// Serves until a signal arrives. The first signal drains the host, the second one ends the process
/// at once.
pub fn run(args: &ServeArgs) -> ExitCode {
    exit_code(project::settings(&args.settings).and_then(|config| serve(args, config, NoHooks)))
}

/// Runs a host, and the hooks around it, until a signal arrives.
pub fn serve(args: &ServeArgs, config: Config, mut hooks: impl ServeHooks) -> Result<ExitCode, CommandError> {
    let line = Line::on_terminal();
    let (log, lost) = start_log(&args.log, args.log_format.or(hooks.log_format()), line.clone())?;
    raise_limit();
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let executable = super::program()?;
    super::runtime()?.block_on(async {
        let mut signals = hooks.signals().map_err(CommandError::Signals)?;
        let mut parent = Parent::new(args.stop_on_eof).map_err(CommandError::Pipe)?;
        let mut reboot = Reboot::new(&config).map_err(CommandError::Signals)?;
        let host = Host::builder().config(config).compiler(executable).progress(progress(line));
        let host = host.lost_log_lines(move || lost.dropped_lines()).bind()?;
        let start = async {
            hooks.before_loading().await;
            let host = host.start().await?;
            match host.not_ready() {
                reasons if args.strict && !reasons.is_empty() => Err(CommandError::Strict(reasons)),
                _ => Ok(host),
            }
        };
        let host = tokio::select! {
            host = start => host?,
            code = signals.next() => return Ok(ExitCode::from(code)),
            () = parent.ended() => return Ok(ExitCode::SUCCESS),
        };
        greet(&host);
        let code = tokio::select! {
            code = signals.next() => code,
            () = parent.ended() => {
                tracing::info!("the process that started this host has ended, so it stops");
                0
            }
            () = host.asked_to_stop() => {
                tracing::info!("the operator asks this node to stop");
                0
            }
            never = hooks.while_serving(&host) => match never {},
            never = reboot.run(&host) => match never {},
        };
        tracing::info!("draining; send the signal again to stop at once");
        tokio::select! {
            stopped = host.shutdown() => Ok(match stopped {
                Stopped::Clean => ExitCode::SUCCESS,
                Stopped::CutOff => {
                    tracing::warn!("shutdown.drain has passed: some calls were cut off");
                    ExitCode::SUCCESS
                }
            }),
            // Skips destructors, because they would wait for threads that are busy.
            _ = signals.next() => {
                drop(log);
                std::process::exit(i32::from(code))
            }
        }
    })
}

/// Prints the addresses and the state of every module.
fn greet(host: &RunningHost) {
    let clients = match host.addr() {
        none if none.port() == 0 => "fanfare serves other nodes\n".to_owned(),
        addr => format!("fanfare serves http://{addr}\n"),
    };
    let mut text = format!("{clients}      operator http://{}\n", host.admin_addr());
    if let Some(addr) = host.events_addr() {
        text.push_str(&format!("        events http://{addr}\n"));
    }
    let status = host.status();
    for module in &status.modules {
        text.push_str(&line(module));
        text.push('\n');
    }
    for note in status.notes.iter().flat_map(|note| note.lines()) {
        text.push_str(&format!("  note: {note}\n"));
    }
    print(&text);
}

/// One line about a module: where it serves, or why it does not.
fn line(module: &ModuleStatus) -> String {
    let ModuleStatus { name, state, generation, .. } = module;
    if let Some(generation) = generation {
        let short = generation.get(..12).unwrap_or(generation);
        return format!("  {name:<20} /api/{name}/  {}, generation {short}", served(module));
    }
    let reason = module.reason.as_deref().and_then(|reason| reason.lines().next()).unwrap_or_default();
    match state {
        _ if reason.is_empty() => format!("  {name:<20} {state}"),
        _ => format!("  {name:<20} {state}: {reason}"),
    }
}

/// What a module serves: routes, or all requests through `wasi:http`.
fn served(module: &ModuleStatus) -> String {
    let ModuleStatus { routes, wasi_http, mounted, .. } = module;
    let count = if *routes == 1 { "1 route".to_owned() } else { format!("{routes} routes") };
    let Some(export) = wasi_http else { return count };
    let (_, version) = export.rsplit_once('@').unwrap_or_default();
    let routes = if *routes == 0 { String::new() } else { format!("{count}, ") };
    let place = if *mounted { " here and on all other paths" } else { "" };
    format!("{routes}wasi:http {version}{place}")
}

/// The signals that stop the host.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// SIGHUP and SIGQUIT.
    others: Option<(Signal, Signal)>,
}

impl Signals {
    pub fn new() -> std::io::Result<Signals> {
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Signals { interrupt, terminate, others: None })
    }

    /// All signals that a terminal sends to end a program.
    pub fn of_terminal() -> std::io::Result<Signals> {
        let others = Some((signal(SignalKind::hangup())?, signal(SignalKind::quit())?));
        Ok(Signals { others, ..Signals::new()? })
    }

    /// Waits for a signal; returns the exit code that a shell reports for a process that this
    /// signal ended.
    pub async fn next(&mut self) -> u8 {
        let others = async {
            match &mut self.others {
                Some((hangup, quit)) => tokio::select! {
                    _ = hangup.recv() => 129,
                    _ = quit.recv() => 131,
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
            code = others => code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_route_is_no_plural() {
        let all = [0, 1, 2].map(|routes| served(&ModuleStatus { routes, ..ModuleStatus::default() }));
        assert_eq!(all, ["0 routes", "1 route", "2 routes"]);
        let export = Some("wasi:http/handler@0.3.0".to_owned());
        let both = ModuleStatus { routes: 1, wasi_http: export, ..ModuleStatus::default() };
        assert_eq!(served(&both), "1 route, wasi:http 0.3.0");
    }
}
