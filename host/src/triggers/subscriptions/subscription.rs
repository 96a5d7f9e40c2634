//! One subscription: accepts messages of its source, and delivers them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::backend::{Key, MessageCall, PlaceState};
use super::counts::Counts;
use super::lane::{Lane, Outlet};
use super::message::Message;
use super::node::Node;
use super::queue::{Bounds, Item};
use crate::api::SubscriptionStatus;
use crate::call::text::{MESSAGE, NAME, line};
use crate::call::{CallError, IsolateId, Reply, RouteName, StreamEvent, SubscriptionCall};
use crate::events::HostEvent;
use crate::registry::{Deliver, Feed, Overflow, RedisSource, RedisTopic, Source, SubscriptionSettings};

/// The time between two events about a subscription's full queue, and about its gaps.
const EVENT_PAUSE: Duration = Duration::from_secs(1);

/// Where the messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Receiver {
    /// A route of the manifest, in the workers.
    Workers,
    /// A route that a guest named at run time, in its isolate.
    Guest(IsolateId, RouteName),
    Feed(Feed),
}

/// A subscription of an installed module. It stays over swaps as long as its source is the same.
pub struct Subscription {
    key: Key,
    pub source: Source,
    node: Arc<Node>,
    plan: RwLock<Arc<Plan>>,
    counts: Mutex<Counts>,
    notices: Mutex<Notices>,
    /// Cancelled when the module no longer has the subscription.
    ended: CancellationToken,
}

/// How the current generation wants its messages.
struct Plan {
    receiver: Receiver,
    settings: SubscriptionSettings,
    lanes: Vec<Arc<Lane>>,
}

/// What the next event of each kind reports.
#[derive(Default)]
struct Notices {
    dropped: Notice,
    missed: Notice,
}

#[derive(Default)]
struct Notice {
    count: u64,
    /// When the last event was raised.
    raised: Option<Instant>,
}

