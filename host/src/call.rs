//! A call and how it ends: plain data that every part may use. Opens nothing, spawns nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub mod bounds;
mod context;
mod envelope;
mod error;
mod name;
mod panic;
mod problem;
mod request;
pub mod text;
mod trace;
mod written;

pub use context::{Context, Deadline, RequestHead};
pub use envelope::{Envelope, Link, Peer, PeerBroadcast, PeerCall, VERSION};
pub use error::{CallError, Failure, Fault};
pub use name::{MAX_PATH, MAX_SEGMENTS, METHODS, RouteName};
pub use panic::panic_text;
pub use problem::{Problem, ProblemDocument};
pub use request::HttpRequest;
pub use trace::Trace;

/// Name and value pairs, for what later versions add. A version ignores the names that it does not know.
pub type Extra = Vec<(String, String)>;

/// One of the places of a node that hold instances. Written `worker-0`, `broker-0`, `master`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IsolateId {
    Worker(u32),
    Broker(u32),
    Master,
}

impl Target {
    /// Bytes of its names.
    pub fn names(&self) -> usize {
        match self {
            Target::Node(name) | Target::Server(name) | Target::Channel(name) | Target::Session(name) => name.len(),
            Target::Other(kind, name) => kind.len() + name.len(),
            Target::Any | Target::Isolate(_) => 0,
        }
    }
}

impl Group {
    /// Bytes of its names.
    pub fn names(&self) -> usize {
        match self {
            Group::Servers(name) => name.len(),
            Group::Other(kind, name) => kind.len() + name.len(),
            Group::Workers | Group::Brokers | Group::Nodes | Group::Cluster => 0,
        }
    }
}

impl Address {
    /// Bytes of its names.
    pub fn names(&self) -> usize {
        match self {
            Address::One(target) => target.names(),
            Address::Every(group) => group.names(),
        }
    }
}

impl fmt::Display for IsolateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IsolateId::Worker(index) => write!(f, "worker-{index}"),
            IsolateId::Broker(index) => write!(f, "broker-{index}"),
            IsolateId::Master => f.write_str("master"),
        }
    }
}

impl IsolateId {
    /// From its text.
    pub fn parse(text: &str) -> Option<IsolateId> {
        let numbered = |prefix: &str| text.strip_prefix(prefix).and_then(|index| index.parse().ok());
        match text {
            "master" => Some(IsolateId::Master),
            _ => numbered("worker-").map(IsolateId::Worker).or_else(|| numbered("broker-").map(IsolateId::Broker)),
        }
    }
}

/// What a call carries. Never re-serialised between guests of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Payload {
    #[default]
    None,
    Text(String),
    Bytes(Vec<u8>),
}

impl Payload {
    /// Its size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Payload::None => 0,
            Payload::Text(text) => text.len(),
            Payload::Bytes(bytes) => bytes.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Text when the bytes are UTF-8, else bytes; `None` when there are none.
    pub fn guess(bytes: Vec<u8>) -> Payload {
        if bytes.is_empty() {
            return Payload::None;
        }
        match String::from_utf8(bytes) {
            Ok(text) => Payload::Text(text),
            Err(error) => Payload::Bytes(error.into_bytes()),
        }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Payload::None => Vec::new(),
            Payload::Text(text) => text.into_bytes(),
            Payload::Bytes(bytes) => bytes,
        }
    }

    /// The bytes, whatever the kind.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Payload::None => &[],
            Payload::Text(text) => text.as_bytes(),
            Payload::Bytes(bytes) => bytes,
        }
    }
}

/// Why a call is made.
#[derive(Debug, Clone)]
pub enum Trigger {
    Http(http::Method),
    Broadcast(Broadcast),
    Rpc,
    Startup { name: Arc<str>, reason: StartupReason },
}

impl Trigger {
    /// The name that it carries: of the broadcast or the startup.
    fn name(&self) -> &str {
        match self {
            Trigger::Broadcast(broadcast) => &broadcast.name,
            Trigger::Startup { name, .. } => name,
            Trigger::Http(method) => method.as_str(),
            Trigger::Rpc => "",
        }
    }

