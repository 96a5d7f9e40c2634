//! The start of a host in three steps: [`Built::new`] builds the parts, [`Built::load`] loads the
//! modules, [`Built::open`] serves.

mod build;
mod open;

use std::net::SocketAddr;
use std::sync::Arc;

use super::messages::Messages;
use super::running::{RunningHost, Tasks};
use super::state_lock::StateLock;
use super::{Host, StartError};
use crate::admin::{self, AdminState};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::dispatch::Dispatch;
use crate::events::HostEvent;
use crate::isolate::{self, Services};
use crate::net::{Listener, Sockets};
use crate::registry::Roster;
use crate::swap::{Swapper, Watcher};
use crate::triggers::channels::{Census, ChannelService};
use crate::triggers::events::{EventListener, ServiceLink};
use crate::triggers::http::Settings;
use crate::triggers::nats::Nats;
use crate::triggers::redis::Redis;
use crate::triggers::schedules::Schedules;
use crate::triggers::sse::{Publisher, Streams};
use crate::triggers::subscriptions::Subscriptions;
use crate::triggers::websocket::WebSockets;
use crate::worker::{RuntimeThread, Thread, Worker};

impl Host {
    /// Loads the modules and serves. The admin listener responds as soon as the parts are built.
    /// HTTP connections, and the other nodes of a cluster, wait until the host has tried to load
    /// every module once. If the future is dropped, the host ends.
    pub async fn start(self) -> Result<RunningHost, StartError> {
        let mut host = Built::new(self)?;
        let mut guard = StartGuard { services: host.services.clone(), started: false };
        if let Some(cluster) = &host.cluster {
            cluster.open(&host.links.handle).await?;
        }
        host.load().await?;
        guard.started = true;
        Ok(host.open())
    }
}

/// Ends the loads and the events of a host when its start fails, or its future is dropped. The
/// fields of [`Built`] end the rest.
struct StartGuard {
    services: Arc<Services>,
    started: bool,
}

impl Drop for StartGuard {
    fn drop(&mut self) {
        if !self.started {
            self.services.stop.cancel();
            self.services.events.close(HostEvent::worker_cluster_exit());
        }
    }
}

/// The connected parts of a host. When [`Built::new`] returns, the threads run, but no module is
/// loaded and no listener serves.
struct Built {
    config: Arc<Config>,
    http: Option<Listener>,
    addr: SocketAddr,
    /// `None` once the admin listener serves.
    admin: Option<Listener>,
    admin_addr: SocketAddr,
    /// The listener of the event service, and how its connections are served.
    events: Option<(Listener, EventListener)>,
    events_addr: Option<SocketAddr>,
    link: Option<Arc<ServiceLink>>,
    dispatch: Arc<Dispatch>,
    /// `None` if the node is alone.
    cluster: Option<Arc<Cluster>>,
    messages: Arc<Messages>,
    schedules: Arc<Schedules>,
    subscriptions: Arc<Subscriptions>,
    redis: Arc<Redis>,
    nats: Arc<Nats>,
    roster: Arc<Roster>,
    swapper: Arc<Swapper>,
    operator: Arc<AdminState>,
    workers: Vec<Worker>,
    others: Vec<Thread>,
    /// Runs the connections to other services.
    links: RuntimeThread,
    services: Arc<Services>,
    sockets: Arc<Sockets>,
    settings: Arc<Settings>,
    streams: Arc<Streams>,
    web_sockets: Arc<WebSockets>,
    publisher: Arc<Publisher>,
    channels: Arc<ChannelService>,
    /// The members of channels on all nodes of a cluster.
    census: Option<Arc<Census>>,
    /// Starts before the first load, so that it misses no change of a folder.
    watcher: Option<Watcher>,
    tasks: Tasks,
    state_lock: Option<StateLock>,
}

impl Built {
    /// Serves the admin listener, and loads every module. A module that fails to load is reported
    /// by the status and does not stop the start.
    async fn load(&mut self) -> Result<(), StartError> {
        let tasks = &self.tasks;
        if let Some(admin) = self.admin.take() {
            tasks.listeners.spawn(admin::serve(admin, self.operator.clone(), tasks.end_of_admin.clone()));
        }
        for isolate in self.dispatch.places().all() {
            let events = self.services.events.clone();
            let watch = isolate::watch(isolate.clone(), self.config.isolate.blocked_after, events);
            tasks.listeners.spawn(tasks.end_of_admin.clone().run_until_cancelled_owned(watch));
        }
        let (isolates, interval) = (self.dispatch.clone(), self.config.master.worker_status_interval);
        let sample = async move {
            loop {
                tokio::time::sleep(interval).await;
                isolates.places().all().for_each(|isolate| isolate.sample_requests());
            }
        };
        tasks.listeners.spawn(tasks.end_of_admin.clone().run_until_cancelled_owned(sample));
        if self.config.swap.watch {
            self.watcher = Some(Watcher::start(&self.swapper).await);
        }
        let modules_dir = |source| StartError::ModulesDir { path: self.config.modules_dir.clone(), source };
        self.swapper.load_all().await.map_err(modules_dir)?;
        self.services.events.raise(HostEvent::WorkerClusterReady { pid: std::process::id(), child_process: None });
        Ok(())
    }
}
