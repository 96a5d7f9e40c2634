//! The stop of a host: gracefully, at once, or because it is dropped.

use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::running::{RunningHost, Stopped};
use crate::blocking::run_blocking;
use crate::events::HostEvent;
use crate::worker::RuntimeThread;

/// How long the host waits for its threads to end.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the admin listener may take to finish its responses after everything else has ended.
const LAST_RESPONSES: Duration = Duration::from_secs(1);

impl RunningHost {
    /// Waits for running calls to end, for `shutdown.drain` at most, and then stops. Resolves when
    /// the host's threads have ended.
    ///
    /// The host keeps accepting connections for the first part, `shutdown.linger`, or until all
    /// clients have left. Each response in this time tells the client that the connection closes.
    /// Closing idle connections at once would lose requests that are already on their way.
    ///
    /// A second call waits for the same stop. If the future is dropped, the next call continues the
    /// stop.
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) {
    /// if host.shutdown().await == fanfare::Stopped::CutOff {
    ///     eprintln!("some calls did not end within shutdown.drain");
    /// }
    /// # }
    /// ```
    pub async fn shutdown(&self) -> Stopped {
        *self.stopped.get_or_init(|| self.drain_and_end()).await
    }

    /// Stops at once: ends running calls and closes every connection. Resolves when the host's
    /// threads have ended; a thread that host code blocks is given up after two seconds.
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) {
    /// host.destroy().await;
    /// # }
    /// ```
    pub async fn destroy(&self) {
        self.destroyed.cancel();
        self.tasks.end();
        self.services.stop.cancel();
        self.log_lost_calls();
        self.close_link();
        self.leave_cluster().await;
        self.end_events();
        self.end_threads().await;
        self.end_listeners().await;
        self.messages.close();
        drop(self.state_lock.lock().take());
    }

    async fn drain_and_end(&self) -> Stopped {
        let tasks = &self.tasks;
        tasks.stopping.announced.cancel();
        if let Some(cluster) = &self.cluster {
            cluster.leave();
        }
        tasks.connections.close();
        self.services.tasks.close();
        let connections = async {
            _ = tokio::time::timeout(self.shutdown.linger, tasks.connections.wait()).await;
            tasks.end_of_accepting.cancel();
            self.acceptor.clone().await;
            tasks.stopping.closing.cancel();
            tasks.connections.wait().await;
        };
        let drained = tokio::time::timeout(self.shutdown.drain, async {
            tokio::join!(connections, self.drain_cluster());
            self.services.stop.cancel();
            self.services.tasks.wait().await;
            tokio::join!(self.redis.flush(), self.flush_events());
        })
        .await;
        tasks.end_of_accepting.cancel();
        tasks.stopping.closing.cancel();
        self.services.stop.cancel();
        self.log_lost_calls();
        self.close_link();
        self.leave_cluster().await;
        self.end_events();
        tasks.end_of_links.cancel();
        tasks.end_of_admin.cancel();
        self.end_listeners().await;
        self.end_threads().await;
        self.messages.close();
        drop(self.state_lock.lock().take());
        if drained.is_ok() && !self.destroyed.is_cancelled() { Stopped::Clean } else { Stopped::CutOff }
    }

    /// Waits until the event service of another process has the events of this node, for half of
    /// `shutdown.drain` at most.
    async fn flush_events(&self) {
        if let Some(link) = &self.link {
            _ = tokio::time::timeout(self.shutdown.drain / 2, link.flush()).await;
        }
    }

    /// Waits until the calls of other nodes are answered.
    async fn drain_cluster(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.drain().await;
        }
    }

    /// Tells the other nodes that this one has stopped.
    async fn leave_cluster(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.close().await;
        }
    }

    fn close_link(&self) {
        if let Some(link) = &self.link {
            link.close();
        }
    }

    /// Raises the last event, once.
    fn end_events(&self) {
        self.services.events.close(HostEvent::worker_cluster_exit());
    }

    /// Waits for the last responses of the listeners.
    async fn end_listeners(&self) {
        self.tasks.listeners.close();
        let _ = tokio::time::timeout(LAST_RESPONSES, self.tasks.listeners.wait()).await;
    }

    /// Ends the threads. Another thread waits for them, because this one may have tasks to run.
    async fn end_threads(&self) {
        let end = || {
            let threads = std::mem::take(&mut *self.threads.lock());
            run_blocking(move || end_all(threads)).boxed().shared()
        };
        let ended = self.ended.lock().get_or_insert_with(end).clone();
        ended.await;
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

/// Ends all threads together.
fn end_all(mut threads: Vec<RuntimeThread>) {
    threads.iter().for_each(RuntimeThread::cancel);
    let until = Instant::now() + END_TIMEOUT;
    threads.iter_mut().for_each(|thread| thread.end(until));
}

/// Stops at once. [`RunningHost::shutdown`] stops gracefully.
impl Drop for RunningHost {
    fn drop(&mut self) {
        self.tasks.end();
        self.services.stop.cancel();
        self.close_link();
        self.end_events();
        end_all(std::mem::take(self.threads.get_mut()));
    }
}
