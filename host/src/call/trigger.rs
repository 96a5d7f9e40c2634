//! The cause and the maker of a call.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ChannelTrigger, IsolateId, written};

/// The cause of a call.
#[derive(Debug, Clone)]
pub enum Trigger {
    Http(http::Method),
    Broadcast(Broadcast),
    Rpc,
    Startup {
        name: Arc<str>,
        reason: StartupReason,
    },
    /// A hook of the module, by its name in `hooks` of the manifest.
    Hook(&'static str),
    /// A client asks to open a live stream, and the module decides.
    Stream {
        key: Arc<str>,
        /// The id of the last event that the client has received.
        last_event_id: Option<Arc<str>>,
    },
    Schedule(ScheduleRun),
    Subscription(SubscriptionCall),
    /// A message of a connected client.
    Client(ClientTrigger),
    /// A filter of the module runs before or after the route of a client's message.
    Filter(FilterStage),
    /// A middleware runs before the handler of a call with this trigger.
    Middleware(Arc<Trigger>),
    /// Something happens on a channel that the module declares.
    Channel(ChannelTrigger),
    /// The module picks the node for a client's message.
    Route {
        /// The server type.
        server: Arc<str>,
        /// The name of the client's event.
        event: Arc<str>,
    },
}

impl Trigger {
    /// The name of the broadcast, the startup, the hook, the schedule, the subscription or the
    /// client's message, the stream key, the channel, or the HTTP method.
    pub(super) fn name(&self) -> &str {
        match self {
            Trigger::Broadcast(broadcast) => &broadcast.name,
            Trigger::Startup { name, .. } => name,
            Trigger::Http(method) => method.as_str(),
            Trigger::Hook(name) => name,
            Trigger::Stream { key, .. } => key,
            Trigger::Schedule(run) => &run.name,
            Trigger::Subscription(call) => &call.name,
            Trigger::Client(message) | Trigger::Filter(FilterStage::Before(message)) => &message.name,
            Trigger::Filter(FilterStage::After { route, .. }) => route,
            Trigger::Channel(event) => &event.channel,
            Trigger::Route { event, .. } => event,
            Trigger::Middleware(of) => of.name(),
            Trigger::Rpc => "",
        }
    }

    /// The kind, whose name metrics and logs use.
    pub fn kind(&self) -> TriggerKind {
        match self {
            Trigger::Http(_) => TriggerKind::Http,
            Trigger::Broadcast(_) => TriggerKind::Broadcast,
            Trigger::Rpc => TriggerKind::Rpc,
            Trigger::Startup { .. } => TriggerKind::Startup,
            Trigger::Hook(_) => TriggerKind::Hook,
            Trigger::Stream { .. } => TriggerKind::Stream,
            Trigger::Schedule(_) => TriggerKind::Schedule,
            Trigger::Subscription(_) => TriggerKind::Subscription,
            Trigger::Client(_) => TriggerKind::Client,
            Trigger::Filter(_) => TriggerKind::Filter,
            Trigger::Channel(_) => TriggerKind::Channel,
            Trigger::Middleware(_) => TriggerKind::Middleware,
            Trigger::Route { .. } => TriggerKind::Route,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TriggerKind {
    Http,
    Broadcast,
    Rpc,
    Startup,
    Hook,
    Stream,
    Schedule,
    Subscription,
    Client,
    Filter,
    Channel,
    Middleware,
    Route,
}

impl TriggerKind {
    /// Whether a client chooses the route. For a stream the manifest chooses it.
    pub fn is_outside(self) -> bool {
        matches!(self, TriggerKind::Http | TriggerKind::Client)
    }

    /// Whether no caller hears of the call's failure, as a rule: of these, only a gathered
    /// broadcast has one. The host logs an error that it blames on the client at the level debug,
    /// because the client has received it. Here there is no client, so the log is the only place
    /// that shows the error, and shows it as a warning.
    pub fn is_own(self) -> bool {
        matches!(self, TriggerKind::Broadcast | TriggerKind::Schedule | TriggerKind::Subscription)
    }

    pub const ALL: [TriggerKind; 13] = [
        TriggerKind::Http,
        TriggerKind::Broadcast,
        TriggerKind::Rpc,
        TriggerKind::Startup,
        TriggerKind::Hook,
        TriggerKind::Stream,
        TriggerKind::Schedule,
        TriggerKind::Subscription,
        TriggerKind::Client,
        TriggerKind::Filter,
        TriggerKind::Channel,
        TriggerKind::Middleware,
        TriggerKind::Route,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            TriggerKind::Http => "http",
            TriggerKind::Broadcast => "broadcast",
            TriggerKind::Rpc => "rpc",
            TriggerKind::Startup => "startup",
            TriggerKind::Hook => "hook",
            TriggerKind::Stream => "stream",
            TriggerKind::Schedule => "schedule",
            TriggerKind::Subscription => "subscription",
            TriggerKind::Client => "client",
            TriggerKind::Filter => "filter",
            TriggerKind::Channel => "channel",
            TriggerKind::Middleware => "middleware",
            TriggerKind::Route => "route",
        }
    }
}

/// Why the host creates an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartupReason {
    Start,
    /// A new generation replaces the running one, or a reload replaces the instance.
    Swap,
    Restart,
}

/// A broadcast that a worker runs.
#[derive(Debug, Clone)]
pub struct Broadcast {
    pub name: Arc<str>,
    pub id: u64,
    /// The position in the module's order of broadcasts on this node, from 1.
    pub seq: u64,
    pub same_as_caller: bool,
}

/// A run of a schedule.
#[derive(Debug, Clone)]
pub struct ScheduleRun {
    pub name: Arc<str>,
    /// When it was due, in milliseconds since 1970-01-01 UTC.
    pub due: u64,
    /// The id of the run.
    pub id: Arc<str>,
}

/// A message that a subscription delivers.
#[derive(Debug, Clone)]
pub struct SubscriptionCall {
    /// The name in `subscriptions` of the manifest, or of a subscription made at run time.
    pub name: Arc<str>,
    /// Whether the name is in the manifest.
    pub declared: bool,
    /// `event`, `redis`, `nats` or `channel`.
    pub source: &'static str,
    /// The type of the event, or the channel or stream.
    pub topic: Arc<str>,
    /// The position of the message, if the source has positions.
    pub id: Option<Arc<str>>,
}

/// A message of a connected client.
#[derive(Debug, Clone)]
pub struct ClientTrigger {
    /// The id of the session.
    pub session: Arc<str>,
    /// The name of the client's event, or the pattern of the socket.
    pub name: Arc<str>,
    /// The module with the socket, if the name is a pattern in its `sockets`. Otherwise the name is
    /// that of the route.
    pub socket: Option<Arc<str>>,
    /// Whether the client waits for a reply.
    pub wants_reply: bool,
}

/// When a filter runs.
#[derive(Debug, Clone)]
pub enum FilterStage {
    Before(ClientTrigger),
    After {
        /// The route that has replied, as the manifest writes it.
        route: Arc<str>,
        /// The status of its reply.
        status: u16,
    },
}

/// The maker of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    Client,
    /// A connected client, by the id of its session.
    Session(#[serde(with = "written::shared")] Arc<str>),
    Guest {
        #[serde(with = "written::shared")]
        module: Arc<str>,
        isolate: IsolateId,
        /// The guest's node. `None` means this node.
        #[serde(with = "written::shared::option")]
        node: Option<Arc<str>>,
    },
    Host,
    Operator,
}