    /// Its name in metrics and logs.
    pub fn kind(&self) -> TriggerKind {
        match self {
            Trigger::Http(_) => TriggerKind::Http,
            Trigger::Broadcast(_) => TriggerKind::Broadcast,
            Trigger::Rpc => TriggerKind::Rpc,
            Trigger::Startup { .. } => TriggerKind::Startup,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TriggerKind {
    Http,
    Broadcast,
    Rpc,
    Startup,
}

impl TriggerKind {
    /// Whether the call comes from a client and not from inside.
    pub fn is_outside(self) -> bool {
        matches!(self, TriggerKind::Http)
    }

    pub const ALL: [TriggerKind; 4] =
        [TriggerKind::Http, TriggerKind::Broadcast, TriggerKind::Rpc, TriggerKind::Startup];

    pub fn as_str(self) -> &'static str {
        match self {
            TriggerKind::Http => "http",
            TriggerKind::Broadcast => "broadcast",
            TriggerKind::Rpc => "rpc",
            TriggerKind::Startup => "startup",
        }
    }
}

/// Why there is a new instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartupReason {
    Start,
    /// A new generation takes over, or a reload renews the instance.
    Swap,
    Restart,
}

#[derive(Debug, Clone)]
pub struct Broadcast {
    pub name: Arc<str>,
    pub id: u64,
    /// The place in the module's order on this node, from 1.
    pub seq: u64,
    pub same_as_caller: bool,
}

/// Who made a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    Client,
    Guest {
        #[serde(with = "written::shared")]
        module: Arc<str>,
        isolate: IsolateId,
        /// `None` on this node.
        #[serde(with = "written::shared::option")]
        node: Option<Arc<str>>,
    },
    Host,
    Operator,
}

/// A route of one generation, as the calls to it carry it.
#[derive(Debug)]
pub struct Route {
    /// The one of the generations in its isolate that it belongs to.
    pub deployment: u64,
    pub handler: Arc<str>,
    /// As in the manifest: `POST test/feat/emit`.
    pub text: Arc<str>,
}

/// A call on its way to a mailbox.
#[derive(Debug)]
pub struct Call {
    pub context: Arc<Context>,
    pub route: Arc<Route>,
    pub trigger: Trigger,
    pub params: Vec<(String, String)>,
    pub query: String,
    pub payload: Payload,
    /// Facts that middlewares passed on, as `<module>.<name>`.
    pub extra: Extra,
}

/// Bytes that every call costs the host besides the text it carries: its record, its context, its
/// place in a lane and its reply.
const FIXED: usize = 1_024;

/// Bytes that a header, or a pair of parameters, costs besides its text.
const ENTRY: usize = 104;

impl Call {
    /// Bytes of the text that goes with the payload: parameters, query, names, the subdomain and the facts.
    pub fn beside(&self) -> usize {
        pairs(&self.params)
            + pairs(&self.extra)
            + self.query.len()
            + self.trigger.name().len()
            + self.context.subdomain_len()
    }

    /// Bytes that the call holds while it waits: everything it carries, and the calls that wait for
    /// it.
    pub fn weight(&self) -> u64 {
        let listed = [&self.params, &self.extra].map(|list| pairs(list) + ENTRY * list.len());
        let listed = listed.iter().sum::<usize>();
        (self.context.weight() + listed + self.query.len() + self.trigger.name().len() + self.payload.len()) as u64
    }
}

/// How a call ends well.
#[derive(Debug, Clone)]
pub enum Outcome {
    Reply(Reply),
    /// The call continues with its next step.
    Pass(Passed),
}

/// What the next step of a call gets from the step that passed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    /// `None` keeps the payload that arrived.
    pub payload: Option<Payload>,
    /// Facts for the next steps. A call that has no next step drops them.
    pub extra: Extra,
}

