//! The events that a host raises. Names and fields are those of SocketCluster 14, where it has the
//! event.

use serde::{Deserialize, Serialize};

use super::origin::Origin;
use crate::call::IsolateId;
use crate::call::text::{MESSAGE, NAME, REPORT, line, lines};

#[cfg(test)]
mod tests;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum HostEvent {
    /// Every module was loaded or rejected, and the host accepts connections. SocketCluster's
    /// `ready`.
    ///
    /// ```json
    /// { "type": "hostReady", "pid": 4711, "workers": 2, "brokers": 1 }
    /// ```
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
    ///
    /// ```json
    /// { "type": "fail", "origin": { "type": "Worker", "id": 0, "module": "chat" },
    ///   "message": "wasm trap: out of bounds memory access" }
    /// ```
    Fail {
        /// Where it failed.
        origin: Origin,
        /// The reason, in at most 4,096 bytes.
        message: String,
    },
    /// Something that an operator should look at. Not raised when `master.propagateWarnings` is
    /// `false`.
    ///
    /// ```json
    /// { "type": "warning", "origin": { "type": "Worker", "id": 1 },
    ///   "message": "host code has blocked the thread for 5s (isolate.blockedAfter)" }
    /// ```
    Warning {
        /// Where it happened.
        origin: Origin,
        /// The reason, in at most 4,096 bytes.
        message: String,
    },
    /// A message of the embedding program.
    ///
    /// ```json
    /// { "type": "info", "message": "the cache is warm" }
    /// ```
    Info {
        /// The message, in at most 4,096 bytes.
        message: String,
    },
    /// The isolate of a worker has started.
    ///
    /// ```json
    /// { "type": "workerStart", "id": 0, "pid": 4711, "respawn": true }
    /// ```
    WorkerStart {
        /// The index of the worker.
        id: u32,
        /// The process of the host.
        pid: u32,
        /// Whether the isolate replaces one that was killed.
        respawn: bool,
    },
    /// The isolate of a worker has ended.
    ///
    /// ```json
    /// { "type": "workerExit", "id": 0, "pid": 4711, "code": null, "signal": null,
    ///   "reason": "killed" }
    /// ```
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
    ///
    /// ```json
    /// { "type": "brokerStart", "id": 0, "pid": 4711, "respawn": false }
    /// ```
    BrokerStart {
        /// The index of the broker.
        id: u32,
        /// The process of the host.
        pid: u32,
        /// Whether the isolate replaces one that was killed.
        respawn: bool,
    },
    /// The isolate of a broker has ended.
    ///
    /// ```json
    /// { "type": "brokerExit", "id": 0, "pid": 4711, "code": null, "signal": null,
    ///   "reason": "killed at once" }
    /// ```
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
    ///
    /// ```json
    /// { "type": "workerClusterStart", "pid": 4711, "childProcess": null }
    /// ```
    WorkerClusterStart {
        /// The process of the host.
        pid: u32,
        /// Always null, because workers are threads.
        child_process: Option<()>,
    },
    /// Every worker has tried to start every module.
    ///
    /// ```json
    /// { "type": "workerClusterReady", "pid": 4711, "childProcess": null }
    /// ```
    WorkerClusterReady {
        /// The process of the host.
        pid: u32,
        /// Always null, because workers are threads.
        child_process: Option<()>,
    },
    /// The workers stop, because the host stops.
    ///
    /// ```json
    /// { "type": "workerClusterExit", "pid": 4711, "code": null, "signal": null,
    ///   "childProcess": null }
    /// ```
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
    ///
    /// ```json
    /// { "type": "workerMessage", "id": 0, "module": "chat", "size": 17 }
    /// ```
    WorkerMessage {
        /// The index of the worker.
        id: u32,
        /// The module of the guest.
        module: String,
        /// The size of the message in bytes.
        size: u64,
    },
    /// A guest in a broker has sent a message to the master. See `workerMessage`.
    ///
    /// ```json
    /// { "type": "brokerMessage", "id": 0, "module": "chat", "size": 17 }
    /// ```
    BrokerMessage {
        /// The index of the broker.
        id: u32,
        /// The module of the guest.
        module: String,
        /// The size of the message in bytes.
        size: u64,
    },
    /// A module that was not installed was loaded and serves.
    ///
    /// ```json
    /// { "type": "moduleLoaded", "module": "chat", "generation": "42a4ac262442" }
    /// ```
    ModuleLoaded {
        /// The module.
        module: String,
        /// Its generation, shortened to 12 digits.
        generation: String,
    },
    /// The module was removed, because its folder was removed, or the module in memory.
    ///
    /// ```json
    /// { "type": "moduleRemoved", "module": "chat", "generation": "42a4ac262442" }
    /// ```
    ModuleRemoved {
        /// The module.
        module: String,
        /// The generation that was removed.
        generation: String,
    },
    /// A swap begins to prepare new instances.
    ///
    /// ```json
    /// { "type": "swapStarted", "module": "chat", "from": "42a4ac262442", "to": "9b1e77c03d5f" }
    /// ```
    SwapStarted {
        /// The module.
        module: String,
        /// The generation that serves.
        from: String,
        /// The generation that is to serve.
        to: String,
    },
    /// The new generation serves in every isolate.
    ///
    /// ```json
    /// { "type": "swapCommitted", "module": "chat", "from": "42a4ac262442", "to": "9b1e77c03d5f" }
    /// ```
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
    ///
    /// ```json
    /// { "type": "swapRejected", "module": "chat", "from": "42a4ac262442",
    ///   "reason": "modules/chat/module.json:3:5: routes: must be a list" }
    /// ```
    SwapRejected {
        /// The module.
        module: String,
        /// The generation that keeps serving. Null if the module is not installed.
        from: Option<String>,
        /// The reason, one fault per line, in at most 32 KiB.
        reason: String,
    },
    /// A canary was rolled back, or the operator rolled the module back.
    ///
    /// ```json
    /// { "type": "swapRolledBack", "module": "chat", "from": "9b1e77c03d5f", "to": "42a4ac262442",
    ///   "reason": "the operator asked for the rollback" }
    /// ```
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
    ///
    /// ```json
    /// { "type": "canaryStarted", "module": "chat", "from": "42a4ac262442", "to": "9b1e77c03d5f",
    ///   "workers": [0] }
    /// ```
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
    ///
    /// ```json
    /// { "type": "canaryEnded", "module": "chat", "generation": "9b1e77c03d5f", "promoted": true }
    /// ```
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
    ///
    /// ```json
    /// { "type": "scheduleRun", "id": "node-1-19a6f0e1c00-7", "key": "ticker:tick", "subdomain": null,
    ///   "worker": 0, "due": 1764144000000, "success": true, "runTime": 3, "message": null }
    /// ```
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
    /// A subscription has dropped messages, because its queue is full: its handler is too slow. A
    /// subscription raises at most one of these events in a second, and all subscriptions together
    /// at most 100, including `subscriptionGap`.
    ///
    /// ```json
    /// { "type": "subscriptionOverflow", "module": "chat", "subscription": "orders", "dropped": 17 }
    /// ```
    SubscriptionOverflow {
        /// The module.
        module: String,
        /// The name of the subscription.
        subscription: String,
        /// The number of messages dropped since the previous event.
        dropped: u64,
    },
    /// The source of a subscription has lost messages before the host received them. See
    /// `subscriptionOverflow`.
    ///
    /// ```json
    /// { "type": "subscriptionGap", "module": "chat", "subscription": "orders", "missed": 3 }
    /// ```
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
    ///
    /// ```json
    /// { "type": "redisUp", "connection": "default" }
    /// ```
    RedisUp {
        /// The name of the connection.
        connection: String,
    },
    /// The host has lost the connection to Redis, or could not connect. It tries again.
    ///
    /// ```json
    /// { "type": "redisDown", "connection": "default", "reason": "Connection refused (os error 111)" }
    /// ```
    RedisDown {
        /// The name of the connection.
        connection: String,
        /// Why, in one line.
        reason: String,
    },
    /// An entry of a Redis stream was delivered as often as `tries` allows, and failed each time.
    /// It stays pending in Redis.
    ///
    /// ```json
    /// { "type": "redisMessageFailed", "connection": "default", "subscription": "shop:jobs",
    ///   "stream": "jobs", "id": "1764144000000-0", "tries": 5, "reason": "no such article" }
    /// ```
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
    },
    /// An instance has ended or became unfit, and the next one starts.
    ///
    /// ```json
    /// { "type": "instanceRestarted", "module": "chat", "isolate": "worker-0",
    ///   "reason": "wasm trap: out of bounds memory access" }
    /// ```
    InstanceRestarted {
        /// The module.
        module: String,
        /// The isolate, such as `worker-0`.
        isolate: String,
        /// Why the instance ended, in one line.
        reason: String,
    },
    /// The module failed too often in an isolate. It stays failed there until a reload.
    ///
    /// ```json
    /// { "type": "moduleFailed", "module": "chat", "isolate": "worker-0",
    ///   "reason": "wasm trap: out of bounds memory access" }
    /// ```
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
    ///
    /// ```json
    /// { "type": "clientSlow", "kind": "sse", "key": "news", "client": "192.0.2.7",
    ///   "reason": "queue", "worker": 0, "count": 3 }
    /// ```
    ClientSlow {
        /// The kind of connection: `sse`.
        kind: String,
        /// The stream key.
        key: String,
        /// The IP address of the client.
        client: String,
        /// Why: `queue` (more waits than `sse.queue` allows), `timeout` (the client has read
        /// nothing for `http.idleTimeout`), `hubQueued` (all clients together use more than
        /// `hub.queued`), or `inbox` (the queue of the worker was full).
        reason: String,
        /// The index of the worker.
        worker: u32,
        /// The number of connections that the worker has closed since the previous event.
        count: u64,
    },
    /// The event service of another process, `events.connect`, is connected.
    ///
    /// ```json
    /// { "type": "eventsUp", "service": "127.0.0.1:14440" }
    /// ```
    EventsUp {
        /// The address of the service.
        service: String,
    },
    /// The event service of another process is away. The host tries to connect again. The event is
    /// raised once for each time.
    ///
    /// ```json
    /// { "type": "eventsDown", "service": "127.0.0.1:14440",
    ///   "reason": "cannot connect: Connection refused (os error 111)" }
    /// ```
    EventsDown {
        /// The address of the service.
        service: String,
        /// Why, in one line.
        reason: String,
    },
    /// Events of the event service of another process are missing in this node.
    ///
    /// ```json
    /// { "type": "eventsGap", "service": "127.0.0.1:14440",
    ///   "reason": "the service no longer has what this host has missed" }
    /// ```
    EventsGap {
        /// The address of the service.
        service: String,
        /// Why, in one line.
        reason: String,
    },
}

