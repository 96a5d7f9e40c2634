//! `fanfare events serve`: an event service without modules.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use fanfare::raise_descriptor_limit;
use fanfare::tooling::EventServer;
use fanfare::tooling::config::formats;

use crate::config::FileArgs;
use crate::error::CommandError;
use crate::log::{Format, start_log};
use crate::project;
use crate::serve::Signals;
use crate::terminal::{exit_code, print};

/// Flags of `fanfare events serve`.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeEventsArgs {
    /// The settings file [default: fanfare.json in the current folder or the nearest one above].
    #[arg(long, value_name = "FILE", env = "FANFARE_CONFIG")]
    pub config: Option<PathBuf>,
    /// The environment, which selects a section of `environments` [default: development].
    #[arg(long, value_name = "NAME", env = "FANFARE_ENV")]
    pub env: Option<String>,
    /// The address for clients; overrides `events.listen` [default: 127.0.0.1:14440].
    #[arg(long, value_name = "ADDRESS", env = "FANFARE_EVENTS_LISTEN", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// The log filter, such as `info`, `debug` or `fanfare=debug`.
    #[arg(long, value_name = "FILTER", env = "FANFARE_LOG", default_value = "info")]
    pub log: String,
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    formats::address(text).ok_or("must be an IP address and port, such as `127.0.0.1:14440` or `:14440`")
}

pub fn run(args: &ServeEventsArgs) -> ExitCode {
    exit_code(serve(args))
}

/// Serves until a signal arrives. The first signal ends the streams, the second one the process.
fn serve(args: &ServeEventsArgs) -> Result<ExitCode, CommandError> {
    let file = FileArgs { config: args.config.clone(), env: args.env.clone(), modules: None };
    let mut config = project::settings(&file.alone())?;
    if let Some(url) = &config.events.connect {
        return Err(CommandError::ServesAndConnects(url.clone()));
    }
    config.events.listen = args.listen.or(config.events.listen);
    let (_log, _) = start_log(&args.log, Format::Full, None)?;
    raise_descriptor_limit();
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    crate::runtime()?.block_on(async {
        let mut signals = Signals::new().map_err(CommandError::Signals)?;
        let server = EventServer::bind(config)?;
        print(&format!("fanfare events http://{}\n", server.addr()));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let mut running = std::pin::pin!(server.run(async { drop(stopped.await) }));
        tokio::select! {
            result = &mut running => return result.map(|()| ExitCode::SUCCESS).map_err(CommandError::from),
            _ = signals.next() => {}
        }
        drop(stop);
        tokio::select! {
            result = running => result.map(|()| ExitCode::SUCCESS).map_err(CommandError::from),
            code = signals.next() => Ok(ExitCode::from(code)),
        }
    })
}
