//! One subscription: accepts messages of its source, and delivers them.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{BoxFuture, join_all};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::backend::{Key, PlaceState, RouteState};
use super::counts::Counts;
use super::lane::{Announced, Lane, Outlet};
use super::message::Message;
use super::node::Node;
use super::notices::Notices;
use super::queue::{Bounds, Item, Received};
use crate::call::text::{MESSAGE, NAME, line};
use crate::call::{CallEnd, CallError, IsolateId, MessageCall, RouteName, StreamEvent, StreamReach, SubscriptionCall};
use crate::events::{HostEvent, Origin};
use crate::registry::{Deliver, Feed, Overflow, Source, SubscriptionSettings};

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
    pub(super) key: Key,
    pub source: Source,
    node: Arc<Node>,
    plan: RwLock<Arc<Plan>>,
    counts: Mutex<Counts>,
    notices: Mutex<Notices>,
    /// The digest of the generation that served when a guest of another one, which a swap prepared,
    /// subscribed a route that only the other one has.
    awaits: Mutex<Option<String>>,
    /// Why its source delivers nothing at present.
    refusal: Mutex<Option<String>>,
    /// Cancelled when the module no longer has the subscription.
    ended: CancellationToken,
}

/// Tells how a message has ended in one lane.
type Outcome = oneshot::Receiver<Result<Received, CallError>>;

/// How the current generation wants its messages.
pub(super) struct Plan {
    pub receiver: Receiver,
    pub settings: SubscriptionSettings,
    lanes: Vec<Arc<Lane>>,
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
            awaits: Mutex::default(),
            refusal: Mutex::default(),
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

    /// Whether a guest's subscription may stay, when its route is there.
    pub(super) fn may_stay(&self, route: RouteState) -> bool {
        let mut awaits = self.awaits.lock();
        match route {
            RouteState::Serves => {
                *awaits = None;
                true
            }
            RouteState::Missing(digest) => awaits.as_ref() == Some(&digest),
            RouteState::Absent => false,
        }
    }

    /// Lets a guest's subscription stay until another generation serves than this one.
    pub(super) fn awaits_successor_of(&self, digest: String) {
        *self.awaits.lock() = Some(digest);
    }

    pub fn module(&self) -> &Arc<str> {
        &self.key.module
    }
    pub fn name(&self) -> &Arc<str> {
        &self.key.name
    }

    /// The module and the name, as messages show them.
    pub fn label(&self) -> String {
        format!("{}:{}", self.key.module, line(&self.key.name, NAME))
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

    /// Accepts a message as soon as the queue has room, and waits until its handler has ended: with
    /// `"deliver": "all"` in each worker that can receive messages. Fails if a handler fails, if no
    /// worker has handled the message, or if the subscription ends.
    pub async fn run(&self, message: Message) -> Result<(), CallError> {
        let done = self.queue(message, true).await?;
        let mut is_handled = done.is_empty();
        for result in join_all(done).await {
            // An item that was dropped tells nothing.
            is_handled |= result.unwrap_or_else(|_| Err(self.dropped_error()))? == Received::Handled;
        }
        if is_handled { Ok(()) } else { Err(self.dropped_error()) }
    }

    /// Adds a message to every queue. Each of the receivers tells how the message has ended there.
    async fn queue(&self, message: Message, reports: bool) -> Result<Vec<Outcome>, CallError> {
        let message = Arc::new(message);
        loop {
            let (plan, announced) = self.announce();
            if let Receiver::Feed(feed) = &plan.receiver {
                return self.feed(feed, &message).map(|()| Vec::new());
            }
            let (mut receivers, mut added) = (Vec::new(), 0);
            for lane in announced {
                let (done, receiver) = oneshot::channel();
                let item = Item { message: message.clone(), done: reports.then_some(done) };
                match lane.push(item).await {
                    Ok(()) => added += 1,
                    Err(_) if self.is_over() => return Err(self.over_error()),
                    // A swap has replaced the handler, so that the lane has dropped everything.
                    Err(_) => {}
                }
                receivers.push(receiver);
            }
            if added > 0 {
                self.count_dropped((receivers.len() - added) as u64);
                return Ok(receivers);
            }
        }
    }

    /// Announces a message to all lanes of the plan.
    fn announce(&self) -> (Arc<Plan>, Vec<Announced>) {
        // Until the end, so that no change of the lanes comes between two announcements.
        let plan = self.plan.read();
        let announced = plan.lanes.iter().map(Lane::announce).collect();
        (plan.clone(), announced)
    }

    /// Publishes a message to live streams.
    fn feed(&self, feed: &Feed, message: &Message) -> Result<(), CallError> {
        let data = message.payload.clone();
        let event = StreamEvent { data, event: feed.event.as_deref().map(str::to_owned), ..StreamEvent::default() };
        // Of a message that every node receives, each serves its own readers.
        let reach = if self.source.group().is_some() { StreamReach::Everywhere } else { StreamReach::ThisNode };
        let result = self.node.backend.feed(feed.key_for(&message.topic).as_deref(), event, reach).map(drop);
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

    /// The source delivers nothing, for this reason; or it does again. Reports each reason once.
    pub fn set_refusal(&self, reason: Option<String>) {
        let mut refusal = self.refusal.lock();
        if *refusal == reason {
            return;
        }
        refusal.clone_from(&reason);
        drop(refusal);
        if let Some(reason) = reason {
            let (module, subscription) = self.named();
            let message = format!("the subscription {module}:{subscription} receives nothing: {reason}");
            tracing::warn!("{message}");
            self.node.raise(HostEvent::Warning { origin: Origin::master(), message });
        }
    }

    pub(super) fn refusal(&self) -> Option<String> {
        self.refusal.lock().clone()
    }

    pub(super) fn plan(&self) -> Arc<Plan> {
        self.plan.read().clone()
    }

    fn named(&self) -> (String, String) {
        (self.key.module.to_string(), line(&self.key.name, NAME))
    }

    fn over_error(&self) -> CallError {
        let (module, name) = self.named();
        CallError::Unavailable(format!("the subscription `{name}` of {module} has ended and accepts no more messages"))
    }

    /// The error of a message that no worker has handled.
    fn dropped_error(&self) -> CallError {
        if self.is_over() {
            return self.over_error();
        }
        let (module, name) = self.named();
        CallError::Unavailable(format!("the subscription `{name}` of {module} has dropped the message"))
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

    /// The most bytes that may wait, in all queues.
    pub fn max_bytes(&self) -> u64 {
        let plan = self.plan();
        plan.settings.bytes.saturating_mul(plan.lanes.len() as u64)
    }

    pub(super) fn receiver(&self) -> Receiver {
        self.plan.read().receiver.clone()
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
        movable: bool,
        message: &Message,
    ) -> Result<BoxFuture<'static, CallEnd>, CallError> {
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
        self.node.backend.deliver(&self.key.module, MessageCall { isolate, movable, message: call, route, payload })
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

    fn count_skipped(&self, isolate: IsolateId, count: u64) {
        self.counts.lock().dropped += count;
        let notice = self.notices.lock().skipped.entry(isolate).or_default().add(count, Instant::now());
        if let Some(dropped) = notice {
            let (module, subscription) = self.named();
            tracing::warn!(
                %module, %subscription, %isolate, dropped,
                "a subscription skipped messages in an isolate, because its module cannot receive them there"
            );
            let isolate = isolate.to_string();
            self.node.raise(HostEvent::SubscriptionSkipped { module, subscription, isolate, dropped });
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
