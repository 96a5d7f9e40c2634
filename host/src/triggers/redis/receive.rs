//! The connection that receives the messages of channels and patterns.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Msg, RedisError, Value};
use tokio::sync::watch;
use tokio::task::{coop, yield_now};
use tokio::time::timeout;

use super::commands::is_answer;
use super::gate::Gate;
use super::link::{Link, reason};
use super::sources::topic_of;
use crate::registry::RedisTopic;
use crate::triggers::subscriptions::{Message, Subscription, payload_of};

/// The part of the connection, in its status.
const PART: &str = "channels";

/// The messages that are queued before other tasks of the thread run.
const TURN: usize = 64;

type Subscribers = Vec<Arc<Subscription>>;

/// What the host wants of the server: a channel, or a pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Topic {
    Channel(Arc<str>),
    Pattern(Arc<str>),
}

impl Topic {
    fn of(subscriber: &Subscription) -> Option<Topic> {
        match topic_of(subscriber)? {
            RedisTopic::Channel(channel) => Some(Topic::Channel(channel.clone())),
            RedisTopic::Pattern(pattern) => Some(Topic::Pattern(pattern.clone())),
            RedisTopic::Stream { .. } => None,
        }
    }

    fn name(&self) -> &Arc<str> {
        match self {
            Topic::Channel(name) | Topic::Pattern(name) => name,
        }
    }
}

/// The subscribers of each topic. However many there are, the server sends a topic once.
#[derive(Default)]
struct Routes {
    channels: HashMap<Arc<str>, Subscribers>,
    patterns: HashMap<Arc<str>, Subscribers>,
}

impl Routes {
    fn of(subscribers: &[Arc<Subscription>]) -> Routes {
        let mut routes = Routes::default();
        for one in subscribers {
            match Topic::of(one) {
                Some(Topic::Channel(channel)) => routes.channels.entry(channel).or_default().push(one.clone()),
                Some(Topic::Pattern(pattern)) => routes.patterns.entry(pattern).or_default().push(one.clone()),
                None => {}
            }
        }
        routes
    }
}

/// Connects while there are subscriptions, and connects again, until it is dropped.
pub async fn run(link: Arc<Link>, mut wanted: watch::Receiver<Subscribers>) {
    let mut retry = link.retry();
    // The subscriptions that were there when the connection was lost.
    let mut missed: Subscribers = Vec::new();
    loop {
        if wanted.borrow_and_update().is_empty() {
            missed.clear();
            link.health.ended(PART);
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        }
        link.health.begin(PART);
        let reason = match connection(&link, &mut wanted, &mut missed, || retry.reset()).await {
            Some(reason) => reason,
            None => continue,
        };
        link.topics.store(0, Relaxed);
        link.health.lost(PART, &reason);
        tokio::time::sleep(retry.delay()).await;
    }
}

/// One connection, from its begin to its end. Returns why it ended, or `None` when nothing is
/// wanted any more.
async fn connection(
    link: &Link,
    wanted: &mut watch::Receiver<Subscribers>,
    missed: &mut Subscribers,
    connected: impl FnOnce(),
) -> Option<String> {
    let (pubsub, gate) = match link.open_pubsub().await {
        Ok(opened) => opened,
        Err(reason) => return Some(reason),
    };
    let (sink, stream) = pubsub.split();
    let routes = ArcSwap::<Routes>::default();
    let mut control = Control { link, sink, gate: &gate, routes: &routes, subscribed: BTreeMap::new() };
    let first = wanted.borrow_and_update().clone();
    let was_connected = AtomicBool::new(false);
    let listening = async {
        if let Err(error) = control.follow(&first).await {
            return Some(reason(&error));
        }
        connected();
        was_connected.store(true, Relaxed);
        link.health.connected(PART);
        for one in missed.drain(..).filter(|one| first.iter().any(|other| Arc::ptr_eq(one, other))) {
            one.missed(None);
        }
        control.run(wanted).await
    };
    let reason = tokio::select! {
        reason = listening => reason,
        () = deliver(link, stream, &gate, &routes) => Some("the server closed the connection".to_owned()),
    };
    if reason.is_some() && was_connected.load(Relaxed) {
        link.counts.downs.inc();
        *missed = wanted.borrow().clone();
    }
    reason
}

/// Hands every message to its subscribers, until the connection ends. Never waits for a subscriber,
/// so that one cannot slow another. Reads no faster than the messages are queued.
async fn deliver(link: &Link, mut stream: PubSubStream, gate: &Gate, routes: &ArcSwap<Routes>) {
    // With tokio's budget, the channel could seem to be empty while messages wait in it.
    coop::unconstrained(async {
        for count in 1_usize.. {
            let next = poll_fn(|cx| {
                let next = stream.poll_next_unpin(cx);
                if next.is_pending() {
                    gate.emptied(cx);
                }
                next
            });
            let Some(message) = next.await else { return };
            route(link, &message, &routes.load());
            if count % TURN == 0 {
                yield_now().await;
            }
        }
    })
    .await;
}

