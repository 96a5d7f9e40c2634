mod channels;
mod delivery;
mod guests;
mod overflow;
mod sources;
mod workers;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::call::{
    CallEnd, CallError, Event, Failure, IsolateId, MessageCall, Payload, Reply, RouteName, StreamEvent, StreamReach,
    bounds,
};
use crate::config::{HubConfig, SseConfig, WebSocketConfig};
use crate::events::{EVENTS_PER_SECOND, HostEvent};
use crate::hub::{Hub, SessionSettings, TopicSettings};
use crate::journal::JournalLimits;
use crate::ports::NoTopics;
use crate::registry::{Deliver, Feed, Overflow, SubscriptionSettings};

/// A call that the backend has received.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    worker: u32,
    name: String,
    topic: String,
    payload: String,
}

/// A call that has not ended.
struct Open {
    seen: Seen,
    end: oneshot::Sender<CallEnd>,
}

/// Modules whose handlers end when the test says so.
#[derive(Default)]
struct Fake {
    installed: Mutex<BTreeMap<&'static str, BTreeMap<String, DeclaredSubscription>>>,
    /// Whether each worker is ready and failed.
    workers: Mutex<Vec<(bool, bool)>>,
    /// The routes that serve guests' subscriptions, and the generation that has them.
    routes: Mutex<(Vec<&'static str>, &'static str)>,
    /// The errors of the next calls that are not queued.
    refusals: Mutex<VecDeque<CallError>>,
    /// Modules whose calls end at once.
    quick: Mutex<Vec<&'static str>>,
    /// How often the places of a subscription were asked for.
    asked: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    /// The position of each message that was seen.
    ids: Mutex<Vec<Option<String>>>,
    open: Mutex<VecDeque<Open>>,
    fed: Mutex<Vec<(Option<String>, StreamEvent)>>,
}

impl SubscriptionBackend for Fake {
    fn installed(&self) -> Vec<InstalledSubscriptions> {
        let installed = self.installed.lock();
        let of = |(module, all): (&&str, &BTreeMap<String, DeclaredSubscription>)| InstalledSubscriptions {
            module: (*module).into(),
            subscriptions: all.clone(),
        };
        installed.iter().map(of).collect()
    }

    fn route(&self, key: &Key, route: &RouteName) -> RouteState {
        let (routes, generation) = &*self.routes.lock();
        match self.installed.lock().contains_key(&*key.module) {
            true if routes.contains(&&*route.path) => RouteState::Serves,
            true => RouteState::Missing((*generation).to_owned()),
            false => RouteState::Absent,
        }
    }

    fn places(&self, key: &Key) -> Vec<PlaceState> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if !self
            .installed
            .lock()
            .get(&*key.module)
            .is_some_and(|all| key.isolate.is_some() || all.contains_key(&*key.name))
        {
            return Vec::new();
        }
        let state = |(index, (ready, failed)): (usize, &(bool, bool))| PlaceState {
            isolate: IsolateId::Worker(index as u32),
            ready: *ready,
            failed: *failed,
        };
        let mut places: Vec<_> = self.workers.lock().iter().enumerate().map(state).collect();
        places.retain(|place| key.isolate.is_none_or(|isolate| isolate == place.isolate));
        places
    }

    fn deliver(&self, module: &str, call: MessageCall) -> Result<BoxFuture<'static, CallEnd>, CallError> {
        if let Some(error) = self.refusals.lock().pop_front() {
            return Err(error);
        }
        let Payload::Text(payload) = call.payload else { panic!() };
        let worker = call.isolate.worker().unwrap();
        let (name, topic) = (call.message.name.to_string(), call.message.topic.to_string());
        let seen = Seen { worker, name, topic, payload };
        self.ids.lock().push(call.message.id.as_deref().map(str::to_owned));
        self.seen.lock().push(seen.clone());
        if self.quick.lock().contains(&module) {
            return Ok(std::future::ready(CallEnd::Ended(Ok(Reply::default()))).boxed());
        }
        let (end, ended) = oneshot::channel();
        self.open.lock().push_back(Open { seen, end });
        Ok(async { ended.await.unwrap() }.boxed())
    }

    fn feed(&self, key: Option<&str>, event: StreamEvent, _: StreamReach) -> Result<u32, CallError> {
        self.fed.lock().push((key.map(str::to_owned), event));
        Ok(1)
    }
}

struct Test {
    fake: Arc<Fake>,
    subscriptions: Arc<Subscriptions>,
    events: Arc<EventLog>,
    log: Arc<ServiceLog>,
    stopping: CancellationToken,
}

/// The channels of a node.
fn channels(events: Arc<EventLog>) -> Arc<Channels> {
    let streams = TopicSettings::new(&SseConfig::default(), Duration::ZERO);
    let topics = TopicSettings::of_sessions(&WebSocketConfig::default(), Duration::ZERO, Duration::ZERO);
    let encoder = Arc::new(());
    let sessions = SessionSettings { topics, node: "n".to_owned(), max_values: 1, max_channels: 1, encoder };
    let config = HubConfig { topics: 4, ..HubConfig::default() };
    Hub::new(&config, streams, sessions, 1, events).channels.clone()
}

