//! The last step of a start: the host serves.

use std::sync::Arc;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::super::clients;
use super::super::hooks::MasterModules;
use super::super::running::RunningHost;
use super::Built;
use crate::events::HostEvent;
use crate::isolate::NodeFacts;
use crate::net::{WorkerQueue, accept};
use crate::triggers::developer::{Developer, Results};
use crate::triggers::hooks;
use crate::triggers::websocket::ChannelHistories;

impl Built {
    /// Accepts HTTP connections, and starts to react to changed folders.
    pub(super) fn open(mut self) -> RunningHost {
        let (event_listener, events) = self.events.unzip();
        let histories = Arc::new(ChannelHistories::new(&self.config.websocket, self.channels.clone()));
        let (schedules, subscriptions) = (self.schedules.clone(), self.subscriptions.clone());
        let results = move || Results { schedules: schedules.status(), subscriptions: subscriptions.status() };
        let developer = Developer::new(&self.config, Box::new(results)).map(Arc::new);
        for worker in &mut self.workers {
            let (streams, sockets) = (&self.streams, &self.web_sockets);
            let (dispatch, events_log) = (&self.dispatch, &self.services.events);
            let modules = worker.modules(dispatch, events_log, streams, sockets, &histories, developer.as_ref());
            worker.serve(Some((self.settings.clone(), modules)), events.clone(), &self.tasks.stopping);
        }
        self.sockets.limit_to_descriptors();
        let tasks = self.tasks;
        let queues: Vec<WorkerQueue> = self.workers.iter().map(|worker| worker.queue.clone()).collect();
        let (connections, end) = (tasks.connections.clone(), tasks.end_of_accepting.clone());
        let accept =
            accept(self.http.into_iter().chain(event_listener).collect(), queues, self.sockets, connections, end);
        let acceptor = tasks.listeners.spawn(async move {
            if let Err(error) = accept.await {
                tracing::error!(%error, "the host stopped accepting connections");
            }
        });
        // The only error is a panic, and then the acceptor has ended, too.
        let acceptor = acceptor.map(drop).boxed().shared();
        if let Some(link) = &self.link {
            self.links.handle.spawn(link.clone().run(tasks.end_of_admin.clone()));
        }
        if let Some(cluster) = &self.cluster {
            let asked_to_stop = &tasks.asked_to_stop;
            cluster.serve(&self.links.handle, &self.dispatch, &self.roster, &self.swapper, asked_to_stop);
        }
        if let Some(census) = self.census {
            self.links.handle.spawn(tasks.end_of_links.clone().run_until_cancelled_owned(census.run()));
        }
        self.redis.start(&self.links.handle, self.subscriptions.clone(), tasks.end_of_links.clone());
        self.nats.start(&self.links.handle, self.subscriptions.clone(), tasks.end_of_links.clone());
        let isolates = self.workers.into_iter().map(|worker| worker.thread).chain(self.others);
        let threads = isolates.map(|thread| thread.runtime).chain([self.links]).collect();
        self.roster.set_ready();
        let NodeFacts { workers, brokers, .. } = *self.services.node;
        let events = &self.services.events;
        events.raise(HostEvent::HostReady { pid: std::process::id(), workers, brokers });
        // From the first event, which was raised before any module was loaded.
        let hooks = hooks::run(Arc::new(MasterModules(self.dispatch.clone())), events.clone(), events.read_after(0));
        tasks.listeners.spawn(tasks.end_of_admin.clone().run_until_cancelled_owned(hooks));
        let removed = clients::end_removed(self.dispatch.clone(), self.web_sockets, events.read_after(0));
        tasks.listeners.spawn(tasks.end_of_admin.clone().run_until_cancelled_owned(removed));
        self.schedules.open();
        tasks.listeners.spawn(self.schedules.clone().run());
        let memory = self.swapper.clone().watch_memory();
        tasks.listeners.spawn(tasks.end_of_admin.clone().run_until_cancelled_owned(memory));
        if let Some(watcher) = self.watcher {
            tasks.listeners.spawn(tasks.end_of_admin.clone().run_until_cancelled_owned(watcher.run()));
        }
        RunningHost {
            addr: self.addr,
            admin_addr: self.admin_addr,
            events_addr: self.events_addr,
            dispatch: self.dispatch,
            cluster: self.cluster,
            messages: self.messages,
            schedules: self.schedules,
            subscriptions: self.subscriptions,
            redis: self.redis,
            link: self.link,
            roster: self.roster,
            swapper: self.swapper,
            operator: self.operator,
            publisher: self.publisher,
            channels: self.channels,
            threads: Mutex::new(threads),
            services: self.services,
            acceptor,
            tasks,
            shutdown: self.config.shutdown.clone(),
            stopped: OnceCell::new(),
            ended: Mutex::default(),
            state_lock: Mutex::new(self.state_lock),
            destroyed: CancellationToken::new(),
        }
    }
}
