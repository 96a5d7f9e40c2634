//! Messages of connected clients and hooks about them, ready for dispatch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Payload, RequestHead};

/// A message of a connected client.
#[derive(Debug)]
pub struct ClientMessage {
    /// The id of the session.
    pub session: Arc<str>,
    /// The module of a name without a dot or a slash, or the module with the socket.
    pub module: Arc<str>,
    /// The name of the client's event, which names a route, or the pattern of the socket.
    pub name: Arc<str>,
    /// Whether the name is a pattern in `sockets` of the module.
    pub socket: bool,
    /// The parameters of the socket's URL.
    pub params: Vec<(String, String)>,
    /// The query of the socket's URL, without `?`. A query in the name replaces it.
    pub query: String,
    pub payload: Payload,
    pub wants_reply: bool,
    pub subdomain: Option<Arc<str>>,
    /// How long the client waits. `limits.timeout` of the module applies too.
    pub timeout: Duration,
}

/// The call of a hook about a client.
#[derive(Debug)]
pub struct ClientHook {
    pub module: Arc<str>,
    /// One of [`hook::CLIENTS`](super::hook::CLIENTS).
    pub hook: &'static str,
    /// The id of the session. `None` before the client has one.
    pub session: Option<Arc<str>>,
    /// The request that asks for a WebSocket.
    pub head: Option<Box<RequestHead>>,
    /// The parameters of the socket's URL.
    pub params: Vec<(String, String)>,
    pub query: String,
    pub payload: Payload,
    pub subdomain: Option<Arc<str>>,
    /// When the client asked: it waits for `limits.timeout` from then on, also for its turn. `None`
    /// if no client waits. Then the call waits while the instance restarts or a swap holds the
    /// slot, and `limits.timeout` counts from its start.
    pub since: Option<Instant>,
}
