//! SIGUSR2: kills all workers, one after another (`master.rebootOnSignal`).

use std::convert::Infallible;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use fanfare::api::KillMode;
use fanfare::tooling::config::is_development;
use fanfare::{Config, RunningHost};

/// The signal, which the process never dies of.
pub struct Reboot {
    signal: Signal,
    /// `None` if the host ignores the signal.
    mode: Option<KillMode>,
}

impl Reboot {
    pub fn new(config: &Config) -> io::Result<Reboot> {
        Ok(Reboot { signal: signal(SignalKind::user_defined2())?, mode: mode(config) })
    }

    /// Kills the workers of a host whenever the signal arrives. Signals that arrive during a kill
    /// cause one more kill together.
    pub async fn run(&mut self, host: &RunningHost) -> Infallible {
        loop {
            if self.signal.recv().await.is_none() {
                return std::future::pending().await;
            }
            let Some(mode) = self.mode else {
                tracing::warn!("ignoring SIGUSR2, because master.rebootOnSignal is false");
                continue;
            };
            tracing::info!(?mode, "SIGUSR2: killing all workers, one after another");
            match host.kill_workers(None, mode).await {
                Ok(killed) => tracing::info!("SIGUSR2: killed {} workers", killed.len()),
                Err(error) => tracing::error!("SIGUSR2: not every worker was killed: {error}"),
            }
        }
    }
}

/// SocketCluster kills at once in its environment `dev`, because no client's calls matter there.
fn mode(config: &Config) -> Option<KillMode> {
    let mode = if is_development(&config.environment) { KillMode::Immediate } else { KillMode::Graceful };
    config.master.reboot_on_signal.then_some(mode)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn workers_are_killed_at_once_in_development_only() {
        let mut config = Config::from_text("{}", Path::new("/")).unwrap();
        for (environment, expected) in [
            ("dev", KillMode::Immediate),
            ("development", KillMode::Immediate),
            ("test", KillMode::Graceful),
            ("production", KillMode::Graceful),
        ] {
            environment.clone_into(&mut config.environment);
            assert_eq!(mode(&config), Some(expected), "{environment}");
        }
        config.master.reboot_on_signal = false;
        assert_eq!(mode(&config), None);
    }
}
