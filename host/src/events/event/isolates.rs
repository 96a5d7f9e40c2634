//! The events of isolates.

use super::HostEvent;
use crate::call::IsolateId;
use crate::call::text::{MESSAGE, line};

impl HostEvent {
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
}
