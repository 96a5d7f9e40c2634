//! A host that serves.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::messages::Messages;
use super::state_lock::StateLock;
use crate::admin::{self, AdminState};
use crate::api::{KillMode, KilledIsolate, Reloaded, Status};
use crate::call::CallError;
use crate::cluster::Cluster;
use crate::config::ShutdownConfig;
use crate::dispatch::Dispatch;
use crate::isolate::Services;
use crate::registry::{Module, Roster};
use crate::swap::{KillError, KillTarget, ReloadOptions, SwapError, Swapper};
use crate::triggers::channels::ChannelService;
use crate::triggers::events::ServiceLink;
use crate::triggers::http::Stopping;
use crate::triggers::redis::Redis;
use crate::triggers::schedules::Schedules;
use crate::triggers::sse::Publisher;
use crate::triggers::subscriptions::Subscriptions;
use crate::worker::RuntimeThread;

/// A host that serves. [`RunningHost::shutdown`] stops it gracefully, [`RunningHost::destroy`] or
/// dropping it at once.
///
/// All methods take `&self`, so that a program can share the host in an [`Arc`]. After a stop has
/// begun, methods that need the host return an error that says so.
pub struct RunningHost {
    pub(super) addr: SocketAddr,
    pub(super) admin_addr: SocketAddr,
    pub(super) events_addr: Option<SocketAddr>,
    pub(super) dispatch: Arc<Dispatch>,
    /// `None` if the node is alone.
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) messages: Arc<Messages>,
    pub(super) schedules: Arc<Schedules>,
    pub(super) subscriptions: Arc<Subscriptions>,
    pub(super) redis: Arc<Redis>,
    /// The event service of another process, if the settings name one.
    pub(super) link: Option<Arc<ServiceLink>>,
    pub(super) roster: Arc<Roster>,
    pub(super) swapper: Arc<Swapper>,
    pub(super) operator: Arc<AdminState>,
    pub(super) publisher: Arc<Publisher>,
    pub(super) channels: Arc<ChannelService>,
    /// The threads of the workers, the brokers and the master. Empty once they were told to end.
    pub(super) threads: Mutex<Vec<RuntimeThread>>,
    pub(super) services: Arc<Services>,
    /// Resolves when the acceptor has ended.
    pub(super) acceptor: Shared<BoxFuture<'static, ()>>,
    pub(super) tasks: Tasks,
    pub(super) shutdown: ShutdownConfig,
    /// The result of [`RunningHost::shutdown`].
    pub(super) stopped: OnceCell<Stopped>,
    /// Resolves when every thread has ended, or has been given up. `None` before the stop.
    pub(super) ended: Mutex<Option<Shared<BoxFuture<'static, ()>>>>,
    /// The lock of `stateDir`, which the end of the host releases.
    pub(super) state_lock: Mutex<Option<StateLock>>,
    /// Cancelled by [`RunningHost::destroy`].
    pub(super) destroyed: CancellationToken,
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
    /// Ends the connections to other services.
    pub(super) end_of_links: CancellationToken,
    /// Cancelled when the operator has asked the node to stop.
    pub(super) asked_to_stop: CancellationToken,
    /// Ends the admin listener and the tasks that watch folders and threads.
    pub(super) end_of_admin: CancellationToken,
}

/// How a host stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Every call and connection ended in time.
    Clean,
    /// The host cut off calls or connections that had not ended within `shutdown.drain`, or before
    /// [`RunningHost::destroy`].
    CutOff,
}

impl RunningHost {
    /// Returns the address of the HTTP listener. Its port is 0 for a server of `cluster.servers`
    /// that is no frontend, because it has no such listener.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the address of the admin listener.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Returns the address of the event service. `None` without `events.listen`.
    pub fn events_addr(&self) -> Option<SocketAddr> {
        self.events_addr
    }

