//! One session: the facts about a connected client, and what modules have stored about it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::call::{ChangeError, SessionInfo, Values, time};
use crate::hub::channels::Joined;
use crate::hub::namespace::Addressee;

/// A connected client, as plain data beside its socket. No instance owns any of it, so it survives
/// swaps, crashes and kills.
#[derive(Debug)]
pub struct Session {
    /// `<node>/<20 random characters>`. The client knows only what follows the slash.
    pub id: Arc<str>,
    /// The worker that has the socket.
    pub worker: u32,
    pub peer: IpAddr,
    /// Such as `plain`, or a sub-protocol.
    pub protocol: Arc<str>,
    /// The socket of a module that the client is connected to. `None` for a listener.
    pub socket: Option<SocketName>,
    /// Its topic, which nothing else uses.
    topic: u64,
    /// When it was opened, in milliseconds since 1970-01-01 UTC.
    pub since: u64,
    /// What to tell the client when the connection ends.
    ending: OnceLock<Ending>,
    /// Whether the client was told that its connection is open.
    is_open: AtomicBool,
    /// The channels that it is subscribed to.
    pub(in crate::hub) joined: Joined,
    pub(super) state: Mutex<State>,
}

/// Why a connection ends: a code of RFC 6455, and a reason for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub code: u16,
    pub reason: Arc<str>,
}

/// The claims of the token with which a client is authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// A JSON object.
    pub text: String,
    /// When the token expires, in milliseconds since 1970-01-01 UTC.
    pub expires: Option<u64>,
}

/// What a new session is about.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub worker: u32,
    pub peer: IpAddr,
    pub protocol: Arc<str>,
    pub socket: Option<SocketName>,
}

/// A socket that a module declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketName {
    pub module: Arc<str>,
    /// The key in `sockets` of the module.
    pub pattern: Arc<str>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub uid: Option<Arc<str>>,
    pub claims: Option<Claims>,
    values: Values,
    pub groups: BTreeSet<Arc<str>>,
    pub is_ended: bool,
}

impl Session {
    pub(super) fn new(id: Arc<str>, topic: u64, new: NewSession) -> Session {
        Session {
            id,
            worker: new.worker,
            peer: new.peer,
            protocol: new.protocol,
            socket: new.socket,
            topic,
            since: time::now(),
            ending: OnceLock::new(),
            is_open: AtomicBool::new(false),
            joined: Joined::new(),
            state: Mutex::default(),
        }
    }

    /// Where messages for the client go.
    pub(in crate::hub) fn addressee(&self) -> Addressee {
        Addressee { name: self.id.clone(), topic: self.topic, worker: self.worker }
    }

    pub(in crate::hub) fn topic(&self) -> u64 {
        self.topic
    }

    pub fn uid(&self) -> Option<Arc<str>> {
        self.state.lock().uid.clone()
    }

    /// Returns a copy of the facts.
    pub fn info(&self) -> SessionInfo {
        let state = self.state.lock();
        SessionInfo {
            id: self.id.clone(),
            worker: self.worker,
            uid: state.uid.as_deref().map(str::to_owned),
            ip: self.peer.to_string(),
            protocol: self.protocol.to_string(),
            claims: state.claims.as_ref().map(|claims| claims.text.clone()),
            since: self.since,
        }
    }

    /// Sets why the connection ends. The first cause counts; returns whether it is this one.
    pub fn set_ending(&self, code: u16, reason: &str) -> bool {
        self.ending.set(Ending { code, reason: reason.into() }).is_ok()
    }

    /// The connection is open: the module will be told when it ends.
    pub fn set_open(&self) {
        self.is_open.store(true, Relaxed);
    }

    pub fn is_open(&self) -> bool {
        self.is_open.load(Relaxed)
    }

    pub fn ending(&self) -> Option<&Ending> {
        self.ending.get()
    }

    /// Authenticates the session, or with `None` ends that.
    pub fn set_claims(&self, claims: Option<Claims>) {
        self.state.lock().claims = claims;
    }

    pub fn has_claims(&self) -> bool {
        self.state.lock().claims.is_some()
    }

    /// Removes the claims if their token has expired. Returns whether it has. `now` is in
    /// milliseconds since 1970-01-01 UTC.
    pub fn expire_claims(&self, now: u64) -> bool {
        let claims = &mut self.state.lock().claims;
        claims.take_if(|claims| claims.expires.is_some_and(|expires| expires <= now)).is_some()
    }

    pub fn get(&self, name: &str) -> Option<String> {
        self.state.lock().values.get(name)
    }

    /// Returns all values, sorted by name.
    pub fn values(&self) -> Vec<(String, String)> {
        self.state.lock().values.all()
    }

    /// Removes values, then sets values: see [`Values::change`].
    pub(super) fn change(&self, set: Vec<(String, String)>, remove: &[String], max: u64) -> Result<(), ChangeError> {
        self.state.lock().values.change(set, remove, max)
    }

    /// Sets values in place of all that may leave the node: see [`Values::apply`].
    pub(super) fn apply(&self, set: Vec<(String, String)>, max: u64) -> Result<(), ChangeError> {
        self.state.lock().values.apply(set, max)
    }
}
