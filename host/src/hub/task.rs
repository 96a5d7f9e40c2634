//! Runs the fan-out of a worker as a task.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::task::coop;
use tokio::time::{Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::channels::Channels;
use super::driver::driver_polled;
use super::fanout::Fanout;
use super::message::ClientKind;
use super::namespace::Namespace;
use super::slow::SlowReport;
use crate::events::{EventLog, HostEvent};

/// The task that sends to all connections of one worker. It must run on the worker's thread.
pub struct FanoutTask {
    fanout: Fanout,
    worker: u32,
    namespace: Arc<Namespace>,
    /// The channels of the clients, if they have any.
    channels: Option<Arc<Channels>>,
    events: Arc<EventLog>,
    next_sweep: Instant,
}

/// How one turn ended.
enum Turn {
    /// More is left to do.
    More,
    /// The host closes its connections.
    End,
}

impl FanoutTask {
    pub(super) fn new(
        fanout: Fanout,
        worker: u32,
        namespace: Arc<Namespace>,
        channels: Option<Arc<Channels>>,
        events: Arc<EventLog>,
    ) -> FanoutTask {
        FanoutTask { fanout, worker, namespace, channels, events, next_sweep: Instant::now() }
    }

    /// Serves the connections. When `announced` is cancelled, they end with a last notice. When
    /// `closing` is cancelled, those that are left are dropped, and the task ends.
    pub async fn run(mut self, announced: CancellationToken, closing: CancellationToken) {
        // One task sends to all clients, so tokio's budget of one task would hold up healthy ones.
        // A turn has a bound of its own.
        coop::unconstrained(async {
            let (mut announced, mut closing) = (pin!(announced.cancelled()), pin!(closing.cancelled()));
            let mut timer = pin!(sleep_until(tokio::time::Instant::now()));
            let mut is_stopping = false;
            loop {
                let turn = poll_fn(|cx| {
                    if closing.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Turn::End);
                    }
                    if !is_stopping && announced.as_mut().poll(cx).is_ready() {
                        is_stopping = true;
                        self.fanout.stop();
                    }
                    self.poll_turn(timer.as_mut(), cx)
                });
                match turn.await {
                    Turn::End => return,
                    Turn::More => driver_polled().await,
                }
            }
        })
        .await;
    }

    fn poll_turn(&mut self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Turn> {
        let now = tokio::time::Instant::now().into_std();
        let polled = self.fanout.poll(cx, now);
        if let Some(report) = self.fanout.take_report(now) {
            self.report(report);
        }
        let sweep = self.sweep(now);
        if polled.is_ready() {
            return Poll::Ready(Turn::More);
        }
        if let Some(deadline) = [self.fanout.deadline(now), sweep].into_iter().flatten().min() {
            let deadline = tokio::time::Instant::from_std(deadline);
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            if timer.poll(cx).is_ready() {
                return Poll::Ready(Turn::More);
            }
        }
        Poll::Pending
    }

    /// Drops old messages from the histories, on one worker for all. Returns when to do it again.
    fn sweep(&mut self, now: Instant) -> Option<Instant> {
        let channels = self.channels.as_ref();
        if self.worker > 0 || (channels.is_none() && !self.namespace.settings.history.is_on()) {
            return None;
        }
        if self.next_sweep > now {
            return Some(self.next_sweep);
        }
        if let Some(channels) = channels {
            self.next_sweep = now + channels.sweep(now);
        } else {
            self.namespace.sweep(now);
            let all = self.namespace.settings.history.age / 4;
            let shards = u32::try_from(self.namespace.shards.parts.capacity.shards()).unwrap_or(u32::MAX);
            let interval = (all / shards).clamp(Duration::from_millis(10), Duration::from_secs(1));
            self.next_sweep = now + interval;
        }
        Some(self.next_sweep)
    }

    fn report(&self, report: SlowReport) {
        let SlowReport { topic, client, reason, count } = report;
        let (reason, worker) = (reason.as_str().to_owned(), self.worker);
        let kind = self.namespace.settings.kind;
        let what = match kind {
            ClientKind::Sse => "closed streams of clients that are too slow",
            ClientKind::WebSocket => "closed WebSockets of clients that are too slow",
        };
        tracing::warn!(key = %topic, %client, reason, worker, count, "{what}");
        let (key, client, kind) = (topic.to_string(), client.to_string(), kind.as_str().to_owned());
        self.events.raise(HostEvent::ClientSlow { kind, key, client, reason, worker, count });
    }
}
