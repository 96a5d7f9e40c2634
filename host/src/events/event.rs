//! The events that a host raises. Names and fields are those of SocketCluster 14, where it has the
//! event.

use serde::{Deserialize, Serialize};

use super::origin::Origin;

mod isolates;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
mod texts;

/// A host event with its number and time. In JSON all fields are in one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// The position of the event among all events of this host, from 1.
    pub number: u64,
    /// When the event was raised, in milliseconds since 1970-01-01 UTC.
    pub time: u64,
    /// The event.
    #[serde(flatten)]
    pub event: HostEvent,
}

/// Something that happened in the host. In JSON the key `type` has the name in camelCase, such as
/// `workerExit`.
///
/// Workers are threads that live as long as the host. `workerStart` and `workerExit` therefore say
/// that the *isolate* of a worker has started or ended. Their `pid` is the process of the host, and
/// `code` and `signal` are always null. The same holds for brokers and the worker cluster.
///
/// [docs/host-events.md] has an example of each event.
///
/// [docs/host-events.md]: https://github.com/fanfare-host/fanfare/blob/main/docs/host-events.md
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum HostEvent {
    /// Every module was loaded or rejected, and the host accepts connections. SocketCluster's
    /// `ready`.
    HostReady {
        /// The process of the host.
        pid: u32,
        /// The number of workers.
        workers: u32,
        /// The number of brokers.
        brokers: u32,
    },
    /// Something failed: an instance crashed, or the host panicked. Not raised when
    /// `master.propagateErrors` is `false`.
    Fail {
        /// Where it failed.
        origin: Origin,
        /// The reason, in at most 4,096 bytes.
        message: String,
    },
    /// Something that an operator should look at. Not raised when `master.propagateWarnings` is
    /// `false`.
    Warning {
        /// Where it happened.
        origin: Origin,
        /// The reason, in at most 4,096 bytes.
        message: String,
    },
    /// A message of the embedding program.
    Info {
        /// The message, in at most 4,096 bytes.
        message: String,
    },
    /// The isolate of a worker has started.
    WorkerStart {
        /// The index of the worker.
        id: u32,
        /// The process of the host.
        pid: u32,
        /// Whether the isolate replaces one that was killed.
        respawn: bool,
    },
    /// The isolate of a worker has ended.
    WorkerExit {
        /// The index of the worker.
        id: u32,
        /// The process of the host.
        pid: u32,
        /// Always null.
        code: Option<i32>,
        /// Always null.
        signal: Option<String>,
        /// Why it ended.
        reason: String,
    },
    /// The isolate of a broker has started.
    BrokerStart {
        /// The index of the broker.
        id: u32,
        /// The process of the host.
        pid: u32,
        /// Whether the isolate replaces one that was killed.
        respawn: bool,
    },
    /// The isolate of a broker has ended.
    BrokerExit {
        /// The index of the broker.
        id: u32,
        /// The process of the host.
        pid: u32,
        /// Always null.
        code: Option<i32>,
        /// Always null.
        signal: Option<String>,
        /// Why it ended.
        reason: String,
    },
    /// The first worker begins.
    WorkerClusterStart {
        /// The process of the host.
        pid: u32,
        /// Always null, because workers are threads.
        child_process: Option<()>,
    },
    /// Every worker has tried to start every module.
    WorkerClusterReady {
        /// The process of the host.
        pid: u32,
        /// Always null, because workers are threads.
        child_process: Option<()>,
    },
    /// The workers stop, because the host stops.
    WorkerClusterExit {
        /// The process of the host.
        pid: u32,
        /// Always null.
        code: Option<i32>,
        /// Always null.
        signal: Option<String>,
        /// Always null, because workers are threads.
        child_process: Option<()>,
    },
    /// A guest in a worker has sent a message to the master. At most 100 of these events and of
    /// `brokerMessage` are raised in a second. Only the receiver gets the message itself.
    WorkerMessage {
        /// The index of the worker.
        id: u32,
        /// The module of the guest.
        module: String,
        /// The size of the message in bytes.
        size: u64,
    },
    /// A guest in a broker has sent a message to the master. See `workerMessage`.
    BrokerMessage {
        /// The index of the broker.
        id: u32,
        /// The module of the guest.
        module: String,
        /// The size of the message in bytes.
        size: u64,
    },
    /// A module that was not installed was loaded and serves.
    ModuleLoaded {
        /// The module.
        module: String,
        /// Its generation, shortened to 12 digits.
        generation: String,
    },
    /// The module was removed, because its folder was removed, or the module in memory.
    ModuleRemoved {
        /// The module.
        module: String,
        /// The generation that was removed.
        generation: String,
    },
    /// A swap begins to prepare new instances.
    SwapStarted {
        /// The module.
        module: String,
        /// The generation that serves.
        from: String,
        /// The generation that is to serve.
        to: String,
    },
    /// The new generation serves in every isolate.
    SwapCommitted {
        /// The module.
        module: String,
        /// The previous generation.
        from: String,
        /// The generation that serves now.
        to: String,
    },
    /// A reload was rejected. The previous generation keeps serving, or the module is not
    /// installed.
    SwapRejected {
        /// The module.
        module: String,
        /// The generation that keeps serving. Null if the module is not installed.
        from: Option<String>,
        /// The reason, one fault per line, in at most 32 KiB.
        reason: String,
    },
    /// A canary was rolled back, or the operator rolled the module back.
    SwapRolledBack {
        /// The module.
        module: String,
        /// The generation that served until now, or ran as a canary.
        from: String,
        /// The generation that serves now.
        to: String,
        /// The reason.
        reason: String,
    },
    /// A canary of a new generation serves in some workers.
    CanaryStarted {
        /// The module.
        module: String,
        /// The previous generation, which serves in the other isolates.
        from: String,
        /// The generation of the canary.
        to: String,
        /// The workers that run the canary.
        workers: Vec<u32>,
    },
    /// A canary has ended.
    CanaryEnded {
        /// The module.
        module: String,
        /// The generation of the canary.
        generation: String,
        /// Whether every worker runs it now. If not, `swapRolledBack` follows, or a `fail` says why
        /// the host could not roll back.
        promoted: bool,
    },
    /// A run of a schedule has ended. At most 100 of these events are raised in a second.
    ScheduleRun {
        /// The id of the run, which the guest gets too.
        id: String,
        /// The module and the name of the schedule: `<module>:<name>`.
        key: String,
        /// The subdomain that it ran for.
        subdomain: Option<String>,
        /// The worker that it was assigned to.
        worker: u32,
        /// When it was due, in milliseconds since 1970-01-01 UTC.
        due: u64,
        /// Whether the handler returned a reply with a status below 400.
        success: bool,
        /// The time from the start of the run until its end in milliseconds, including the time
        /// that it waited for the instance.
        run_time: u64,
        /// Why it failed, in one line.
        message: Option<String>,
    },
    /// A run of a schedule with `"missed": "run-once"` failed as often as `attempts` allows. The
    /// schedule continues with its next due time.
    ScheduleGivenUp {
        /// The id of the run, which the guest got too.
        id: String,
        /// The module and the name of the schedule: `<module>:<name>`.
        key: String,
        /// The subdomain that it ran for.
        subdomain: Option<String>,
        /// When it was due, in milliseconds since 1970-01-01 UTC.
        due: u64,
        /// How often it took place.
        tries: u32,
        /// Why it failed last, in one line.
        reason: String,
    },
    /// A subscription has dropped messages, because its queue is full: its handler is too slow. A
    /// subscription raises at most one of these events in a second, and all subscriptions together
    /// at most 100, including `subscriptionGap`.
    SubscriptionOverflow {
        /// The module.
        module: String,
        /// The name of the subscription.
        subscription: String,
        /// The number of messages dropped since the previous event.
        dropped: u64,
    },
    /// A worker has skipped messages of a subscription with `"deliver": "all"`, because it cannot
    /// receive them while others can: the module has failed there, or a canary runs there whose
    /// manifest does not have the subscription. A subscription raises at most one of these events
    /// in a second for each worker. See also `subscriptionOverflow`.
    SubscriptionSkipped {
        /// The module.
        module: String,
        /// The name of the subscription.
        subscription: String,
        /// The isolate, such as `worker-1`.
        isolate: String,
        /// The number of messages skipped there since the previous event.
        dropped: u64,
    },
    /// The source of a subscription has lost messages before the host received them. See
    /// `subscriptionOverflow`.
    SubscriptionGap {
        /// The module.
        module: String,
        /// The name of the subscription.
        subscription: String,
        /// The number of messages lost since the previous event. Null if the source does not know
        /// it.
        missed: Option<u64>,
    },
    /// The host is connected to Redis. A connection of the settings consists of several connections
    /// to the server; the event says that all of them are there.
    RedisUp {
        /// The name of the connection.
        connection: String,
    },
    /// The host has lost the connection to Redis, or could not connect. It tries again.
    RedisDown {
        /// The name of the connection.
        connection: String,
        /// Why, in one line.
        reason: String,
    },
    /// An entry of a Redis stream was delivered as often as `tries` allows, and failed each time,
    /// or it is larger than `limits.max.payload`. It stays pending in Redis. A subscription raises
    /// at most one of these events in a second.
    RedisMessageFailed {
        /// The name of the connection.
        connection: String,
        /// The module and the name of the subscription.
        subscription: String,
        /// The stream.
        stream: String,
        /// The id of the entry.
        id: String,
        /// How often it was delivered.
        tries: u64,
        /// Why it failed last, in one line.
        reason: String,
        /// The number of entries that failed since the previous event.
        failed: u64,
    },
    /// An instance has ended or became unfit, and the next one starts.
    InstanceRestarted {
        /// The module.
        module: String,
        /// The isolate, such as `worker-0`.
        isolate: String,
        /// Why the instance ended, in one line.
        reason: String,
    },
    /// The module failed too often in an isolate. It stays failed there until a reload.
    ModuleFailed {
        /// The module.
        module: String,
        /// The isolate, such as `worker-0`.
        isolate: String,
        /// Why its last instance ended, in one line.
        reason: String,
    },
    /// Connections were closed because their clients are too slow: they do not read what waits for
    /// them. A worker raises at most one of these events in a second. The event describes the
    /// connection that was closed last.
    ClientSlow {
        /// The kind of connection: `sse` or `websocket`.
        kind: String,
        /// The stream key, or the id of the session.
        key: String,
        /// The IP address of the client.
        client: String,
        /// Why: `queue` (more waits than `sse.queue` or `websocket.queue` allows), `timeout` (the
        /// client has read nothing for `http.idleTimeout`), `hubQueued` (all clients together use
        /// more than `hub.queued`), or `inbox` (the queue of the worker was full).
        reason: String,
        /// The index of the worker.
        worker: u32,
        /// The number of connections that the worker has closed since the previous event.
        count: u64,
    },
    /// The event service of another process, `events.connect`, is connected.
    EventsUp {
        /// The address of the service.
        service: String,
    },
    /// The event service of another process is away. The host tries to connect again. The event is
    /// raised once for each time.
    EventsDown {
        /// The address of the service.
        service: String,
        /// Why, in one line.
        reason: String,
    },
    /// This node is connected to NATS.
    NatsUp {
        /// The address of the server.
        address: String,
    },
    /// This node has lost the connection to NATS, or could not connect. It tries again.
    NatsDown {
        /// Why, in one line.
        reason: String,
    },
    /// A message of JetStream was delivered as often as its consumer allows, and failed each time,
    /// or it is larger than `limits.max.payload`. The stream keeps it. A subscription raises at
    /// most one of these events in a second.
    NatsMessageFailed {
        /// The module and the name of the subscription.
        subscription: String,
        /// The stream.
        stream: String,
        /// The number of the message in the stream.
        sequence: u64,
        /// How often it was delivered.
        tries: u64,
        /// Why it failed last, in one line.
        reason: String,
        /// The number of messages that failed since the previous event.
        failed: u64,
    },
    /// A durable broadcast failed as often as its module allows, and was parked. `fanfare
    /// broadcasts parked` shows it.
    BroadcastParked {
        /// The module.
        module: String,
        /// The name of the broadcast.
        broadcast: String,
        /// Its place in the stream.
        position: u64,
        /// How often a worker of this node has run it.
        tries: u32,
        /// Why it failed last, in one line.
        reason: String,
        /// The number under which it is parked.
        parked: u64,
    },
    /// The stream was full, or its oldest broadcasts were older than `cluster.durable.maxAge`, and
    /// it has dropped durable broadcasts that this node had not run. All modules share the stream:
    /// if only broadcasts of other modules were dropped, none is missing.
    BroadcastsDropped {
        /// The module.
        module: String,
        /// The place in the stream of the last broadcast that this node has run or passed over.
        after: u64,
        /// The first place that the stream still has.
        before: u64,
    },
    /// This node can reach another node of the cluster.
    NodeUp {
        /// The node.
        node: String,
        /// Its server type.
        server: String,
        /// The number of its workers.
        workers: u32,
    },
    /// This node can no longer reach another node: it stopped, or was silent for
    /// `cluster.goneAfter`.
    NodeDown {
        /// The node.
        node: String,
        /// Its server type.
        server: String,
        /// Why, in one line.
        reason: String,
    },
    /// This node has joined the cluster, and knows the nodes that are there.
    ClusterReady {
        /// The number of nodes, with this one.
        nodes: u32,
    },
    /// Events of the event service of another process are missing in this node.
    EventsGap {
        /// The address of the service.
        service: String,
        /// Why, in one line.
        reason: String,
    },
}
