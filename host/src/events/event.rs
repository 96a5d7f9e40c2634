//! The events that a host raises. Names and fields are those of SocketCluster 14, where it has the
//! event.

use serde::{Deserialize, Serialize};

use crate::call::IsolateId;
use crate::call::text::{MESSAGE, REPORT, line, lines};

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
        /// Whether every worker runs it now. If not, it was rolled back.
        promoted: bool,
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
}

/// Where a `fail` or a `warning` comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The part of the host.
    #[serde(rename = "type")]
    pub kind: OriginKind,
    /// The index of the worker or broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The module, if it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
}

/// The part of the host that a `fail` or a `warning` comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OriginKind {
    /// `Master`: the host itself, or the master isolate.
    Master,
    /// `Worker`: the isolate of a worker.
    Worker,
    /// `Broker`: the isolate of a broker.
    Broker,
}

impl Origin {
    /// The host itself.
    pub fn master() -> Origin {
        Origin { kind: OriginKind::Master, id: None, module: None }
    }

    /// An isolate.
    pub fn isolate(isolate: IsolateId) -> Origin {
        let (kind, id) = match isolate {
            IsolateId::Worker(id) => (OriginKind::Worker, Some(id)),
            IsolateId::Broker(id) => (OriginKind::Broker, Some(id)),
            IsolateId::Master => (OriginKind::Master, None),
        };
        Origin { kind, id, module: None }
    }

    /// A module in an isolate.
    pub fn module(isolate: IsolateId, module: &str) -> Origin {
        Origin { module: Some(module.to_owned()), ..Origin::isolate(isolate) }
    }
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
            HostEvent::InstanceRestarted { .. } => "instanceRestarted",
            HostEvent::ModuleFailed { .. } => "moduleFailed",
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
            HostEvent::SwapRolledBack { reason, .. }
            | HostEvent::InstanceRestarted { reason, .. }
            | HostEvent::ModuleFailed { reason, .. } => *reason = line(reason, MESSAGE),
            _ => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn json(event: HostEvent) -> serde_json::Value {
        serde_json::to_value(EventRecord { number: 1, time: 2, event }).unwrap()
    }

    #[test]
    fn an_event_is_one_object_with_camel_case_keys() {
        let exit = HostEvent::isolate_exit(IsolateId::Worker(3), "killed").unwrap();
        let pid = std::process::id();
        let expected = json!({
            "number": 1, "time": 2, "type": "workerExit",
            "id": 3, "pid": pid, "code": null, "signal": null, "reason": "killed",
        });
        assert_eq!(json(exit.clone()), expected);
        let record: EventRecord = serde_json::from_value(expected).unwrap();
        assert_eq!(record, EventRecord { number: 1, time: 2, event: exit });
        let ready = HostEvent::WorkerClusterReady { pid, child_process: None };
        let expected =
            json!({ "number": 1, "time": 2, "type": "workerClusterReady", "pid": pid, "childProcess": null });
        assert_eq!(json(ready), expected);
    }

    #[test]
    fn the_name_of_an_event_is_its_type_in_json() {
        for event in [
            HostEvent::Info { message: String::new() },
            HostEvent::HostReady { pid: 1, workers: 2, brokers: 0 },
            HostEvent::SwapRolledBack { module: "m".into(), from: "a".into(), to: "b".into(), reason: "c".into() },
            HostEvent::CanaryEnded { module: "m".into(), generation: "a".into(), promoted: true },
        ] {
            assert_eq!(json(event.clone())["type"], event.name());
        }
    }

    #[test]
    fn an_origin_names_the_part_the_index_and_the_module() {
        let origin = |origin| serde_json::to_value(origin).unwrap();
        assert_eq!(origin(Origin::master()), json!({ "type": "Master" }));
        assert_eq!(origin(Origin::isolate(IsolateId::Broker(1))), json!({ "type": "Broker", "id": 1 }));
        let module = Origin::module(IsolateId::Worker(0), "chat");
        assert_eq!(origin(module), json!({ "type": "Worker", "id": 0, "module": "chat" }));
    }

    #[test]
    fn a_long_or_dangerous_text_is_cut_and_escaped() {
        let long = HostEvent::Info { message: format!("\u{1b}{}", "x".repeat(2 * MESSAGE)) }.bounded();
        let HostEvent::Info { message } = long else { panic!() };
        assert!(message.len() <= MESSAGE + 64 && message.starts_with("\\u{1b}"), "{} bytes", message.len());
    }
}
