//! The hooks of a module: routes that the host calls because something happened.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use super::one_or_many::{one_or_many, one_or_many_schema};
use crate::call::{IsolateId, hook};
use crate::config::formats::RouteRef;
use crate::config::unsupported;

/// A hook of a checked manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    /// The index in `routes`.
    pub route: usize,
    pub places: HookPlaces,
}

/// The isolates that call a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookPlaces {
    pub workers: bool,
    pub brokers: bool,
    pub master: bool,
}

impl HookPlaces {
    const MASTER: HookPlaces = HookPlaces { workers: false, brokers: false, master: true };
    const WORKERS: HookPlaces = HookPlaces { workers: true, brokers: false, master: false };
    const ALL: HookPlaces = HookPlaces { workers: true, brokers: true, master: true };

    pub fn contain(self, isolate: IsolateId) -> bool {
        match isolate {
            IsolateId::Worker(_) => self.workers,
            IsolateId::Broker(_) => self.brokers,
            IsolateId::Master => self.master,
        }
    }
}

/// Generates [`RawHooks`] and the list of the hooks that a host event has.
macro_rules! hooks {
    ($($(#[$doc:meta])* $field:ident = $name:literal;)*) => {
        /// The hooks of the module: routes that the host calls because something happened. Each has
        /// the middleware `inner`.
        #[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
        #[schemars(rename = "Hooks", extend("x-unsupported" = unsupported::HOOKS))]
        pub struct RawHooks {
            $($(#[$doc])* pub $field: Option<RawHook>,)*
            /// A message of a guest in a worker (`master.post`, `send`), when no embedding program
            /// receives messages. The payload is the message, the reply goes to the guest. Runs in
            /// the master isolate. Default none.
            pub worker_message: Option<RawHook>,
            /// The same for a guest in a broker. Runs in the master isolate. Default none.
            pub broker_message: Option<RawHook>,
            /// A message of the embedding program or the operator to an isolate. The payload is the
            /// message, the reply goes to the sender. Default none.
            pub master_message: Option<RawMessageHook>,
            /// Runs in every isolate before the last generation's instance ends there, within
            /// `shutdown.hook` of `fanfare.json`. The payload is `{"reason": ".."}`: `shutdown`,
            /// `removed` or `killed`. A swap calls `snapshot` instead. Default none.
            pub stop: Option<RawHook>,
            /// A client asks for a WebSocket of this module, or of a listener with this module. The
            /// interface `http` has the request. A pass or a reply admits the client, and a failure
            /// rejects it with its status (401 by default). Runs in the worker that has the
            /// connection. Default none: every client is admitted.
            pub upgrade: Option<RawHook>,
            /// The session of a client begins. The payload is the data that a client of
            /// SocketCluster has sent with its handshake. A failure rejects the client: a plain
            /// WebSocket with its status (403 by default), a client of SocketCluster with the
            /// `close-code` in its `extra` (4008 by default). Runs in the worker that has the
            /// socket. Default none.
            pub connect: Option<RawHook>,
            /// A client has sent a valid token. The payload is the claims as JSON. A pass with a
            /// payload replaces the claims, and a failure rejects the token. Runs in the worker
            /// that has the socket. Default none.
            pub authenticate: Option<RawHook>,
            /// The session of a client has ended, and the interface `sessions` still has it. The
            /// payload is `{"code": .., "reason": ".."}`. Runs in the worker that had the socket.
            /// Default none.
            pub disconnect: Option<RawHook>,
        }

        /// The hooks that run in the master isolate when the host raises the event of this name.
        pub const EVENTS: &[&str] = &[$($name),*];
    };
}

hooks! {
    /// The host accepts connections. Default none.
    host_ready = "hostReady";
    /// Something failed, such as an instance that crashed. Default none.
    fail = "fail";
    /// Something that an operator should look at. Default none.
    warning = "warning";
    /// A message that the embedding program logs. Default none.
    info = "info";
    /// The isolate of a worker has started. Default none.
    worker_start = "workerStart";
    /// The isolate of a worker was killed or replaced. Default none.
    worker_exit = "workerExit";
    /// The isolate of a broker has started. Default none.
    broker_start = "brokerStart";
    /// The isolate of a broker was killed or replaced. Default none.
    broker_exit = "brokerExit";
    /// The first worker begins. Default none.
    worker_cluster_start = "workerClusterStart";
    /// Every worker has tried to start every module. Default none.
    worker_cluster_ready = "workerClusterReady";
    /// A module was loaded and serves. Default none.
    module_loaded = "moduleLoaded";
    /// A module was removed. Default none.
    module_removed = "moduleRemoved";
    /// A swap begins. Default none.
    swap_started = "swapStarted";
    /// A new generation serves in every isolate. Default none.
    swap_committed = "swapCommitted";
    /// A reload was rejected. Default none.
    swap_rejected = "swapRejected";
    /// A module was rolled back. Default none.
    swap_rolled_back = "swapRolledBack";
    /// A canary serves in some workers. Default none.
    canary_started = "canaryStarted";
    /// A canary has ended. Default none.
    canary_ended = "canaryEnded";
    /// A run of a schedule has ended. Default none.
    schedule_run = "scheduleRun";
    /// A run of a schedule failed too often. Default none.
    schedule_given_up = "scheduleGivenUp";
    /// A subscription has dropped messages, because its queue is full. Default none.
    subscription_overflow = "subscriptionOverflow";
    /// A worker has skipped messages of a subscription, because it cannot receive them. Default
    /// none.
    subscription_skipped = "subscriptionSkipped";
    /// The source of a subscription has lost messages. Default none.
    subscription_gap = "subscriptionGap";
    /// The host is connected to Redis. Default none.
    redis_up = "redisUp";
    /// The host has lost the connection to Redis. Default none.
    redis_down = "redisDown";
    /// An entry of a Redis stream failed too often. Default none.
    redis_message_failed = "redisMessageFailed";
    /// An instance has ended, and the next one starts. Default none.
    instance_restarted = "instanceRestarted";
    /// A module failed too often in an isolate. Default none.
    module_failed = "moduleFailed";
    /// Streams were closed because their clients are too slow. Default none.
    client_slow = "clientSlow";
    /// The event service of another process is connected. Default none.
    events_up = "eventsUp";
    /// The event service of another process is away. Default none.
    events_down = "eventsDown";
    /// This node is connected to NATS. Default none.
    nats_up = "natsUp";
    /// This node has lost the connection to NATS. Default none.
    nats_down = "natsDown";
    /// A message of JetStream failed too often. Default none.
    nats_message_failed = "natsMessageFailed";
    /// A durable broadcast failed too often. Default none.
    broadcast_parked = "broadcastParked";
    /// The stream dropped durable broadcasts before this node has run them. Default none.
    broadcasts_dropped = "broadcastsDropped";
    /// This node can reach another node. Default none.
    node_up = "nodeUp";
    /// This node can no longer reach another node. Default none.
    node_down = "nodeDown";
    /// This node has joined the cluster. Default none.
    cluster_ready = "clusterReady";
    /// Events of the event service of another process are missing. Default none.
    events_gap = "eventsGap";
}

/// Returns the hook of this name in `hooks`, with the isolates that call it by default.
pub fn known(name: &str) -> Option<(&'static str, HookPlaces)> {
    let others = [
        (hook::WORKER_MESSAGE, HookPlaces::MASTER),
        (hook::BROKER_MESSAGE, HookPlaces::MASTER),
        (hook::MASTER_MESSAGE, HookPlaces::WORKERS),
        (hook::STOP, HookPlaces::ALL),
    ];
    let events = EVENTS.iter().map(|event| (*event, HookPlaces::MASTER));
    let clients = hook::CLIENTS.into_iter().map(|name| (name, HookPlaces::WORKERS));
    events.chain(others).chain(clients).find(|(known, _)| *known == name)
}

/// A hook: a route that the host calls.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Hook")]
#[expect(dead_code, reason = "the schema needs every field; the checks read the tree")]
pub struct RawHook {
    /// The route, as `[METHOD ]path`. Without a method it is the `post` route with that path, or
    /// else the only route with that path. It has the middleware `inner`. Required.
    #[schemars(with = "RouteRef")]
    pub path: String,
}

/// The hook of messages from the master.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "MessageHook")]
#[expect(dead_code, reason = "the schema needs every field; the checks read some from the tree")]
pub struct RawMessageHook {
    /// The route, as `[METHOD ]path`. Without a method it is the `post` route with that path, or
    /// else the only route with that path. It has the middleware `inner`. Required.
    #[schemars(with = "RouteRef")]
    pub path: String,
    /// The isolates that receive messages: `worker`, `broker`, or a list of them. With `broker`,
    /// the module is installed in the brokers too. Default `worker`.
    #[serde(default = "in_workers", rename = "in", deserialize_with = "one_or_many")]
    #[schemars(schema_with = "receivers")]
    pub receivers: Vec<Receiver>,
}

/// The isolates that receive messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Receiver {
    /// Every worker.
    Worker,
    /// Every broker.
    Broker,
}

fn in_workers() -> Vec<Receiver> {
    vec![Receiver::Worker]
}

fn receivers(generator: &mut SchemaGenerator) -> Schema {
    one_or_many_schema::<Receiver>(generator)
}

impl RawMessageHook {
    pub(super) fn places(&self) -> HookPlaces {
        let has = |receiver| self.receivers.contains(&receiver);
        HookPlaces { workers: has(Receiver::Worker), brokers: has(Receiver::Broker), master: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::manifest::raw;

    #[test]
    fn every_hook_of_the_schema_is_known() {
        let properties = raw::schema().pointer("/$defs/Hooks/properties").unwrap().as_object().unwrap();
        for name in properties.keys() {
            assert_eq!(known(name).map(|(name, _)| name), Some(name.as_str()));
        }
        assert_eq!(properties.len(), EVENTS.len() + 4 + hook::CLIENTS.len());
        assert_eq!(known("workerExits"), None);
    }

    #[test]
    fn every_host_event_has_a_hook() {
        let source = include_str!("../../events/event/texts.rs");
        let names = source.lines().filter_map(|line| line.trim().strip_prefix("HostEvent::")?.split_once("=> \""));
        let names: Vec<&str> = names.filter_map(|(_, name)| name.strip_suffix("\",")).collect();
        assert!(names.len() > 20, "{names:?}");
        for name in names {
            let supported = known(name).is_some();
            assert!(supported || unsupported::HOOKS.contains(&name), "{name}: add it to `hooks!`");
        }
    }
}