impl HostEvent {
    /// The value of `type` in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            HostEvent::HostReady { .. } => "hostReady",
            HostEvent::Fail { .. } => "fail",
            HostEvent::Warning { .. } => "warning",
            HostEvent::Info { .. } => "info",
            HostEvent::WorkerStart { .. } => "workerStart",
            HostEvent::WorkerExit { .. } => "workerExit",
            HostEvent::BrokerStart { .. } => "brokerStart",
            HostEvent::BrokerExit { .. } => "brokerExit",
            HostEvent::WorkerClusterStart { .. } => "workerClusterStart",
            HostEvent::WorkerClusterReady { .. } => "workerClusterReady",
            HostEvent::WorkerClusterExit { .. } => "workerClusterExit",
            HostEvent::WorkerMessage { .. } => "workerMessage",
            HostEvent::BrokerMessage { .. } => "brokerMessage",
            HostEvent::ModuleLoaded { .. } => "moduleLoaded",
            HostEvent::ModuleRemoved { .. } => "moduleRemoved",
            HostEvent::SwapStarted { .. } => "swapStarted",
            HostEvent::SwapCommitted { .. } => "swapCommitted",
            HostEvent::SwapRejected { .. } => "swapRejected",
            HostEvent::SwapRolledBack { .. } => "swapRolledBack",
            HostEvent::CanaryStarted { .. } => "canaryStarted",
            HostEvent::CanaryEnded { .. } => "canaryEnded",
            HostEvent::ScheduleRun { .. } => "scheduleRun",
            HostEvent::SubscriptionOverflow { .. } => "subscriptionOverflow",
            HostEvent::SubscriptionGap { .. } => "subscriptionGap",
            HostEvent::RedisUp { .. } => "redisUp",
            HostEvent::RedisDown { .. } => "redisDown",
            HostEvent::RedisMessageFailed { .. } => "redisMessageFailed",
            HostEvent::InstanceRestarted { .. } => "instanceRestarted",
            HostEvent::ModuleFailed { .. } => "moduleFailed",
            HostEvent::ClientSlow { .. } => "clientSlow",
            HostEvent::EventsUp { .. } => "eventsUp",
            HostEvent::EventsDown { .. } => "eventsDown",
            HostEvent::EventsGap { .. } => "eventsGap",
        }
    }

    /// The start of an isolate. `None` for the master, which SocketCluster has no event for.
    pub(crate) fn isolate_start(isolate: IsolateId, respawn: bool) -> Option<HostEvent> {
        let pid = std::process::id();
        match isolate {
            IsolateId::Worker(id) => Some(HostEvent::WorkerStart { id, pid, respawn }),
            IsolateId::Broker(id) => Some(HostEvent::BrokerStart { id, pid, respawn }),
            IsolateId::Master => None,
        }
    }

    /// The end of an isolate. `None` for the master, which SocketCluster has no event for.
    pub(crate) fn isolate_exit(isolate: IsolateId, reason: &str) -> Option<HostEvent> {
        let (pid, code, signal, reason) = (std::process::id(), None, None, line(reason, MESSAGE));
        match isolate {
            IsolateId::Worker(id) => Some(HostEvent::WorkerExit { id, pid, code, signal, reason }),
            IsolateId::Broker(id) => Some(HostEvent::BrokerExit { id, pid, code, signal, reason }),
            IsolateId::Master => None,
        }
    }

    /// The end of the workers, which is the last event of a host.
    pub(crate) fn worker_cluster_exit() -> HostEvent {
        let (pid, code, signal, child_process) = (std::process::id(), None, None, None);
        HostEvent::WorkerClusterExit { pid, code, signal, child_process }
    }

    /// Cuts and escapes the texts, which guests may have written.
    pub(super) fn bounded(mut self) -> HostEvent {
        match &mut self {
            HostEvent::SwapRejected { reason, .. } => *reason = lines(reason, REPORT),
            HostEvent::Fail { message, .. } | HostEvent::Warning { message, .. } | HostEvent::Info { message } => {
                *message = line(message, MESSAGE);
            }
            HostEvent::ClientSlow { key, .. } => *key = line(key, NAME),
            HostEvent::SwapRolledBack { reason, .. }
            | HostEvent::EventsDown { reason, .. }
            | HostEvent::EventsGap { reason, .. }
            | HostEvent::InstanceRestarted { reason, .. }
            | HostEvent::ModuleFailed { reason, .. } => *reason = line(reason, MESSAGE),
            HostEvent::ScheduleRun { message: Some(message), .. } => *message = line(message, MESSAGE),
            _ => {}
        }
        self
    }
}
