//! All channels of a node.

use std::any::Any;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::super::counters::Counters;
use super::super::frame::Frame;
use super::super::inbox::Wakers;
use super::super::namespace::Namespace;
use super::super::sessions::Session;
use super::super::sync::Mutex;
use super::channel::{Channel, State, limits};
use super::crowd::Change;
use super::joined::ChannelError;
use super::lists::Lists;
use super::map::Map;
use super::message::EncodeChannel;
use super::placed::{Added, Deliver};
use super::reports::{MemberReport, Report};
use crate::call::{ChannelMessage, ChannelPlace, ChannelPosition, ChannelSettings, Payload, bounds, time};

/// The channels of a node.
pub struct Channels {
    pub(in crate::hub) map: Map,
    /// That of the sessions.
    pub(super) namespace: Arc<Namespace>,
    pub(super) encoder: Arc<dyn EncodeChannel>,
    /// `websocket.socketChannelLimit`.
    max_per_session: u32,
    max_subscriptions: u32,
    pub(super) counters: Arc<Counters>,
    pub(super) subscriptions: AtomicU32,
    pub(super) next_listener: AtomicU64,
    /// The channels whose number of members is to be announced.
    pub(super) due: Mutex<Vec<Arc<Channel>>>,
    /// The part of the map that the next sweep looks at.
    pub(super) next_sweep: AtomicUsize,
    pub(super) lists: Lists,
    on_leave: OnceLock<OnLeave>,
    follow: OnceLock<Follow>,
    pub(super) deliver: OnceLock<Deliver>,
    pub(super) report: OnceLock<Report>,
}

/// Follows a channel on other nodes, until the result is dropped.
type Follow = Box<dyn Fn(&str) -> Box<dyn Any + Send> + Send + Sync>;

/// Told which channels a session has left because it has ended.
type OnLeave = Box<dyn Fn(&Arc<Session>, Vec<Arc<str>>) + Send + Sync>;

/// A message to publish.
pub struct Published<'a> {
    pub payload: Payload,
    /// The session of the client that publishes it.
    pub session: Option<Arc<str>>,
    pub settings: &'a ChannelSettings,
}

impl Channels {
    /// The epoch differs for each start of the host. `namespace` is that of the sessions.
    pub fn new(
        epoch: u64,
        max: u32,
        max_per_session: u32,
        max_subscriptions: u32,
        namespace: Arc<Namespace>,
        encoder: Arc<dyn EncodeChannel>,
    ) -> Arc<Channels> {
        let channels = Arc::new(Channels {
            map: Map::new(epoch, max),
            namespace,
            encoder,
            max_per_session,
            max_subscriptions,
            counters: Arc::default(),
            subscriptions: AtomicU32::new(0),
            next_listener: AtomicU64::new(0),
            due: Mutex::new(Vec::new()),
            next_sweep: AtomicUsize::new(0),
            lists: Lists::new(),
            on_leave: OnceLock::new(),
            follow: OnceLock::new(),
            deliver: OnceLock::new(),
            report: OnceLock::new(),
        });
        let histories = Arc::downgrade(&channels);
        channels.namespace.memory.add_histories(histories);
        channels
    }

    /// Sets what is told which channels a session has left because it has ended. It is called while
    /// no lock is held. Only the first call has an effect.
    pub fn on_leave(&self, told: OnLeave) {
        _ = self.on_leave.set(told);
    }

    /// Sets what follows a channel on other nodes while somebody listens here. It is called under
    /// the lock of the channel. Only the first call has an effect.
    pub fn follow_with(&self, follow: Follow) {
        self.map.is_shared.store(true, Relaxed);
        _ = self.follow.set(follow);
    }

    /// Follows a channel if somebody listens to it.
    pub(super) fn follow(&self, channel: &Channel, state: &mut State) {
        match (state.is_idle(), &state.followed) {
            (false, None) => state.followed = self.follow.get().map(|follow| follow(&channel.name)),
            (true, Some(_)) => state.followed = None,
            (false, Some(_)) | (true, None) => {}
        }
    }

