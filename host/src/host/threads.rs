//! The threads of a host.

use super::StartError;
use crate::call::IsolateId;
use crate::dispatch::Places;
use crate::events::{EventLog, HostEvent};
use crate::worker::{Thread, Worker};

/// Starts the brokers and the master, then the workers.
pub(super) fn threads(
    workers: usize,
    brokers: u32,
    events: &EventLog,
) -> Result<(Vec<Worker>, Vec<Thread>), StartError> {
    let started = |isolate: IsolateId| {
        if let Some(event) = HostEvent::isolate_start(isolate, false) {
            events.raise(event);
        }
    };
    let others = (0..brokers).map(IsolateId::Broker).chain([IsolateId::Master]);
    let others: Vec<Thread> = others.map(Thread::start).collect::<Result<_, _>>().map_err(StartError::Worker)?;
    others.iter().for_each(|thread| started(thread.isolate.id));
    events.raise(HostEvent::WorkerClusterStart { pid: std::process::id(), child_process: None });
    let workers = (0..u32::try_from(workers).unwrap_or(u32::MAX)).map(Worker::start);
    let workers: Vec<Worker> = workers.collect::<Result<_, _>>().map_err(StartError::Worker)?;
    workers.iter().for_each(|worker| started(worker.thread.isolate.id));
    Ok((workers, others))
}

pub(super) fn places_of(workers: &[Worker], others: &[Thread]) -> Places {
    let isolates = others.iter().map(|thread| thread.isolate.clone());
    let (master, brokers): (Vec<_>, Vec<_>) = isolates.partition(|isolate| isolate.id == IsolateId::Master);
    Places {
        workers: workers.iter().map(|worker| worker.thread.isolate.clone()).collect(),
        brokers,
        master: master.into_iter().next(),
    }
}
