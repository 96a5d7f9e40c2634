//! The sessions of connected clients: what modules know about them, and how messages reach them.
//!
//! Each session is a topic of its own, whose name is its id and whose only connection is that of
//! the client. Messages to a user or a group are published to the topic of each session.
//!
//! Locks are taken in this order: `users`, `groups`, the session. No lock is held while the lock of
//! a second session is taken, nor while a message is published.
//!
//! The topics of sessions have no history and do not count in `hub.topics`. They have inboxes and a
//! fan-out of their own in each worker, so that a burst of streams delays no ack. A message to a
//! group is one item in the inbox of each worker and counts as one message, so that a large group
//! does not fill an inbox by itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use parking_lot::{Mutex, RwLock};

use super::channels::Channels;
use super::message::{HubError, Limits, Message, Reach};
use super::namespace::Addressee;
use super::shards::Place;
use super::topics::Topics;
use crate::call::text::{NAME, line};
use crate::call::{CallError, ChangeError, Recipient, WhenTaken, bounds};

mod session;

pub use session::{Claims, NewSession, Session, SocketName};

/// The groups of a node.
const GROUPS: usize = 100_000;

/// The groups of one session.
const GROUPS_OF_SESSION: usize = 64;

/// The code with which a connection ends whose user another session has taken over.
const REPLACED: u16 = 4010;

/// The characters of an id: 64, so that each has six random bits.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The members of a group, by their ids.
type Members = HashMap<Arc<str>, Arc<Session>>;

/// The sessions of a node.
pub struct Sessions {
    pub topics: Topics,
    node: Arc<str>,
    /// `websocket.sessionSize`.
    max_values: u64,
    /// By their ids, until their hook `disconnect` has ended.
    all: RwLock<HashMap<Arc<str>, Arc<Session>>>,
    /// The sessions that are bound to each user.
    users: Mutex<HashMap<Arc<str>, Vec<Arc<Session>>>>,
    /// The members of each group.
    groups: Mutex<HashMap<Arc<str>, Members>>,
    open: AtomicU32,
    bound: AtomicU32,
    /// Changes of values that were rejected because of `websocket.sessionSize`.
    pub refused_values: AtomicU64,
    channels: Arc<Channels>,
}

/// Why a session is not bound to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    #[error("another session is bound to this user: unbind it first, or share or replace it")]
    Taken,
    #[error("the session has ended")]
    Ended,
}

/// Why a session does not join a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    #[error("the session is in {GROUPS_OF_SESSION} groups, the maximum: leave one first")]
    TooManyOfSession,
    #[error("the host has {GROUPS} groups, the maximum: use fewer")]
    TooMany,
    #[error("the session has ended")]
    Ended,
}

/// The result of a message to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The sessions that it is queued for.
    pub reached: u32,
    /// Whether it was for someone who has no session on this node.
    pub is_unknown: bool,
}

/// A session that has ended. It is found by its id until this is dropped.
pub struct Ended {
    sessions: Arc<Sessions>,
    pub session: Arc<Session>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.sessions.all.write().remove(&self.session.id);
    }
}

impl Sessions {
    /// `max_values` is `websocket.sessionSize`.
    pub fn new(topics: Topics, node: &str, max_values: u64, channels: Arc<Channels>) -> Sessions {
        Sessions {
            topics,
            node: node.into(),
            max_values,
            all: RwLock::default(),
            users: Mutex::default(),
            groups: Mutex::default(),
            open: AtomicU32::new(0),
            bound: AtomicU32::new(0),
            refused_values: AtomicU64::new(0),
            channels,
        }
    }

    /// Adds a session, unless there are `max` already. The place is for [`Topics::attach`], and
    /// counts as a connection until then, too.
    pub fn open(&self, new: NewSession, max: u32) -> Result<(Arc<Session>, Place), HubError> {
        let id: Arc<str> = new_id(&self.node).into();
        let place = self.topics.reserve(&id, Limits { max, max_per_topic: 1 })?;
        let session = Arc::new(Session::new(id.clone(), place.topic.id, new));
        self.open.fetch_add(1, Relaxed);
        self.all.write().insert(id, session.clone());
        Ok((session, place))
    }