    /// Subscribes a session. Returns false if it was already: then only its info is replaced.
    /// `info` is JSON text.
    pub fn subscribe(
        &self,
        name: &str,
        session: &Arc<Session>,
        info: Option<Arc<str>>,
        settings: &ChannelSettings,
    ) -> Result<bool, ChannelError> {
        // No other channel makes room for a subscription that the session cannot have.
        let bytes = info.as_deref().map_or(0, str::len);
        session.joined.check(name, self.max_per_session, bytes)?;
        if self.subscriptions.load(Relaxed) >= self.max_subscriptions && !session.joined.contains(name) {
            return Err(self.too_many_subscriptions());
        }
        let mut wakers = Wakers::default();
        let _order = self.namespace.order.read();
        let subscribed = self.with(name, Map::get_or_make_room, |channel, state| {
            self.apply(channel, state, settings, Instant::now());
            if session.joined.contains(&channel.name) {
                session.joined.add(&channel.name, self.max_per_session, bytes)?;
                let member = state.members.set_info(session, info).filter(|_| state.settings.presence);
                if let Some(member) = member {
                    self.report(channel, state, &MemberReport::Is(&member));
                }
                return Ok(false);
            }
            self.count_subscription()?;
            if let Err(error) = session.joined.add(&channel.name, self.max_per_session, bytes) {
                self.subscriptions.fetch_sub(1, Relaxed);
                return Err(error);
            }
            let member = state.members.add(session, info);
            self.announce(channel, state, Change::Join, &member, &mut wakers);
            Ok(true)
        });
        subscribed.unwrap_or_else(|| Err(self.refuse()))
    }