fn route(link: &Link, message: &Msg, routes: &Routes) {
    let pattern: Option<String> = message.get_pattern().ok().flatten();
    let subscribers = match &pattern {
        Some(pattern) => routes.patterns.get(pattern.as_str()),
        None => routes.channels.get(message.get_channel_name()),
    };
    if let Some(subscribers) = subscribers {
        offer(link, message, subscribers);
    }
}

fn offer(link: &Link, message: &Msg, subscribers: &[Arc<Subscription>]) {
    // The connection has replaced a message that is too large by nil.
    if matches!(message.get_payload(), Ok(Value::Nil)) {
        link.counts.oversized.inc();
        return subscribers.iter().for_each(|one| one.missed(Some(1)));
    }
    let channel = message.get_channel::<Vec<u8>>().unwrap_or_default();
    let topic: Arc<str> = String::from_utf8_lossy(&channel).into();
    let id = link.next_id();
    for one in subscribers {
        link.counts.received.inc();
        one.offer(Message {
            topic: topic.clone(),
            id: Some(id.clone()),
            payload: payload_of(message.get_payload_bytes()),
        });
    }
}

/// Subscribes and unsubscribes at the server.
struct Control<'a> {
    link: &'a Link,
    sink: PubSubSink,
    gate: &'a Gate,
    routes: &'a ArcSwap<Routes>,
    /// The topics at the server, and whether it accepted each.
    subscribed: BTreeMap<Topic, bool>,
}

impl Control<'_> {
    /// Follows changes, and asks the server regularly whether it is there. Returns why the
    /// connection ended, or `None` when nothing is wanted any more.
    async fn run(&mut self, wanted: &mut watch::Receiver<Subscribers>) -> Option<String> {
        let patience = self.link.settings.timeout;
        let outcome: Result<(), RedisError> = async {
            loop {
                match timeout(patience, wanted.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Ok(()),
                    Err(_) => {
                        let pong: Value = self.answer(async |sink| sink.ping().await).await?;
                        drop(pong);
                        // The server may accept now what it refused.
                        self.subscribed.retain(|_, accepted| *accepted);
                    }
                }
                let now = wanted.borrow_and_update().clone();
                self.follow(&now).await?;
                if now.is_empty() {
                    return Ok(());
                }
            }
        }
        .await;
        outcome.err().map(|error| reason(&error))
    }

    /// Subscribes to what is wanted, and unsubscribes from the rest.
    async fn follow(&mut self, wanted: &[Arc<Subscription>]) -> Result<(), RedisError> {
        // First, so that a message that follows at once finds its subscribers.
        self.routes.store(Arc::new(Routes::of(wanted)));
        let topics: std::collections::BTreeSet<Topic> = wanted.iter().filter_map(|one| Topic::of(one)).collect();
        let gone: Vec<Topic> = self.subscribed.keys().filter(|topic| !topics.contains(topic)).cloned().collect();
        for topic in gone {
            if self.subscribed.remove(&topic) == Some(true) {
                self.answer(async |sink| match &topic {
                    Topic::Channel(name) => sink.unsubscribe(&**name).await,
                    Topic::Pattern(name) => sink.punsubscribe(&**name).await,
                })
                .await?;
            }
            self.link.health.accepted(topic.name());
        }
        for topic in topics {
            if self.subscribed.contains_key(&topic) {
                continue;
            }
            let answer = self.answer(async |sink| match &topic {
                Topic::Channel(name) => sink.subscribe(&**name).await,
                Topic::Pattern(name) => sink.psubscribe(&**name).await,
            });
            let refusal = match answer.await {
                Ok(()) => None,
                Err(error) if is_answer(&error) => Some(error.to_string()),
                Err(error) => return Err(error),
            };
            match &refusal {
                Some(reason) => self.link.health.refused(topic.name(), reason),
                None => self.link.health.accepted(topic.name()),
            }
            self.subscribed.insert(topic, refusal.is_none());
        }
        let accepted = self.subscribed.values().filter(|accepted| **accepted).count();
        self.link.topics.store(accepted as u64, Relaxed);
        Ok(())
    }

    /// Waits for the answer to a command, as long as the server may take. The answer comes after
    /// the messages that the server has sent before, so the time begins again while these arrive.
    async fn answer<T>(
        &mut self,
        ask: impl AsyncFnOnce(&mut PubSubSink) -> Result<T, RedisError>,
    ) -> Result<T, RedisError> {
        let patience: Duration = self.link.settings.timeout;
        let mut answer = pin!(ask(&mut self.sink));
        loop {
            let before = self.gate.total();
            match timeout(patience, &mut answer).await {
                Ok(answer) => return answer,
                Err(_) if self.gate.total() != before => {}
                Err(_) => {
                    return Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)));
                }
            }
        }
    }
}
