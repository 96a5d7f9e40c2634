//! `fanfare serve`.

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::builder::FalseyValueParser;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use super::config::SettingsArgs;
use super::progress::{Line, progress};
use super::terminal::{complain, print};
use fanfare::tooling::{ModuleState, raise_limit};
use fanfare::{Config, Host, RunningHost, Stopped};

/// Flags of `fanfare serve`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Exit with status 1 when a module is refused or has failed.
    #[arg(long, env = "FANFARE_STRICT", value_parser = FalseyValueParser::new())]
    pub strict: bool,
    /// What to log, such as `info`, `debug` or `fanfare=debug,guest=warn`.
    #[arg(long, value_name = "FILTER", env = "FANFARE_LOG", default_value = "info")]
    pub log: String,
}

/// What a command does beside the host that it runs.
pub trait Companion {
    /// When the host has its ports, and has loaded nothing yet.
    fn before(&mut self) -> impl Future<Output = ()>;

    /// As long as it serves.
    fn beside(&mut self, host: &RunningHost) -> impl Future<Output = Infallible>;
}

/// Nothing.
struct Alone;

impl Companion for Alone {
    async fn before(&mut self) {}

    async fn beside(&mut self, _: &RunningHost) -> Infallible {
        std::future::pending().await
    }
}

/// Serves until a signal comes. The first one drains, the second one ends at once.
pub fn run(args: &ServeArgs) -> ExitCode {
    let config = Config::load(args.settings.sources(PathBuf::new())).map_err(|faults| faults.to_string());
    exit(config.and_then(|config| serve(args, config, Alone)))
}

/// The exit code of a command that has served, with the reason when it could not.
pub fn exit(served: Result<ExitCode, String>) -> ExitCode {
    match served {
        Ok(code) => code,
        Err(message) => {
            complain(&format!("fanfare: {message}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal comes.
pub fn serve(args: &ServeArgs, config: Config, mut companion: impl Companion) -> Result<ExitCode, String> {
    let line = Line::on_terminal();
    let (log, lost) = start_log(&args.log, line.clone())?;
    raise_limit();
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let compiler = std::env::current_exe().map_err(|error| format!("the program does not find itself: {error}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the runtime does not start: {error}"))?;
    runtime.block_on(async {
        let mut signals = Signals::new().map_err(|error| format!("signals cannot be watched: {error}"))?;
        let strict = args.strict;
        let host = Host::bind(config, compiler).map_err(|error| error.to_string())?.with_progress(progress(line));
        let host = host.with_lost_lines(Arc::new(move || lost.dropped_lines()));
        let start = async {
            companion.before().await;
            let host = host.start().await.map_err(|error| error.to_string())?;
            if strict { must_be_whole(host) } else { Ok(host) }
        };
        let host = tokio::select! {
            host = start => host?,
            code = signals.next() => return Ok(ExitCode::from(code)),
        };
        greet(&host);
        let code = tokio::select! {
            code = signals.next() => code,
            never = companion.beside(&host) => match never {},
        };
        tracing::info!("draining; a second signal ends at once");
        tokio::select! {
            stopped = host.stop() => Ok(match stopped {
                Stopped::Clean => ExitCode::SUCCESS,
                Stopped::CutOff => {
                    tracing::warn!("some calls were cut off at shutdown.drain");
                    ExitCode::SUCCESS
                }
            }),
            // At once, whatever the threads are at.
            _ = signals.next() => {
                drop(log);
                std::process::exit(i32::from(code))
            }
        }
    })
}

/// The host, unless a module of it is refused or not ready.
pub(super) fn must_be_whole(host: RunningHost) -> Result<RunningHost, String> {
    let mut faults = host.roster().refused();
    for slot in host.dispatch().places().all().flat_map(|isolate| isolate.slots()).filter(|slot| !slot.is_ready()) {
        let state = slot.state();
        faults.push(format!("{} in {}: {}", slot.module, slot.isolate, state.why().unwrap_or(state.as_str())));
    }
    if faults.is_empty() { Ok(host) } else { Err(format!("--strict: {}", faults.join("\n"))) }
}

/// Says what is served where.
fn greet(host: &RunningHost) {
    let mut text =
        format!("fanfare serves http://{}\n      operator http://{}\n", host.http_address(), host.admin_address());
    for (name, state) in host.roster().states() {
        let line = match (&state, state.absent()) {
            (ModuleState::Installed(generation), _) => {
                let routes = generation.manifest.routes.len();
                format!("  {name:<20} /api/{name}/  {routes} routes, generation {}", generation.short_digest())
            }
            (_, absent) => format!("  {name:<20} {}", absent.unwrap_or_default()),
        };
        text.push_str(&line);
        text.push('\n');
    }
    print(&text);
}

/// Lines of the log that wait for whoever reads standard error. Beyond these they are lost and counted: a reader that stands
/// still stops nothing else.
const WAITING_LINES: usize = 8_192;

/// Text on a terminal, else JSON, to standard error. The guard writes what waits when it goes.
fn start_log(filter: &str, terminal: Option<Line>) -> Result<(WorkerGuard, ErrorCounter), String> {
    // What watches files warns of each watch that ends with its folder. A directive of the user's own comes later and counts.
    let directives = format!("notify=error,{filter}");
    let filter = EnvFilter::try_new(directives).map_err(|error| format!("--log {filter}: {error}"))?;
    let queue = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES).thread_name("log");
    let is_terminal = terminal.is_some();
    let (writer, guard) = match terminal {
        Some(line) => queue.finish(line),
        None => queue.finish(std::io::stderr()),
    };
    let lost = writer.error_counter();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match is_terminal {
        true => log.with_ansi(true).init(),
        false => log.json().flatten_event(true).init(),
    }
    Ok((guard, lost))
}

/// The signals that end the program.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The exit code that a shell gives to a process ended by the signal that came.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}