    /// Counts one more subscription, if there may be one.
    fn count_subscription(&self) -> Result<(), ChannelError> {
        let more = |count: u32| (count < self.max_subscriptions).then_some(count + 1);
        match self.subscriptions.fetch_update(Relaxed, Relaxed, more) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.too_many_subscriptions()),
        }
    }

    fn too_many_subscriptions(&self) -> ChannelError {
        bounds::CHANNEL_SUBSCRIPTIONS.count();
        ChannelError::TooManySubscriptions { max: self.max_subscriptions }
    }

    /// Returns whether the session was subscribed.
    pub fn unsubscribe(&self, name: &str, session: &Session) -> bool {
        let mut wakers = Wakers::default();
        let _order = self.namespace.order.read();
        let left = self.with(name, Map::get, |channel, state| {
            let Some(member) = state.members.remove(session) else { return false };
            session.joined.remove(name);
            self.subscriptions.fetch_sub(1, Relaxed);
            self.announce(channel, state, Change::Leave, &member, &mut wakers);
            true
        });
        left.unwrap_or_default()
    }

    /// Ends all subscriptions of a session that has ended. Returns the channels that it has left.
    pub fn leave_all(&self, session: &Session) -> Vec<Arc<str>> {
        session.joined.end().filter(|name| self.unsubscribe(name, session)).collect()
    }

    /// Tells which channels a session has left because it has ended.
    pub fn tell_left(&self, session: &Arc<Session>, channels: Vec<Arc<str>>) {
        if let Some(told) = self.on_leave.get().filter(|_| !channels.is_empty()) {
            told(session, channels);
        }
    }

    /// Gives a message the next place, keeps it, and queues it for all members and listeners.
    /// Returns `None` if the channel keeps no history. Fails if it keeps one, but there are too
    /// many channels to add it.
    pub fn publish(&self, name: &str, message: Published<'_>) -> Result<Option<ChannelPosition>, ChannelError> {
        let mut wakers = Wakers::default();
        let added = self.put(name, message, |channel, state, added| {
            let position = added.message.position;
            self.pass_on(channel, state, added, &mut wakers);
            position
        });
        drop(wakers);
        self.namespace.memory.evict();
        Ok(added?.flatten())
    }

    /// Gives a message the next place, keeps it, and queues it for all members and listeners, on
    /// the home of the channel: it has a place even if nobody listens here. Fails if there are too
    /// many channels.
    pub fn publish_at_home(&self, name: &str, message: Published<'_>) -> Result<ChannelPlace, ChannelError> {
        let mut wakers = Wakers::default();
        let placed = self.put_in(name, message, Map::get_or_add, |channel, state, added| {
            state.is_shared = true;
            self.send(channel, state, &added.frame, &mut wakers);
            ChannelPlace { position: state.position(), at: state.last_at }
        });
        drop(wakers);
        self.namespace.memory.evict();
        placed.ok_or_else(|| self.refuse())
    }

    pub(super) fn refuse(&self) -> ChannelError {
        Counters::add(&self.counters.refused_topics, 1);
        ChannelError::TooMany { max: self.map.shards.capacity.max() }
    }

    /// Does something under the lock of a channel, and removes the channel if nobody uses it then.
    /// `None` if `find` finds none.
    pub(super) fn with<R>(
        &self,
        name: &str,
        find: fn(&Map, &str) -> Option<Arc<Channel>>,
        act: impl FnOnce(&Arc<Channel>, &mut State) -> R,
    ) -> Option<R> {
        loop {
            let channel = find(&self.map, name)?;
            let mut state = channel.state.lock();
            if state.is_removed {
                drop(state);
                self.map.forget(&channel);
                continue;
            }
            let was_idle = state.is_idle();
            let result = act(&channel, &mut state);
            self.follow(&channel, &mut state);
            self.map.shards.note_use(channel.shard, !was_idle, !state.is_idle());
            let is_unused = state.is_unused();
            drop(state);
            if is_unused {
                self.remove_if_unused(&channel);
            }
            return Some(result);
        }
    }

    /// Gives a message its place, and does something with it under the lock of its channel. `None`
    /// if there is no such channel, and the message is not to be kept. Fails if it is to be kept,
    /// but there are too many channels.
    pub(super) fn put<R>(
        &self,
        name: &str,
        message: Published<'_>,
        act: impl FnOnce(&Arc<Channel>, &mut State, Added) -> R,
    ) -> Result<Option<R>, ChannelError> {
        let is_kept = message.settings.count > 0;
        let result = self.put_in(name, message, if is_kept { Map::get_or_add } else { Map::get }, act);
        if is_kept && result.is_none() {
            return Err(self.refuse());
        }
        Ok(result)
    }

    pub(super) fn put_in<R>(
        &self,
        name: &str,
        message: Published<'_>,
        find: fn(&Map, &str) -> Option<Arc<Channel>>,
        act: impl FnOnce(&Arc<Channel>, &mut State, Added) -> R,
    ) -> Option<R> {
        let _order = self.namespace.order.read();
        let is_kept = message.settings.count > 0;
        let result = self.with(name, find, |channel, state| {
            let now = Instant::now();
            self.apply(channel, state, message.settings, now);
            let added = self.add(channel, state, message, now);
            act(channel, state, added)
        });
        if result.is_some() || !is_kept {
            Counters::add(&self.counters.published, 1);
        }
        result
    }

    /// Gives a message its place. The caller holds the lock of the channel.
    pub(super) fn add(&self, channel: &Channel, state: &mut State, message: Published<'_>, now: Instant) -> Added {
        self.own(state);
        let Published { payload, session, .. } = message;
        let message = ChannelMessage { offset: state.last.saturating_add(1), at: time::now(), session, payload };
        self.add_placed(channel, state, message, now)
    }

    /// Adds a message that has its place, which is that after the last one.
    pub(super) fn add_placed(
        &self,
        channel: &Channel,
        state: &mut State,
        message: ChannelMessage,
        now: Instant,
    ) -> Added {
        let offset = message.offset;
        (state.last, state.last_at) = (offset, message.at);
        // The home of the channel keeps it.
        let is_kept = state.is_kept() && state.replica.is_none();
        let (message, frame) = self.frame(channel, state, message, is_kept);
        if is_kept {
            state.ring.push(frame.clone(), now, &limits(&state.settings));
            self.map.shards.note_history(channel.shard, state.ring.bytes());
        } else {
            state.ring.skip(offset);
        }
        for (_, listener) in &state.listeners {
            listener.message(&channel.name, &message.message, message.position);
        }
        Added { message, frame }
    }

    /// Queues a message for all members. The caller holds the lock of the channel.
    pub(super) fn send(&self, channel: &Channel, state: &mut State, frame: &Arc<Frame>, wakers: &mut Wakers) {
        let (workers, members_of) = state.members.split();
        for of in workers {
            let Some(inbox) = self.namespace.inboxes.own.get(of.worker as usize) else { continue };
            let (topics, bytes) = of.list();
            if inbox.push_each(channel.share(), topics, bytes, frame, wakers) || of.is_cut {
                continue;
            }
            of.is_cut = true;
            for session in members_of(of.worker) {
                self.namespace.cut(&session.addressee(), wakers);
            }
        }
    }
}