    /// Resolves when the operator has asked this node to stop (`fanfare cluster stop`). The host
    /// itself keeps serving: the program stops it with [`RunningHost::shutdown`].
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) {
    /// host.asked_to_stop().await;
    /// host.shutdown().await;
    /// # }
    /// ```
    pub async fn asked_to_stop(&self) {
        self.tasks.asked_to_stop.cancelled().await;
    }

    /// Returns the status of the node and its modules, as `fanfare status` shows it.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) {
    /// for module in host.status().modules {
    ///     println!("{}: {}", module.name, module.state);
    /// }
    /// # }
    /// ```
    pub fn status(&self) -> Status {
        admin::status(&self.operator)
    }

    /// Returns why modules do not serve what they should: one entry for each module that cannot be
    /// loaded, and for each isolate in which a module is not ready. Empty when all is well.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) {
    /// for reason in host.not_ready() {
    ///     eprintln!("{reason}");
    /// }
    /// # }
    /// ```
    pub fn not_ready(&self) -> Vec<String> {
        let mut reasons = self.roster.refused();
        let slots = self.dispatch.places().all().flat_map(|isolate| isolate.slots());
        for slot in slots.filter(|slot| !slot.is_ready()) {
            let state = slot.state();
            let why = state.report(&slot.module).unwrap_or_else(|| state.as_str().to_owned());
            reasons.push(format!("{} in {}: {why}", slot.module, slot.isolate));
        }
        reasons
    }

    /// Reads `fanfare.json` and a module's folder again, and replaces the module's running
    /// generation with the result. Every worker gets a new instance, even if nothing has changed.
    ///
    /// If this fails in any worker, the previous generation keeps serving in all of them, and the
    /// error says why. The reload continues if the future is dropped.
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) {
    /// match host.reload("hello").await {
    ///     Ok(reloaded) => println!("{}: {:?}", reloaded.module, reloaded.outcome),
    ///     Err(error) => eprintln!("{error}"),
    /// }
    /// # }
    /// ```
    pub async fn reload(&self, module: &str) -> Result<Reloaded, SwapError> {
        self.check_running().map_err(|_| SwapError::Stopping)?;
        self.swapper.reload_as_operator(module, ReloadOptions::RENEW).await
    }

    /// Replaces a module's running generation with an earlier one: the previous one, or the one
    /// whose digest begins with `to`. The module is pinned to it until the module's folder changes.
    ///
    /// The rollback continues if the future is dropped.
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) -> Result<(), fanfare::SwapError> {
    /// let previous = host.rollback("hello", None).await?;
    /// println!("{:?} serves again", previous.generation);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn rollback(&self, module: &str, to: Option<&str>) -> Result<Reloaded, SwapError> {
        self.check_running().map_err(|_| SwapError::Stopping)?;
        self.swapper.rollback(module, to).await
    }

    /// Installs a module that is in memory, or replaces the one with its name, as a reload does
    /// with a folder. It hides a folder of the same name in `modulesDir`.
    ///
    /// If this fails, the previous generation keeps serving, and the error says why. The next
    /// [`RunningHost::reload`] of the module tries the new files again. The installation continues
    /// if the future is dropped.
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost, component: Vec<u8>) -> Result<(), fanfare::SwapError> {
    /// let manifest = r#"{ "component": "hello.wasm", "routes": [{ "path": "hi", "handler": "hi" }] }"#;
    /// let installed = host.install(fanfare::Module::new("hello", manifest, component)).await?;
    /// println!("{}: {:?}", installed.module, installed.outcome);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn install(&self, module: Module) -> Result<Reloaded, SwapError> {
        self.check_running().map_err(|_| SwapError::Stopping)?;
        self.swapper.install_embedded(module).await
    }

    /// Removes a module that is in memory. Calls that wait still run. If `modulesDir` has a folder
    /// of the same name, that is loaded instead. The removal continues if the future is dropped.
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) -> Result<(), fanfare::SwapError> {
    /// host.remove("hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn remove(&self, module: &str) -> Result<Reloaded, SwapError> {
        self.check_running().map_err(|_| SwapError::Stopping)?;
        self.swapper.remove_embedded(module).await
    }

    /// Kills one worker, or all workers one after another. Every module there gets a new instance
    /// of the generation that it runs, without the state of the old one. Threads, connections, and
    /// queued calls and broadcasts are not affected.
    ///
    /// - [`KillMode::Graceful`]: the next instance of a module takes over once it has started.
    ///   Calls that still run after `master.processTermTimeout` end with the error `crashed`.
    /// - [`KillMode::Immediate`]: running calls end with the error `crashed` at once, then the next
    ///   instances start. These restarts do not count against `isolate.maxRestarts`.
    ///
    /// A module that has failed, or is restarting, starts anew. Resolves when the old instances
    /// have ended. Then each worker has raised `workerExit` and `workerStart`. The kill continues
    /// if the future is dropped.
    ///
    /// # Errors
    ///
    /// [`KillError::NoWorker`] if there is no worker with this index. [`KillError::Incomplete`] if
    /// the next instance of a module could not start: in a graceful kill, the old one then keeps
    /// serving. The kill continues with the other modules and workers.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(host: &fanfare::RunningHost) -> Result<(), fanfare::KillError> {
    /// use fanfare::api::KillMode;
    ///
    /// // Every worker begins with fresh instances, and no request fails.
    /// host.kill_workers(None, KillMode::Graceful).await?;
    ///
    /// // Worker 0 is stuck: end its calls now.
    /// for killed in host.kill_workers(Some(0), KillMode::Immediate).await? {
    ///     let crashed: usize = killed.modules.iter().map(|module| module.crashed).sum();
    ///     println!("{}: {crashed} calls crashed", killed.isolate);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn kill_workers(&self, id: Option<u32>, mode: KillMode) -> Result<Vec<KilledIsolate>, KillError> {
        self.check_running().map_err(|_| KillError::Stopping)?;
        self.swapper.kill(KillTarget::Workers(id), mode).await
    }

    /// Kills one broker, or all brokers one after another, as [`RunningHost::kill_workers`] kills
    /// workers. They raise `brokerExit` and `brokerStart`. Without brokers, killing all of them
    /// does nothing.
    ///
    /// # Errors
    ///
    /// [`KillError::NoBroker`] if there is no broker with this index, otherwise as for
    /// [`RunningHost::kill_workers`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn run(host: &fanfare::RunningHost) -> Result<(), fanfare::KillError> {
    /// use fanfare::api::KillMode;
    ///
    /// host.kill_brokers(Some(0), KillMode::Graceful).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn kill_brokers(&self, id: Option<u32>, mode: KillMode) -> Result<Vec<KilledIsolate>, KillError> {
        self.check_running().map_err(|_| KillError::Stopping)?;
        self.swapper.kill(KillTarget::Brokers(id), mode).await
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

    /// Fails once a stop has begun.
    pub(super) fn check_running(&self) -> Result<(), CallError> {
        match self.tasks.stopping.announced.is_cancelled() {
            true => Err(CallError::Unavailable("the host is stopping or has stopped".to_owned())),
            false => Ok(()),
        }
    }
}

impl Tasks {
    pub(super) fn end(&self) {
        self.stopping.announced.cancel();
        self.end_of_accepting.cancel();
        self.stopping.closing.cancel();
        self.end_of_links.cancel();
        self.end_of_admin.cancel();
    }
}

/// Ends the tasks of a host that did not start, too.
impl Drop for Tasks {
    fn drop(&mut self) {
        self.end();
    }
}