impl Notice {
    /// Adds to the count. Returns the count if it is time for an event.
    fn add(&mut self, count: u64, now: Instant) -> Option<u64> {
        self.count = self.count.saturating_add(count);
        if self.raised.is_some_and(|raised| now.duration_since(raised) < EVENT_PAUSE) {
            return None;
        }
        self.raised = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

impl Subscription {
    pub(super) fn start(
        key: Key,
        source: Source,
        receiver: Receiver,
        settings: SubscriptionSettings,
        node: Arc<Node>,
    ) -> Arc<Subscription> {
        let lanes = lanes(&receiver, &settings, node.workers);
        let subscription = Arc::new(Subscription {
            key,
            source,
            plan: RwLock::new(Arc::new(Plan { receiver, settings, lanes: lanes.clone() })),
            counts: Mutex::default(),
            notices: Mutex::default(),
            ended: node.stopping.child_token(),
            node,
        });
        subscription.spawn(lanes, &[]);
        subscription
    }

    fn spawn(self: &Arc<Self>, lanes: Vec<Arc<Lane>>, before: &[Arc<Lane>]) {
        for lane in lanes {
            let before = before.iter().map(|lane| lane.done.clone()).collect();
            self.node.runtime.spawn(lane.run(self.clone(), before));
        }
    }

    /// Takes over the settings of another generation. What waits is delivered first.
    pub(super) fn update(self: &Arc<Self>, receiver: Receiver, settings: SubscriptionSettings) {
        let mut plan = self.plan.write();
        if plan.receiver == receiver && plan.settings == settings {
            return;
        }
        let keeps_lanes = plan.receiver == receiver && plan.settings.deliver == settings.deliver;
        if keeps_lanes {
            plan.lanes.iter().for_each(|lane| lane.queue.set_bounds(bounds(&settings)));
            *plan = Arc::new(Plan { receiver, settings, lanes: plan.lanes.clone() });
            return;
        }
        let new = lanes(&receiver, &settings, self.node.workers);
        let old = std::mem::replace(&mut *plan, Arc::new(Plan { receiver, settings, lanes: new.clone() }));
        old.lanes.iter().for_each(|lane| lane.queue.replace());
        self.spawn(new, &old.lanes);
    }

    /// Ends the subscription. What waits is dropped.
    pub(super) fn end(&self) {
        self.ended.cancel();
        let waiting: u64 = self.plan().lanes.iter().map(|lane| lane.queue.end()).sum();
        if waiting > 0 {
            self.counts.lock().dropped += waiting;
        }
    }
    pub fn module(&self) -> &Arc<str> {
        &self.key.module
    }
    pub fn name(&self) -> &Arc<str> {
        &self.key.name
    }

    /// Whether the source is to wait while the queue is full.
    pub fn overflow(&self) -> Overflow {
        self.plan().settings.overflow
    }

    /// Resolves when the module no longer has the subscription, or the host begins to stop.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Accepts a message. If the queue is full, it drops the oldest message.
    pub fn offer(&self, message: Message) {
        let message = Arc::new(message);
        // Until the end, so that nobody replaces the lanes meanwhile.
        let plan = self.plan.read();
        if let Receiver::Feed(feed) = &plan.receiver {
            // The counters tell how it ended.
            let _ = self.feed(feed, &message);
            return;
        }
        let push = |lane: &Arc<Lane>| lane.queue.push(Item { message: message.clone(), done: None }).unwrap_or(1);
        let dropped = plan.lanes.iter().map(push).sum();
        drop(plan);
        self.count_dropped(dropped);
    }

    /// Accepts a message as soon as the queue has room.
    pub async fn send(&self, message: Message) -> Result<(), CallError> {
        self.queue(message, false).await.map(drop)
    }

    /// Accepts a message as soon as the queue has room, and waits until its handler has ended: in
    /// each worker with `"deliver": "all"`. Fails if the handler fails, or the subscription ends.
    pub async fn run(&self, message: Message) -> Result<(), CallError> {
        let done = self.queue(message, true).await?;
        let results = join_all(done).await;
        // An item that was dropped tells nothing.
        results.into_iter().try_for_each(|result| result.unwrap_or_else(|_| Err(self.over_error())))
    }

    async fn queue(
        &self,
        message: Message,
        reports: bool,
    ) -> Result<Vec<oneshot::Receiver<Result<(), CallError>>>, CallError> {
        let message = Arc::new(message);
        loop {
            let plan = self.plan();
            if let Receiver::Feed(feed) = &plan.receiver {
                return self.feed(feed, &message).map(|()| Vec::new());
            }
            let mut receivers = Vec::new();
            for lane in &plan.lanes {
                let (done, receiver) = oneshot::channel();
                let item = Item { message: message.clone(), done: reports.then_some(done) };
                match lane.queue.push_when_free(item).await {
                    Ok(()) => receivers.push(receiver),
                    Err(_) if self.is_over() => return Err(self.over_error()),
                    // Other lanes have replaced this one after it had delivered everything.
                    Err(_) => break,
                }
            }
            match receivers.len() {
                0 => {}
                some if some == plan.lanes.len() => return Ok(receivers),
                _ => {
                    self.count_dropped(1);
                    return Ok(receivers);
                }
            }
        }
    }

    /// Publishes a message to live streams.
    fn feed(&self, feed: &Feed, message: &Message) -> Result<(), CallError> {
        let data = message.payload.clone();
        let event = StreamEvent { data, event: feed.event.as_deref().map(str::to_owned), ..StreamEvent::default() };
        let result = self.node.backend.feed(feed.key_for(&message.topic).as_deref(), event).map(drop);
        self.count_outcome(result.as_ref().err().map_or(Counts::OK, CallError::code), result.as_ref().err());
        result
    }

    /// The source has lost messages before the host received them: this number, if it knows.
    pub fn missed(&self, count: Option<u64>) {
        {
            let mut counts = self.counts.lock();
            counts.gaps += 1;
            counts.missed = counts.missed.saturating_add(count.unwrap_or_default());
        }
        if let Some(missed) = self.notices.lock().missed.add(count.unwrap_or_default(), Instant::now()) {
            let (module, subscription) = self.named();
            self.node.raise(HostEvent::SubscriptionGap { module, subscription, missed: count.map(|_| missed) });
        }
    }

    fn plan(&self) -> Arc<Plan> {
        self.plan.read().clone()
    }

    fn named(&self) -> (String, String) {
        (self.key.module.to_string(), line(&self.key.name, NAME))
    }

    fn over_error(&self) -> CallError {
        let (module, name) = self.named();
        CallError::Unavailable(format!("the subscription `{name}` of {module} has ended and accepts no more messages"))
    }

    pub fn counts(&self) -> Counts {
        self.counts.lock().clone()
    }

    /// The messages and bytes that wait, in all queues.
    pub fn waiting(&self) -> (usize, u64) {
        let plan = self.plan();
        let sizes = plan.lanes.iter().map(|lane| lane.queue.size());
        sizes.fold((0, 0), |(messages, bytes), (more, size)| (messages + more, bytes + size))
    }

    pub(super) fn receiver(&self) -> Receiver {
        self.plan.read().receiver.clone()
    }

    pub fn status(&self) -> SubscriptionStatus {
        let (plan, counts, (waiting, bytes)) = (self.plan(), self.counts(), self.waiting());
        let (source, topic) = self.source.described();
        let handled = !matches!(plan.receiver, Receiver::Feed(_));
        SubscriptionStatus {
            module: self.key.module.to_string(),
            name: self.key.name.to_string(),
            isolate: self.key.isolate.map(|isolate| isolate.to_string()),
            source: source.to_owned(),
            topic: topic.to_string(),
            group: match &self.source {
                Source::Redis(RedisSource { topic: RedisTopic::Stream { group, .. }, .. }) => Some(group.to_string()),
                _ => None,
            },
            connection: match &self.source {
                Source::Redis(redis) => Some(redis.connection.to_string()),
                Source::Event(_) => None,
            },
            deliver: handled.then(|| plan.settings.deliver.as_str().to_owned()),
            overflow: handled.then(|| plan.settings.overflow.as_str().to_owned()),
            waiting: waiting as u64,
            waiting_bytes: bytes,
            delivered: counts.delivered(),
            failed: counts.failed(),
            dropped: counts.dropped,
            gaps: counts.gaps,
            missed: counts.missed,
            failure: counts.failure,
        }
    }
}

impl Outlet for Subscription {
    fn is_over(&self) -> bool {
        self.ended.is_cancelled()
    }

    async fn over(&self) {
        self.ended.cancelled().await;
    }

    fn concurrency(&self) -> u32 {
        self.plan.read().settings.concurrency
    }

    fn places(&self) -> Vec<PlaceState> {
        self.node.backend.places(&self.key)
    }

    fn deliver(
        &self,
        isolate: IsolateId,
        message: &Message,
    ) -> Result<BoxFuture<'static, Result<Reply, CallError>>, CallError> {
        let route = match &self.plan.read().receiver {
            Receiver::Guest(_, route) => Some(route.clone()),
            Receiver::Workers | Receiver::Feed(_) => None,
        };
        let call = SubscriptionCall {
            name: self.key.name.clone(),
            declared: route.is_none(),
            source: self.source.kind().as_str(),
            topic: message.topic.clone(),
            id: message.id.clone(),
        };
        let payload = message.payload.clone();
        self.node.backend.deliver(&self.key.module, MessageCall { isolate, message: call, route, payload })
    }

    fn count_outcome(&self, code: &'static str, error: Option<&CallError>) {
        let mut counts = self.counts.lock();
        *counts.outcomes.entry(code).or_default() += 1;
        if let Some(error) = error {
            counts.failure = Some(line(&error.to_string(), MESSAGE));
        }
    }

    fn count_dropped(&self, count: u64) {
        if count == 0 {
            return;
        }
        self.counts.lock().dropped += count;
        let notice = self.notices.lock().dropped.add(count, Instant::now());
        if let Some(dropped) = notice {
            let (module, subscription) = self.named();
            tracing::warn!(%module, %subscription, dropped, "a subscription dropped messages, because its queue is full");
            self.node.raise(HostEvent::SubscriptionOverflow { module, subscription, dropped });
        }
    }
}

fn bounds(settings: &SubscriptionSettings) -> Bounds {
    Bounds { messages: settings.messages, bytes: settings.bytes }
}

/// The queues of a receiver.
fn lanes(receiver: &Receiver, settings: &SubscriptionSettings, workers: u32) -> Vec<Arc<Lane>> {
    let lane = |isolate| Lane::new(isolate, bounds(settings));
    match receiver {
        Receiver::Feed(_) => Vec::new(),
        Receiver::Guest(isolate, _) => vec![lane(Some(*isolate))],
        Receiver::Workers => match settings.deliver {
            Deliver::One => vec![lane(None)],
            Deliver::All => (0..workers).map(|index| lane(Some(IsolateId::Worker(index)))).collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reports_what_was_lost_since_the_previous_one() {
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        let mut notice = Notice::default();
        assert_eq!(notice.add(2, start), Some(2));
        assert_eq!((notice.add(3, after(1)), notice.add(1, after(999))), (None, None));
        assert_eq!((notice.add(1, after(1_000)), notice.add(1, after(1_001))), (Some(5), None));
    }
}
