//! `fanfare events serve`: an event service without modules.

use std::path::PathBuf;
use std::process::ExitCode;

use fanfare::tooling::EventServer;
use fanfare::{Config, raise_descriptor_limit};

use crate::config::SettingsArgs;
use crate::error::CommandError;
use crate::serve::{Signals, start_log};
use crate::terminal::{exit_code, print};

/// Flags of `fanfare events serve`.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeEventsArgs {
    /// The settings file [default: fanfare.json, if it exists].
    #[arg(long, value_name = "FILE", env = "FANFARE_CONFIG")]
    pub config: Option<PathBuf>,
    /// The environment, which selects a section of `environments` [default: development].
    #[arg(long, value_name = "NAME", env = "FANFARE_ENV")]
    pub env: Option<String>,
    /// The address for clients; overrides `events.listen` [default: 127.0.0.1:14440].
    #[arg(long, value_name = "ADDRESS", env = "FANFARE_EVENTS_LISTEN")]
    pub listen: Option<std::net::SocketAddr>,
    /// The log filter, such as `info`, `debug` or `fanfare=debug`.
    #[arg(long, value_name = "FILTER", env = "FANFARE_LOG", default_value = "info")]
    pub log: String,
}

pub fn run(args: &ServeEventsArgs) -> ExitCode {
    exit_code(serve(args))
}

/// Serves until a signal arrives. The first signal ends the streams, the second one the process.
fn serve(args: &ServeEventsArgs) -> Result<ExitCode, CommandError> {
    let settings = SettingsArgs { config: args.config.clone(), env: args.env.clone(), ..SettingsArgs::default() };
    let mut config = Config::load(settings.sources(PathBuf::new()))?;
    if let Some(url) = &config.events.connect {
        return Err(CommandError::ServesAndConnects(url.clone()));
    }
    config.events.listen = args.listen.or(config.events.listen);
    let (_log, _) = start_log(&args.log, None)?;
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