    /// Ends a session: frees its user, and leaves its groups and channels. `None` if it has ended
    /// before.
    pub fn end(self: &Arc<Sessions>, session: &Arc<Session>) -> Option<Ended> {
        let (mut users, mut groups) = (self.users.lock(), self.groups.lock());
        let mut state = session.state.lock();
        if std::mem::replace(&mut state.is_ended, true) {
            return None;
        }
        // The uid stays readable.
        if let Some(uid) = &state.uid {
            self.remove_user(&mut users, uid, session);
        }
        for group in std::mem::take(&mut state.groups) {
            remove_member(&mut groups, &group, session);
        }
        drop((state, groups, users));
        self.open.fetch_sub(1, Relaxed);
        let left = self.channels.leave_all(session);
        self.channels.tell_left(session, left);
        Some(Ended { sessions: self.clone(), session: session.clone() })
    }

    /// Finds a session. One that has ended is found until its hook `disconnect` has ended.
    pub fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.all.read().get(id).cloned()
    }

    /// Finds a session that a guest or the embedding program names.
    pub fn named(&self, id: &str) -> Result<Arc<Session>, CallError> {
        let missing = || CallError::NotFound(format!("no session `{}` on this node", line(id, NAME)));
        self.get(id).ok_or_else(missing)
    }

    /// The sessions whose client is connected to a socket for which a condition holds.
    pub fn of_socket(&self, holds: impl Fn(&Session, &SocketName) -> bool) -> Vec<Arc<Session>> {
        let all = self.all.read();
        let holds = |session: &Session| session.socket.as_ref().is_some_and(|socket| holds(session, socket));
        all.values().filter(|session| holds(session)).cloned().collect()
    }

    /// The sessions that are bound to a user.
    pub fn find(&self, uid: &str) -> Vec<Arc<Session>> {
        self.users.lock().get(uid).cloned().unwrap_or_default()
    }

    /// The number of sessions, and of those that are bound.
    pub fn count(&self) -> (u32, u32) {
        (self.open.load(Relaxed), self.bound.load(Relaxed))
    }

    /// The number of groups.
    pub fn groups(&self) -> usize {
        self.groups.lock().len()
    }

    /// Binds a session to a user, and unbinds it from its previous one. With
    /// [`WhenTaken::Replace`], the other sessions of the user are unbound and disconnected.
    pub fn bind(&self, session: &Arc<Session>, uid: &str, taken: WhenTaken) -> Result<(), BindError> {
        let mut users = self.users.lock();
        let others = users.get(uid).map(Vec::as_slice).unwrap_or_default();
        let has_others = others.iter().any(|other| other.id != session.id);
        if has_others && taken == WhenTaken::Refuse {
            return Err(BindError::Taken);
        }
        let mut state = session.state.lock();
        if state.is_ended {
            return Err(BindError::Ended);
        }
        let old = state.uid.take();
        if let Some(old) = old {
            self.remove_user(&mut users, &old, session);
        }
        let replaced = match taken {
            WhenTaken::Replace => users.remove(uid).unwrap_or_default(),
            WhenTaken::Refuse | WhenTaken::Share => Vec::new(),
        };
        self.bound.fetch_sub(u32::try_from(replaced.len()).unwrap_or_default(), Relaxed);
        let (uid, sessions) = match users.entry(uid.into()) {
            Entry::Occupied(user) => (user.key().clone(), user.into_mut()),
            Entry::Vacant(user) => (user.key().clone(), user.insert(Vec::new())),
        };
        sessions.push(session.clone());
        state.uid = Some(uid);
        self.bound.fetch_add(1, Relaxed);
        drop(state);
        for other in &replaced {
            other.state.lock().uid = None;
        }
        drop(users);
        for other in replaced {
            self.disconnect(&other, REPLACED, "the user has connected again");
        }
        Ok(())
    }

    pub fn unbind(&self, session: &Session) {
        let mut users = self.users.lock();
        let mut state = session.state.lock();
        if !state.is_ended
            && let Some(uid) = state.uid.take()
        {
            self.remove_user(&mut users, &uid, session);
        }
    }

    fn remove_user(&self, users: &mut HashMap<Arc<str>, Vec<Arc<Session>>>, uid: &str, session: &Session) {
        let Some(sessions) = users.get_mut(uid) else { return };
        let before = sessions.len();
        sessions.retain(|other| other.id != session.id);
        self.bound.fetch_sub(u32::try_from(before - sessions.len()).unwrap_or_default(), Relaxed);
        if sessions.is_empty() {
            users.remove(uid);
        }
    }

    /// Adds a session to a group. Returns whether it was not in it.
    pub fn join(&self, session: &Arc<Session>, group: &str) -> Result<bool, JoinError> {
        let mut groups = self.groups.lock();
        let mut state = session.state.lock();
        if state.is_ended {
            return Err(JoinError::Ended);
        }
        if state.groups.contains(group) {
            return Ok(false);
        }
        if state.groups.len() >= GROUPS_OF_SESSION {
            bounds::SESSION_GROUPS.count();
            return Err(JoinError::TooManyOfSession);
        }
        let is_full = groups.len() >= GROUPS;
        let (name, members) = match groups.entry(group.into()) {
            Entry::Occupied(group) => (group.key().clone(), group.into_mut()),
            Entry::Vacant(_) if is_full => {
                bounds::GROUPS.count();
                return Err(JoinError::TooMany);
            }
            Entry::Vacant(group) => (group.key().clone(), group.insert(HashMap::new())),
        };
        members.insert(session.id.clone(), session.clone());
        state.groups.insert(name);
        Ok(true)
    }

    /// Removes a session from a group. Returns whether it was in it.
    pub fn leave(&self, session: &Arc<Session>, group: &str) -> bool {
        let mut groups = self.groups.lock();
        let was_member = session.state.lock().groups.remove(group);
        if was_member {
            remove_member(&mut groups, group, session);
        }
        was_member
    }

    /// The ids of the members of a group, sorted.
    pub fn members(&self, group: &str) -> Vec<Arc<str>> {
        let mut ids: Vec<_> = self.groups.lock().get(group).map(|of| of.keys().cloned().collect()).unwrap_or_default();
        ids.sort_unstable();
        ids
    }

    /// Removes values of a session, then sets values. Does all of it, or nothing.
    pub fn change(&self, session: &Session, set: Vec<(String, String)>, remove: &[String]) -> Result<(), ChangeError> {
        session.change(set, remove, self.max_values).inspect_err(|error| self.count_refused(*error))
    }

    /// Sets values of a session in place of all that may leave the node. Does all of it, or
    /// nothing.
    pub fn apply(&self, session: &Session, set: Vec<(String, String)>) -> Result<(), ChangeError> {
        session.apply(set, self.max_values).inspect_err(|error| self.count_refused(*error))
    }

    /// `websocket.sessionSize`.
    pub fn max_values(&self) -> u64 {
        self.max_values
    }

    fn count_refused(&self, error: ChangeError) {
        if matches!(error, ChangeError::TooLarge { .. }) {
            self.refused_values.fetch_add(1, Relaxed);
        }
    }

    /// Queues a message for sessions of this node.
    pub fn send(&self, to: &Recipient, message: Arc<dyn Message>) -> Sent {
        let of_user = |uid: &str| self.find(uid).iter().map(|one| one.addressee()).collect();
        let found: Vec<Addressee> = match to {
            Recipient::Session(id) => {
                let reached = self.topics.publish(id, message, Reach::Node);
                return Sent { reached, is_unknown: reached == 0 };
            }
            Recipient::Everyone => {
                return Sent { reached: self.topics.publish_all(message, Reach::Node), is_unknown: false };
            }
            Recipient::Uid(uid) => of_user(uid),
            Recipient::UidOn(uid, node) if **node == *self.node => of_user(uid),
            Recipient::Bound => self.users.lock().values().flatten().map(|one| one.addressee()).collect(),
            Recipient::Group(group) => {
                let groups = self.groups.lock();
                groups.get(&**group).into_iter().flat_map(HashMap::values).map(|one| one.addressee()).collect()
            }
            Recipient::UidOn(..) | Recipient::Other(..) => Vec::new(),
        };
        let reached = self.topics.publish_each(&found, message);
        Sent { reached, is_unknown: found.is_empty() && *to != Recipient::Bound }
    }

    /// Ends the connection of a session once what is queued for it was sent.
    pub fn disconnect(&self, session: &Session, code: u16, reason: &str) {
        if session.set_ending(code, reason) {
            self.topics.close(&session.id, Reach::Node);
        }
    }
}

fn remove_member(groups: &mut HashMap<Arc<str>, Members>, group: &str, session: &Session) {
    let Some(members) = groups.get_mut(group) else { return };
    members.remove(&session.id);
    if members.is_empty() {
        groups.remove(group);
    }
}

/// A new id that nobody can guess.
fn new_id(node: &str) -> String {
    // Each state has secret keys of its own.
    let mut parts = [0u8; 2].map(|_| RandomState::new().hash_one(node));
    let mut id = String::with_capacity(node.len() + 21);
    id.push_str(node);
    id.push('/');
    for part in &mut parts {
        for _ in 0..10 {
            let letter = LETTERS.get((*part & 63) as usize).copied().unwrap_or(b'_');
            id.push(char::from(letter));
            *part >>= 6;
        }
    }
    id
}
