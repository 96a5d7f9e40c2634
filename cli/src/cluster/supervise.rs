//! Keeps a server running: starts its process, shows its log, and starts it again when it dies.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::lines::Lines;
use super::restarts::Restarts;

/// How long a process may take beyond `shutdown.drain` before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// How long the end of a process waits for the rest of its log, which a process that it has started
/// may hold open.
const REST_OF_LOG: Duration = Duration::from_secs(1);

/// The variables that choose a server or a listener. They mean the command that has them.
const OWN_VARIABLES: &[&str] = &["FANFARE_NODE_ID", "FANFARE_HTTP_LISTEN", "FANFARE_ADMIN_LISTEN"];

/// What the processes are to do. Each state includes those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Run,
    /// The frontends stop in order.
    StopFrontends,
    StopAll,
    /// All are killed.
    Kill,
}

/// How a server has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// In order, or because the command ends.
    Stopped,
    /// It died too often, or cannot be started.
    GivenUp,
}

/// A server and its process.
pub struct Supervised {
    pub id: String,
    pub frontend: bool,
    pub program: PathBuf,
    pub args: Vec<OsString>,
    pub restarts: Restarts,
    /// The setting `shutdown.drain`.
    pub drain: Duration,
}

impl Supervised {
    /// Runs the server until it stops in order, is given up, or `phase` ends it.
    pub async fn keep(mut self, mut phase: watch::Receiver<Phase>, lines: Lines) -> (bool, Ended) {
        let ended = loop {
            let mut child = match self.spawn() {
                Ok(child) => child,
                Err(error) => {
                    lines.say(&self.id, &format!("cannot be started: {error}"));
                    break Ended::GivenUp;
                }
            };
            lines.say(&self.id, &format!("starts as process {}", child.id().unwrap_or_default()));
            // The process stops when this end of the pipe is closed.
            let pipe = child.stdin.take();
            let log = self.log(&mut child, &lines);
            let status = self.ended(&mut child, &mut phase).await;
            for part in log {
                _ = tokio::time::timeout(REST_OF_LOG, part).await;
            }
            drop(pipe);
            match status {
                Ok(status) if status.success() => {
                    lines.say(&self.id, "has stopped");
                    break Ended::Stopped;
                }
                status => {
                    let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    if self.is_to_stop(*phase.borrow()) {
                        lines.say(&self.id, &format!("has ended: {how}"));
                        break Ended::Stopped;
                    }
                    let Some(wait) = self.restarts.next(Instant::now()) else {
                        let why = self.restarts.given_up();
                        let hint = "see its log above, and start it again with fanfare cluster up";
                        lines.say(&self.id, &format!("died ({how}), and is given up after {why}: {hint} {}", self.id));
                        break Ended::GivenUp;
                    };
                    lines.say(&self.id, &format!("died ({how}); starts again in {wait:?}"));
                    if self.stopped_within(wait, &mut phase).await {
                        break Ended::Stopped;
                    }
                }
            }
        };
        (self.frontend, ended)
    }

    fn is_to_stop(&self, phase: Phase) -> bool {
        phase >= Phase::StopAll || (self.frontend && phase >= Phase::StopFrontends)
    }

    fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        OWN_VARIABLES.iter().for_each(|name| _ = command.env_remove(name));
        // A signal of the terminal reaches this process only, which stops the others in order.
        command.process_group(0).kill_on_drop(true).spawn()
    }

    fn log(&self, child: &mut Child, lines: &Lines) -> Vec<JoinHandle<()>> {
        let out = child.stdout.take().map(|out| tokio::spawn(lines.clone().copy(self.id.clone(), out)));
        let error = child.stderr.take().map(|error| tokio::spawn(lines.clone().copy(self.id.clone(), error)));
        out.into_iter().chain(error).collect()
    }

    /// Waits for the end of the process, and ends it when `phase` says so.
    async fn ended(&self, child: &mut Child, phase: &mut watch::Receiver<Phase>) -> io::Result<ExitStatus> {
        let mut deadline = None;
        loop {
            let now = *phase.borrow_and_update();
            if now == Phase::Kill {
                child.start_kill()?;
                return child.wait().await;
            }
            if self.is_to_stop(now) && deadline.is_none() {
                deadline = Some(tokio::time::Instant::now() + self.drain + GRACE);
                let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
                if let Some(pid) = pid {
                    // The process may just have ended.
                    _ = kill_process(pid, Signal::TERM);
                }
            }
            let late = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                status = child.wait() => return status,
                changed = phase.changed() => if changed.is_err() {
                    return child.wait().await;
                },
                () = late => {
                    child.start_kill()?;
                    return child.wait().await;
                }
            }
        }
    }

    /// Waits, and returns whether the server is to stop.
    async fn stopped_within(&self, wait: Duration, phase: &mut watch::Receiver<Phase>) -> bool {
        let until = tokio::time::Instant::now() + wait;
        loop {
            if self.is_to_stop(*phase.borrow_and_update()) {
                return true;
            }
            tokio::select! {
                () = tokio::time::sleep_until(until) => return false,
                changed = phase.changed() => if changed.is_err() {
                    return true;
                },
            }
        }
    }
}
