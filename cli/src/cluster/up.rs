//! `fanfare cluster up`: runs the servers of this machine, and shows their logs in one terminal.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::lines::Lines;
use super::restarts::Restarts;
use super::select::{Named, select};
use super::supervise::{Ended, Phase, Supervised};
use crate::config::FileArgs;
use crate::error::CommandError;
use crate::machine::is_here;
use crate::project;
use crate::serve::Signals;
use crate::terminal::{eprint, exit_code};
use fanfare::Config;
use fanfare::settings::ServerConfig;

/// Flags of `fanfare cluster up`.
#[derive(Debug, clap::Args)]
pub struct UpArgs {
    /// The servers: ids, server types, or ranges such as `chat-1~3` [default: all of this machine].
    #[arg(value_name = "NAMES")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub file: FileArgs,
    /// The log filter of the servers, such as `info`, `debug` or `fanfare=debug,guest=warn`.
    #[arg(long, value_name = "FILTER", env = "FANFARE_LOG", default_value = "info")]
    pub log: String,
}

/// Runs the servers until a signal arrives, or all have stopped.
pub fn run(args: &UpArgs) -> ExitCode {
    exit_code(up(args))
}

fn up(args: &UpArgs) -> Result<ExitCode, CommandError> {
    let config = project::settings(&args.file.alone())?;
    for warning in &config.warnings {
        eprint(&format!("warning: {warning}\n"));
    }
    let chosen = chosen(&config, &args.names)?;
    if config.cluster.nats.is_none() && chosen.len() > 1 {
        eprint("warning: cluster.nats is not set, so these servers do not reach each other; set it to a NATS server\n");
    }
    let program = crate::program()?;
    let supervised = chosen.into_iter().map(|server| Supervised {
        id: server.id.clone(),
        frontend: server.frontend,
        program: program.clone(),
        args: arguments(args, &config, server),
        restarts: Restarts::new(&config.isolate),
        drain: config.shutdown.drain,
    });
    crate::runtime()?.block_on(supervise(supervised.collect()))
}

/// The servers that are meant, all of this machine.
fn chosen<'a>(config: &'a Config, names: &[String]) -> Result<Vec<&'a ServerConfig>, CommandError> {
    let environment = &config.environment;
    if config.servers.is_empty() {
        return Err(CommandError::Cluster(format!(
            "there are no servers in the environment {environment}: add them to cluster.servers in fanfare.json, or \
             choose another environment with --env"
        )));
    }
    let all: Vec<Named> =
        config.servers.iter().map(|server| Named { id: &server.id, server: &server.server }).collect();
    let selected = select(names, &all).map_err(CommandError::Cluster)?;
    let is_selected = |server: &&ServerConfig| selected.iter().any(|named| named.id == server.id);
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        config.servers.iter().filter(is_selected).partition(|server| is_here(&server.host));
    match here.first() {
        Some(_) => Ok(here),
        None => {
            let hosts: Vec<String> =
                elsewhere.iter().map(|server| format!("{} is on {}", server.id, server.host)).take(20).collect();
            Err(CommandError::Cluster(format!(
                "no server is meant for this machine: {}; run this command there, or set `host`",
                hosts.join(", ")
            )))
        }
    }
}

/// The arguments of the process of a server.
fn arguments(args: &UpArgs, config: &Config, server: &ServerConfig) -> Vec<OsString> {
    let mut all: Vec<OsString> = ["serve", "--stop-on-eof", "--node"].map(Into::into).to_vec();
    all.extend([server.id.as_str(), "--env", &config.environment, "--log", &args.log].map(Into::into));
    // The processes see a pipe in place of the terminal.
    let format = if io::stdout().is_terminal() { "text" } else { "auto" };
    all.extend(["--log-format", format].map(Into::into));
    if let Some(file) = &config.file {
        all.extend(["--config".into(), file.into()]);
    }
    if let Some(modules) = &args.file.modules {
        all.extend(["--modules".into(), modules.into()]);
    }
    all.extend(server.args.iter().map(Into::into));
    all
}

/// Runs the processes. The first signal stops them in order, the frontends first, because they need
/// the others; the second one kills them.
async fn supervise(supervised: Vec<Supervised>) -> Result<ExitCode, CommandError> {
    let mut signals = Signals::of_terminal().map_err(CommandError::Signals)?;
    let width = supervised.iter().map(|server| server.id.len()).max().unwrap_or_default();
    let (lines, writer) = Lines::start(width).map_err(CommandError::Runtime)?;
    let (phase, followed) = watch::channel(Phase::Run);
    let mut frontends = supervised.iter().filter(|server| server.frontend).count();
    let mut running = JoinSet::new();
    for server in supervised {
        running.spawn(server.keep(followed.clone(), lines.clone()));
    }
    let mut code = ExitCode::SUCCESS;
    loop {
        let now = *phase.borrow();
        if now == Phase::StopFrontends && frontends == 0 {
            phase.send_replace(Phase::StopAll);
        }
        tokio::select! {
            ended = running.join_next() => match ended {
                Some(Ok((frontend, how))) => {
                    frontends = frontends.saturating_sub(usize::from(frontend));
                    if how == Ended::GivenUp {
                        code = ExitCode::FAILURE;
                    }
                }
                Some(Err(error)) => {
                    eprint(&format!("error: a server is not supervised any more: {error}\n"));
                    code = ExitCode::FAILURE;
                }
                None => break,
            },
            _ = signals.next() => {
                phase.send_replace(if now == Phase::Run { Phase::StopFrontends } else { Phase::Kill });
            }
        }
    }
    drop((running, lines));
    writer.finish();
    Ok(code)
}
