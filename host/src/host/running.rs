//! A host that serves, and its stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, AdminState};
use crate::api::{Reloaded, Status};
use crate::config::ShutdownConfig;
use crate::dispatch::Dispatch;
use crate::events::HostEvent;
use crate::isolate::Services;
use crate::registry::Roster;
use crate::swap::{ReloadOptions, SwapError, Swapper};
use crate::triggers::http::Stopping;
use crate::worker::{Thread, Worker};

/// How long the admin listener may take to finish its responses after everything else has ended.
const LAST_RESPONSES: Duration = Duration::from_secs(1);

/// A host that serves. [`RunningHost::stop`] stops it gracefully; dropping it stops it at once.
pub struct RunningHost {
    pub(super) http: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) dispatch: Arc<Dispatch>,
    pub(super) roster: Arc<Roster>,
    pub(super) swapper: Arc<Swapper>,
    pub(super) operator: Arc<AdminState>,
    pub(super) workers: Vec<Worker>,
    /// The brokers and the master.
    pub(super) others: Vec<Thread>,
    pub(super) services: Arc<Services>,
    pub(super) acceptor: JoinHandle<()>,
    pub(super) tasks: Tasks,
    pub(super) shutdown: ShutdownConfig,
}

/// The tasks of a host outside of its isolates, and the signals that end them.
#[derive(Default)]
pub(super) struct Tasks {
    /// The connections of clients.
    pub(super) connections: TaskTracker,
    /// The acceptor, the admin listener, and the tasks that watch folders and threads.
    pub(super) listeners: TaskTracker,
    /// Ends the connections.
    pub(super) stopping: Stopping,
    /// Ends the acceptor.
    pub(super) end_of_accepting: CancellationToken,
    /// Ends the admin listener and the tasks that watch folders and threads.
    pub(super) end_of_admin: CancellationToken,
}

/// How a host stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Every call and connection ended in time.
    Clean,
    /// The host cut off calls or connections that had not ended within `shutdown.drain`.
    CutOff,
}

impl RunningHost {
    /// Returns the address of the HTTP listener.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// Returns the address of the admin listener.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Returns the status of the node and its modules, as `fanfare status` shows it.
    pub fn status(&self) -> Status {
        admin::status(&self.operator)
    }

    /// Reads `fanfare.json` and a module's folder again, and replaces the module's running
    /// generation with the result. Every worker gets a new instance, even if nothing has changed.
    ///
    /// If this fails in any worker, the previous generation keeps serving in all of them, and the
    /// error says why. The reload continues if the future is dropped.
    pub async fn reload(&self, module: &str) -> Result<Reloaded, SwapError> {
        self.swapper.reload_as_operator(module, ReloadOptions::RENEW).await
    }

    /// Replaces a module's running generation with an earlier one: the previous one, or the one
    /// whose digest begins with `to`. The module is pinned to it until the module's folder changes.
    ///
    /// The rollback continues if the future is dropped.
    pub async fn rollback(&self, module: &str, to: Option<&str>) -> Result<Reloaded, SwapError> {
        self.swapper.rollback(module, to).await
    }

    #[doc(hidden)]
    pub fn dispatch(&self) -> &Arc<Dispatch> {
        &self.dispatch
    }

    #[doc(hidden)]
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    #[doc(hidden)]
    pub fn swapper(&self) -> &Arc<Swapper> {
        &self.swapper
    }

    /// Waits for running calls to end, for `shutdown.drain` at most, and then stops.
    ///
    /// The host keeps accepting connections for the first part, `shutdown.linger`, or until all
    /// clients have left. Each response in this time tells the client that the connection closes.
    /// Closing idle connections at once would lose requests that are already on their way.
    pub async fn stop(mut self) -> Stopped {
        let tasks = &self.tasks;
        tasks.stopping.announced.cancel();
        tasks.connections.close();
        self.services.tasks.close();
        let drained = tokio::time::timeout(self.shutdown.drain, async {
            _ = tokio::time::timeout(self.shutdown.linger, tasks.connections.wait()).await;
            tasks.end_of_accepting.cancel();
            // The only error is a panic, and then the acceptor has ended, too.
            _ = (&mut self.acceptor).await;
            tasks.stopping.closing.cancel();
            tasks.connections.wait().await;
            self.services.stop.cancel();
            self.services.tasks.wait().await;
        })
        .await;
        tasks.end_of_accepting.cancel();
        tasks.stopping.closing.cancel();
        self.services.stop.cancel();
        self.log_lost_calls();
        let (pid, code, signal, child_process) = (std::process::id(), None, None, None);
        self.services.events.raise(HostEvent::WorkerClusterExit { pid, code, signal, child_process });
        self.services.events.close();
        tasks.end_of_admin.cancel();
        tasks.listeners.close();
        let _ = tokio::time::timeout(LAST_RESPONSES, tasks.listeners.wait()).await;
        if drained.is_ok() { Stopped::Clean } else { Stopped::CutOff }
    }

    /// Logs the modules whose calls have not ended.
    fn log_lost_calls(&self) {
        for slot in self.dispatch.places().all().flat_map(|isolate| isolate.slots()) {
            let (calls, broadcasts) = slot.mailbox.waiting();
            let running = slot.stats.in_flight.get();
            if calls + broadcasts > 0 || running > 0 {
                tracing::warn!(
                    module = %slot.module, isolate = %slot.isolate, running, calls, broadcasts,
                    "cut off at shutdown.drain: running calls, and calls and broadcasts that have not started, are lost"
                );
            }
        }
    }
}

/// Stops at once. [`RunningHost::stop`] stops gracefully.
impl Drop for RunningHost {
    fn drop(&mut self) {
        self.tasks.end();
        self.services.stop.cancel();
        self.services.events.close();
        let mut threads: Vec<&mut Thread> = self.workers.iter_mut().map(|worker| &mut worker.thread).collect();
        threads.extend(&mut self.others);
        threads.iter().for_each(|thread| thread.cancel());
        threads.into_iter().for_each(Thread::end);
    }
}

impl Tasks {
    fn end(&self) {
        self.stopping.announced.cancel();
        self.end_of_accepting.cancel();
        self.stopping.closing.cancel();
        self.end_of_admin.cancel();
    }
}

/// Ends the tasks of a host that did not start, too.
impl Drop for Tasks {
    fn drop(&mut self) {
        self.end();
    }
}