impl Test {
    /// A node with this number of workers, which are ready.
    fn new(workers: u32) -> Test {
        Test::keeping(workers, 1_000)
    }

    /// The same with a log of this number of events.
    fn keeping(workers: u32, count: usize) -> Test {
        let fake = Arc::new(Fake::default());
        *fake.workers.lock() = vec![(true, false); workers as usize];
        let events = Arc::new(EventLog::new(true, true));
        let limits = JournalLimits { count, bytes: 1 << 30, age: Duration::MAX };
        let (log, stopping) = (Arc::new(ServiceLog::new(limits)), CancellationToken::new());
        let channels = channels(events.clone());
        let subscriptions = Subscriptions::new(
            fake.clone(),
            log.clone(),
            channels,
            Arc::new(NoTopics),
            events.clone(),
            workers,
            stopping.clone(),
        );
        Test { fake, subscriptions, events, log, stopping }
    }

    /// Installs a module, or replaces it.
    fn install(&self, module: &'static str, all: &[(&str, DeclaredSubscription)]) {
        let all = all.iter().map(|(name, one)| ((*name).to_owned(), one.clone())).collect();
        self.fake.installed.lock().insert(module, all);
        self.subscriptions.sync();
    }

    fn remove(&self, module: &str) {
        self.fake.installed.lock().remove(module);
        self.subscriptions.sync();
    }

    fn get(&self, name: &str) -> Arc<Subscription> {
        let all = self.subscriptions.all();
        all.into_iter().find(|(key, _)| &*key.name == name).unwrap().1
    }

    fn emit(&self, kind: &str, value: impl ToString) {
        self.log.emit(&None, Event { kind: kind.into(), value: value.to_string().into(), source: None });
    }

    /// The payloads that were seen so far, with their workers.
    fn seen(&self) -> Vec<(u32, String)> {
        self.fake.seen.lock().iter().map(|seen| (seen.worker, seen.payload.clone())).collect()
    }

    /// The payloads that one worker has seen.
    fn seen_in(&self, worker: u32) -> Vec<String> {
        self.seen().into_iter().filter(|(other, _)| *other == worker).map(|(_, payload)| payload).collect()
    }

    /// Waits until this number of calls was made.
    async fn calls(&self, count: usize) {
        until(|| self.fake.seen.lock().len() >= count).await;
        settle().await;
        let seen = self.seen();
        assert_eq!(seen.len(), count, "{seen:?}");
    }

    /// Ends the oldest open call.
    fn end(&self, result: Result<Reply, CallError>) -> Seen {
        self.end_as(CallEnd::Ended(result))
    }

    fn end_as(&self, result: CallEnd) -> Seen {
        let Open { seen, end } = self.fake.open.lock().pop_front().unwrap();
        end.send(result).ok().unwrap();
        seen
    }

    /// Returns the oldest open call, because the isolate could not start it.
    fn give_back(&self, why: CallError) -> Seen {
        self.end_as(CallEnd::Returned(why))
    }

    /// Ends all open calls of a worker, also those that follow, until none is open.
    async fn end_all_of(&self, worker: u32) {
        loop {
            settle().await;
            let mut open = self.fake.open.lock();
            let Some(index) = open.iter().position(|open| open.seen.worker == worker) else { return };
            open.remove(index).unwrap().end.send(CallEnd::Ended(Ok(Reply::default()))).ok().unwrap();
        }
    }

    /// Ends the open call with this payload.
    fn end_of(&self, payload: &str) {
        let mut open = self.fake.open.lock();
        let index = open.iter().position(|open| open.seen.payload == payload).unwrap();
        open.remove(index).unwrap().end.send(CallEnd::Ended(Ok(Reply::default()))).ok().unwrap();
    }

    fn ok(&self) -> Seen {
        self.end(Ok(Reply::default()))
    }

    fn raised(&self) -> Vec<HostEvent> {
        let mut reader = self.events.read_after(0);
        let mut raised = Vec::new();
        while let Some(item) = reader.try_next() {
            if let crate::events::EventItem::Event(record) = item {
                raised.push(record.event.clone());
            }
        }
        raised
    }
}

fn settings() -> SubscriptionSettings {
    SubscriptionSettings::default()
}

/// A subscription with a handler.
fn handled(pattern: &str, settings: SubscriptionSettings) -> DeclaredSubscription {
    DeclaredSubscription { source: Source::Event(pattern.into()), action: Action::Call(0), settings, env: Vec::new() }
}

fn all() -> SubscriptionSettings {
    SubscriptionSettings { deliver: Deliver::All, ..settings() }
}

fn message(payload: impl ToString) -> Message {
    Message { topic: "t".into(), id: None, payload: Payload::Text(payload.to_string()) }
}

/// Polls a condition while other tasks run.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the condition never came true");
}

/// Lets every other task run until it waits.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

fn texts(range: std::ops::RangeInclusive<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}
