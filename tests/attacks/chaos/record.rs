//! What has started where: broadcasts, runs of schedules, and messages of subscriptions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use fanfare::tooling::{IsolateId, Probe, Trigger};

use crate::harness::{Started, eventually};

/// The interval of the schedules in milliseconds.
pub const INTERVAL: u64 = 50;

#[derive(Default)]
pub struct Record {
    /// The numbers of the broadcasts.
    broadcasts: BTreeMap<IsolateId, Vec<u64>>,
    /// The due times of each schedule.
    runs: BTreeMap<(String, IsolateId), Vec<u64>>,
    /// The positions of the messages of each subscription.
    messages: BTreeMap<(String, IsolateId), Vec<String>>,
}

pub type Shared = Arc<Mutex<Record>>;

impl Record {
    /// An empty record, and the probe that fills it when calls start.
    pub fn new() -> (Shared, Probe) {
        let record = Shared::default();
        let to = record.clone();
        let probe = Arc::new(move |call: &fanfare::tooling::Call| {
            let isolate = call.context.isolate;
            let mut record = to.lock().unwrap();
            match &call.trigger {
                Trigger::Broadcast(broadcast) => record.broadcasts.entry(isolate).or_default().push(broadcast.seq),
                Trigger::Schedule(run) => {
                    record.runs.entry((run.name.to_string(), isolate)).or_default().push(run.due);
                }
                Trigger::Subscription(message) => {
                    let name = if message.declared { message.name.to_string() } else { "at run time".to_owned() };
                    let position = message.id.as_deref().expect("an event has a position").to_owned();
                    record.messages.entry((name, isolate)).or_default().push(position);
                }
                _ => {}
            }
        });
        (record, probe)
    }
}

/// Asserts that each worker has started each broadcast once, in order.
pub async fn assert_broadcasts(record: &Shared, emitted: u64) {
    let all = || async { record.lock().unwrap().broadcasts.values().all(|seqs| seqs.last() >= Some(&emitted)) };
    eventually("all broadcasts have started", all).await;
    let record = record.lock().unwrap();
    assert_eq!(record.broadcasts.len(), 2);
    for (isolate, seqs) in &record.broadcasts {
        assert!(seqs.iter().copied().eq(1..=emitted), "{isolate}: not each broadcast once: {seqs:?}");
    }
    println!("{emitted} broadcasts");
}

/// Asserts that each subscription has started each event once: one worker, or each worker in order.
pub async fn assert_messages(record: &Shared, positions: &[String]) {
    let started = |record: &Record, name: &str| -> usize {
        record.messages.iter().filter(|((of, _), _)| of == name).map(|(_, all)| all.len()).sum()
    };
    let workers = [IsolateId::Worker(0), IsolateId::Worker(1)];
    for (name, times) in [("one", 1), ("all", 2), ("at run time", 1)] {
        eventually(&format!("the subscription {name} has started all messages"), || async {
            started(&record.lock().unwrap(), name) >= times * positions.len()
        })
        .await;
        let record = record.lock().unwrap();
        let of = |worker: IsolateId| record.messages.get(&(name.to_owned(), worker)).cloned().unwrap_or_default();
        match name {
            "one" => {
                let mut both = [of(workers[0]), of(workers[1])].concat();
                let count = both.len();
                both.sort();
                both.dedup();
                assert_eq!((both.len(), count), (positions.len(), count), "a message has started twice");
                assert_eq!(both.iter().collect::<BTreeSet<_>>(), positions.iter().collect::<BTreeSet<_>>());
            }
            "all" => workers.iter().for_each(|worker| assert_eq!(of(*worker), positions, "{name} in {worker}")),
            _ => assert_eq!((of(workers[0]).as_slice(), of(workers[1]).len()), (positions, 0), "{name}"),
        }
    }
}

/// Asserts that schedules have started a run for each due time, once.
pub async fn assert_runs(record: &Shared, host: &Started) {
    let status = host.admin("GET", "/v1/schedules", "").await.json();
    let record = record.lock().unwrap();
    let of = |name: &str, worker: u32| record.runs[&(name.to_owned(), IsolateId::Worker(worker))].clone();
    let one = [of("worker", 0), of("worker", 1)].concat();
    for (name, mut due) in [("worker", one), ("all", of("all", 0)), ("all", of("all", 1))] {
        let status = status.as_array().unwrap().iter().find(|schedule| schedule["name"] == name).unwrap();
        due.sort_unstable();
        let ran = due.len() as u64;
        due.dedup();
        assert_eq!(due.len() as u64, ran, "{name}: a due time has run twice");
        let expected = (due[due.len() - 1] - due[0]) / INTERVAL + 1;
        // A run may still wait.
        let lost = expected - ran;
        assert!(lost <= 1 + status["missed"].as_u64().unwrap(), "{name}: {ran} of {expected}: {status}");
        assert_eq!(status["skipped"], 0, "{status}");
        println!("schedule {name}: {ran} of {expected} runs");
    }
}
