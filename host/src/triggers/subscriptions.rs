//! Brings messages of sources to the routes and the live streams of modules.
//!
//! A [`Subscription`] accepts messages of its source, and delivers them. Each of its queues has a
//! task of its own ([`lane`]), so that a slow handler delays no other subscription. [`events`]
//! reads events; the parts that talk to outside servers ask for the subscriptions that are
//! [`wanted`](Subscriptions::wanted).
//!
//! The roster calls `Subscriptions::sync` after each change, before the swap reports its end, so
//! that an event emitted after a reload finds the new subscriptions. A guest subscribes under the
//! lock of the table, so that nothing is left behind when its module is removed. A subscription
//! stays the same object over swaps as long as its source is the same.

mod backend;
mod channels;
mod counts;
mod events;
mod guests;
mod lane;
mod message;
mod node;
mod notices;
mod queue;
mod redelivery;
mod status;
mod subscription;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use backend::{InstalledSubscriptions, Key, PlaceState, RouteState, SubscriptionBackend};
pub use counts::Counts;
pub use guests::GuestEvents;
pub use message::{Message, payload_of};
pub use redelivery::pause_after;
pub use subscription::Subscription;

use crate::api::SubscriptionStatus;
use crate::call::TopicKind;
use crate::events::{EventLog, EventQuota};
use crate::hub::{ChannelError, Channels, Listening, ServiceLog};
use crate::ports::Topics;
use crate::registry::{Action, DeclaredSubscription, Source, SourceKind};
use node::Node;
use subscription::Receiver;

/// The subscriptions of a node.
pub struct Subscriptions {
    node: Arc<Node>,
    log: Arc<ServiceLog>,
    channels: Arc<Channels>,
    /// The events of other nodes.
    topics: Arc<dyn Topics>,
    table: Mutex<BTreeMap<Key, Arc<Subscription>>>,
    /// Brings the messages of channels. Not a part of the subscription: a channel may hold the last
    /// reference to that while it calls it, and must not end its own listener. Locked after
    /// `table`.
    listening: Mutex<BTreeMap<Key, Listening>>,
    /// Changes when a subscription begins or ends.
    changes: watch::Sender<u64>,
}

impl Subscriptions {
    /// Must be called on the runtime that is to deliver the messages.
    pub fn new(
        backend: Arc<dyn SubscriptionBackend>,
        log: Arc<ServiceLog>,
        channels: Arc<Channels>,
        topics: Arc<dyn Topics>,
        events: Arc<EventLog>,
        workers: u32,
        stopping: CancellationToken,
    ) -> Arc<Subscriptions> {
        let (runtime, quota) = (Handle::current(), EventQuota::default());
        let node = Node { backend, events, workers, runtime, stopping, quota };
        Arc::new(Subscriptions {
            node: Arc::new(node),
            log,
            channels,
            topics,
            table: Mutex::default(),
            listening: Mutex::default(),
            changes: watch::Sender::default(),
        })
    }

    /// Takes over changes of the modules. The caller calls it after each change.
    pub fn sync(self: &Arc<Self>) {
        if self.node.stopping.is_cancelled() {
            return;
        }
        let mut table = self.table.lock();
        let installed = self.node.backend.installed();
        let mut wanted: BTreeMap<Key, DeclaredSubscription> = BTreeMap::new();
        for InstalledSubscriptions { module, subscriptions } in installed {
            wanted.extend(subscriptions.into_iter().map(|(name, subscription)| {
                (Key { module: module.clone(), isolate: None, name: name.into() }, subscription)
            }));
        }
        let mut changed = false;
        table.retain(|key, one| {
            let stays = match one.receiver() {
                Receiver::Guest(_, route) => one.may_stay(self.node.backend.route(key, &route)),
                Receiver::Workers | Receiver::Feed(_) => wanted.get(key).is_some_and(|new| new.source == one.source),
            };
            if !stays {
                self.end(key, one);
                changed = true;
            }
            stays
        });
        for (key, DeclaredSubscription { source, action, settings, env: _ }) in wanted {
            let receiver = match action {
                Action::Call(_) => Receiver::Workers,
                Action::Feed(feed) => Receiver::Feed(feed),
            };
            match table.get(&key) {
                Some(one) => one.update(receiver, settings),
                None => {
                    let one = Subscription::start(key.clone(), source, receiver, settings, self.node.clone());
                    self.read_events(&one);
                    table.insert(key, one);
                    changed = true;
                }
            }
        }
        drop(table);
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// Reads events for a subscription to events, from now on.
    fn read_events(&self, subscription: &Arc<Subscription>) {
        if let Source::Event(pattern) = &subscription.source {
            let (reader, followed) = (self.log.reader(None), self.topics.follow(TopicKind::Event, ""));
            let read = events::read(subscription.clone(), pattern.clone(), reader);
            self.node.runtime.spawn(async move {
                read.await;
                drop(followed);
            });
        }
    }

    /// Listens to the channel of a subscription to one, from now on.
    fn listen(&self, subscription: &Arc<Subscription>) -> Result<(), ChannelError> {
        let Source::Channel(channel) = &subscription.source else { return Ok(()) };
        let ear = channels::Ear(Arc::downgrade(subscription));
        let listening = self.channels.listen(channel, Arc::new(ear))?;
        self.listening.lock().insert(subscription.key.clone(), listening);
        Ok(())
    }

    /// Ends a subscription. The caller holds the lock of the table.
    fn end(&self, key: &Key, subscription: &Subscription) {
        let listening = self.listening.lock().remove(key);
        drop(listening);
        subscription.end();
    }

    /// The subscriptions to a kind of source.
    pub fn wanted(&self, kind: SourceKind) -> Vec<Arc<Subscription>> {
        self.table.lock().values().filter(|one| one.source.kind() == kind).cloned().collect()
    }

    /// Changes when a subscription begins or ends.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// All subscriptions.
    pub fn all(&self) -> Vec<(Key, Arc<Subscription>)> {
        self.table.lock().iter().map(|(key, one)| (key.clone(), one.clone())).collect()
    }

    /// The subscriptions of all installed modules.
    pub fn status(&self) -> Vec<SubscriptionStatus> {
        self.all().into_iter().map(|(_, one)| one.status()).collect()
    }
}