impl Outcome {
    /// What the caller of a plain route gets: see `outcome` in `wit/types.wit`.
    pub fn into_reply(self) -> Reply {
        match self {
            Outcome::Reply(reply) => reply,
            Outcome::Pass(passed) => Reply { payload: passed.payload.unwrap_or_default(), ..Reply::default() },
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    /// 0 or 200 to 599.
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub payload: Payload,
    pub extra: Extra,
}

impl Reply {
    /// Bytes of all that goes beside the payload.
    fn beside(&self) -> usize {
        pairs(&self.headers) + pairs(&self.extra)
    }

    /// The status with 0 resolved.
    pub fn effective_status(&self) -> u16 {
        match (self.status, &self.payload) {
            (0, Payload::None) => 204,
            (0, _) => 200,
            (status, _) => status,
        }
    }
}

/// Bytes of names and values.
fn pairs(list: &[(String, String)]) -> usize {
    list.iter().map(|(name, value)| name.len() + value.len()).sum()
}

/// The sizes in bytes of what a handler answered: of the payload, and of all that goes beside it.
pub fn sizes(answered: &Result<Outcome, Failure>) -> (usize, usize) {
    match answered {
        Ok(Outcome::Reply(reply)) => (reply.payload.len(), reply.beside()),
        Ok(Outcome::Pass(passed)) => (passed.payload.as_ref().map_or(0, Payload::len), pairs(&passed.extra)),
        Err(failure) => (failure.data.len(), failure.name.len() + failure.message.len() + pairs(&failure.extra)),
    }
}

/// What the caller of a call gets in the end.
pub type Ended = Result<Outcome, CallError>;

/// One place's answer where several were asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub isolate: IsolateId,
    /// `None` on this node.
    pub node: Option<String>,
    #[serde(with = "written::outcome")]
    pub outcome: Result<Reply, CallError>,
}

/// A place that was left out, and why.
#[derive(Debug, Clone)]
pub struct Skipped {
    pub isolate: IsolateId,
    /// `None` on this node.
    pub node: Option<String>,
    pub reason: String,
}

/// Which broadcast to emit.
#[derive(Debug, Clone, Default)]
pub struct Emission {
    /// `None`: the caller's own module.
    pub module: Option<String>,
    pub name: String,
    /// `None`: the caller's.
    pub subdomain: Option<String>,
    /// This version knows none and ignores all.
    pub extra: Extra,
}

impl Emission {
    /// Bytes of its names, and of all that is beside them.
    pub fn names(&self) -> usize {
        let name = |name: &Option<String>| name.as_ref().map_or(0, String::len);
        name(&self.module) + self.name.len() + name(&self.subdomain) + pairs(&self.extra)
    }
}

/// The [`weight`](Call::weight) of a broadcast in each worker, known before it is queued in any.
pub fn weight_of_broadcast(name: &str, subdomain: Option<&str>, waits: Option<&Context>, payload: &Payload) -> u64 {
    let above = waits.map_or(0, Context::weight);
    (FIXED + subdomain.map_or(0, str::len) + above + name.len() + payload.len()) as u64
}

/// What emitting answers at once.
#[derive(Debug, Clone)]
pub struct Receipt {
    pub id: u64,
    pub seq: u64,
    /// How many workers it was queued for.
    pub accepted: u32,
    pub skipped: Vec<Skipped>,
    pub extra: Extra,
}

/// One place to call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    Any,
    Isolate(IsolateId),
    Node(String),
    Server(String),
    Channel(String),
    Session(String),
    /// A kind that this version does not know, and the name of the place.
    Other(String, String),
}

/// Several places to call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Group {
    Workers,
    Brokers,
    Servers(String),
    Nodes,
    /// Every worker of every node.
    Cluster,
    /// A kind that this version does not know, and the name of the places.
    Other(String, String),
}

/// One place or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Address {
    One(Target),
    Every(Group),
}

/// How to make a call.
#[derive(Debug, Clone, Default)]
pub struct CallOptions {
    /// At most what the caller has left, which is the default.
    pub timeout: Option<Duration>,
    /// `None`: the caller's.
    pub subdomain: Option<String>,
    /// This version knows none and ignores all.
    pub extra: Extra,
}

impl CallOptions {
    /// Bytes of the subdomain, and of all that is beside it.
    pub fn names(&self) -> usize {
        self.subdomain.as_ref().map_or(0, String::len) + pairs(&self.extra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extra(bytes: usize) -> Extra {
        vec![("n".repeat(bytes), "v".repeat(bytes))]
    }

    #[test]
    fn a_pass_that_ends_a_call_is_a_reply_with_its_payload_and_nothing_else() {
        let ended = |payload| Outcome::Pass(Passed { payload, extra: extra(1) }).into_reply();
        assert_eq!(ended(None), Reply::default());
        let payload = Payload::Text("new".into());
        assert_eq!(ended(Some(payload.clone())), Reply { payload, ..Reply::default() });
    }

    #[test]
    fn the_size_of_what_a_handler_returns_counts_its_facts() {
        let payload = Some(Payload::Text("abc".into()));
        assert_eq!(sizes(&Ok(Outcome::Pass(Passed { payload, extra: extra(5) }))), (3, 10));
        assert_eq!(sizes(&Ok(Outcome::Reply(Reply { extra: extra(5), ..Reply::default() }))), (0, 10));
        assert_eq!(sizes(&Err(Failure { extra: extra(5), ..Failure::default() })), (0, 10));
    }

    #[test]
    fn the_names_of_what_a_guest_sends_count_all_texts() {
        let text = || "x".repeat(5);
        for target in [Target::Node(text()), Target::Server(text()), Target::Channel(text()), Target::Session(text())] {
            assert_eq!(Address::One(target).names(), 5);
        }
        assert_eq!(Address::One(Target::Other(text(), text())).names(), 10);
        assert_eq!(Address::Every(Group::Servers(text())).names(), 5);
        assert_eq!(Address::Every(Group::Other(text(), text())).names(), 10);
        let what = Emission { module: Some(text()), name: text(), subdomain: Some(text()), extra: extra(5) };
        assert_eq!(what.names(), 25);
        let options = CallOptions { subdomain: Some(text()), extra: extra(5), ..CallOptions::default() };
        assert_eq!(options.names(), 15);
    }
}
