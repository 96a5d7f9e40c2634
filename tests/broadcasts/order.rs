//! Every worker starts every broadcast once and in the same order, under load and during crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use fanfare::tooling::{Actor, Emission, Payload, Probe};
use futures_util::future::{join, join_all};
use serde_json::json;

use super::{broadcast, heard, heard_all, seqs};
use crate::harness::{Connection, Gate, Started, TestHost, eventually};

const WORKERS: u32 = 4;
const CONNECTIONS: usize = 24;
const EACH: usize = 15;

/// Sends requests on many connections at once, one after another on each.
async fn on_many_connections(host: &Started, send: impl AsyncFn(&mut Connection, usize, usize)) {
    let run = async |number: usize| {
        let mut connection = Connection::open(host.http).await;
        for turn in 0..EACH {
            send(&mut connection, number, turn).await;
        }
    };
    join_all((0..CONNECTIONS).map(run)).await;
}

async fn emit_from_all_workers(host: &Started) {
    on_many_connections(host, async |connection, number, turn| {
        let answer = connection.send("POST", "/api/counts/emit", &[], format!("{number}.{turn}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    })
    .await;
}

/// Sends other requests to the same module, and ignores the responses.
async fn load(host: &Started) {
    on_many_connections(host, async |connection, _, _| {
        connection.send("GET", "/api/counts/list", &[], "").await;
    })
    .await;
}

async fn emit_as_the_operator(host: &Started, count: usize) {
    for number in 0..count {
        let receipt = host.emit("counts", "append", format!("operator.{number}")).await;
        assert_eq!(receipt["accepted"], WORKERS, "{receipt}");
    }
}

#[tokio::test]
async fn every_worker_starts_the_broadcasts_of_all_emitters_in_one_order() {
    let host = TestHost::with("counts").workers(WORKERS).start().await;
    let emitting = join(emit_from_all_workers(&host), emit_as_the_operator(&host, 60));
    join(emitting, load(&host)).await;

    let total = CONNECTIONS * EACH + 60;
    let first = heard_all(&host, 0, total).await;
    assert_eq!(seqs(&first), (1..=total as u64).collect::<Vec<_>>());
    let sent: BTreeSet<&str> = first.iter().map(|heard| heard.payload.as_deref().unwrap()).collect();
    assert_eq!(sent.len(), total, "each payload arrived once");
    let emitters: BTreeSet<usize> = join_all((0..WORKERS).map(async |worker| {
        let heard = heard_all(&host, worker, total).await;
        let facts = |all: &[super::Heard]| {
            all.iter().map(|heard| (heard.seq, heard.id, heard.payload.clone())).collect::<Vec<_>>()
        };
        assert_eq!(facts(&heard), facts(&first), "worker-{worker}");
        heard.iter().filter(|heard| heard.same_as_caller).count()
    }))
    .await
    .into_iter()
    .collect();
    assert!(!emitters.contains(&0), "every worker emitted some: {emitters:?}");
}

#[tokio::test]
async fn emitters_on_several_threads_do_not_overtake_one_another() {
    const THREADS: u64 = 4;
    const TURNS: u64 = 2_000;
    let starts = Starts::default();
    let host = TestHost::with("counts").workers(WORKERS).limit("counts", "broadcasts", THREADS * TURNS);
    let host = host.probe(noting(&starts, |_, _| false)).start().await;
    // Threads that call dispatch directly compete for the sequencer's lock.
    let emitters: Vec<_> = (0..THREADS)
        .map(|_| {
            let dispatch = host.running().dispatch().clone();
            std::thread::spawn(move || {
                for _ in 0..TURNS {
                    let module = Some("counts".to_owned());
                    let what = Emission { module, name: "append".to_owned(), ..Emission::default() };
                    assert_eq!(dispatch.emit(&Actor::Operator, what, Payload::None).unwrap().accepted, WORKERS);
                }
            })
        })
        .collect();
    for emitter in emitters {
        emitter.join().unwrap();
    }
    let all = || starts.lock().unwrap().values().map(|seqs| seqs.len() as u64).sum::<u64>();
    eventually("all have started", || async { all() == THREADS * TURNS * u64::from(WORKERS) }).await;
    for (worker, seqs) in &*starts.lock().unwrap() {
        assert!(seqs.iter().copied().eq(1..=THREADS * TURNS), "worker-{worker}");
    }
}

/// The broadcasts that have started in each worker, in order.
type Starts = Arc<Mutex<BTreeMap<u32, Vec<u64>>>>;

/// Records every start of `append`, and panics in the workers and at the numbers that `dies`
/// selects.
fn noting(starts: &Starts, dies: fn(u32, u64) -> bool) -> Probe {
    let starts = starts.clone();
    Arc::new(move |call| {
        let Some((worker, seq)) = broadcast("append", call) else { return };
        starts.lock().unwrap().entry(worker).or_default().push(seq);
        assert!(!dies(worker, seq), "a panic for the test");
    })
}

/// Restarts instances at once, without a limit.
fn restless(host: TestHost) -> TestHost {
    host.config(json!({ "isolate": { "maxRestarts": 10_000, "restartBackoff": "1ms", "restartBackoffMax": "1ms" } }))
}

#[tokio::test]
async fn each_broadcast_starts_once_in_every_worker_while_instances_crash() {
    fn dies(worker: u32, seq: u64) -> bool {
        seq % 20 == u64::from(worker) * 5
    }
    let starts = Starts::default();
    let host = restless(TestHost::with("counts").workers(WORKERS).probe(noting(&starts, dies))).start().await;
    let emitting = join_all((0..4).map(|_| emit_as_the_operator(&host, 50)));
    join(emitting, load(&host)).await;

    let whole = |starts: &Starts| {
        let starts = starts.lock().unwrap();
        starts.len() == WORKERS as usize && starts.values().all(|seqs| seqs.len() >= 200)
    };
    eventually("all have started", || async { whole(&starts) }).await;
    for worker in 0..WORKERS {
        eventually("all have ended", || async {
            let ok = host.ended("counts", worker, "broadcast", "ok").await;
            ok + host.ended("counts", worker, "broadcast", "crashed").await == 200.0
        })
        .await;
        let crashed = host.ended("counts", worker, "broadcast", "crashed").await;
        assert!(crashed >= 10.0, "{crashed} crashed in worker-{worker}");
    }
    for (worker, seqs) in &*starts.lock().unwrap() {
        assert_eq!(*seqs, (1..=200).collect::<Vec<u64>>(), "worker-{worker}");
    }
}

#[tokio::test]
async fn a_crash_fails_only_the_started_broadcast_which_is_not_retried() {
    fn dies(worker: u32, seq: u64) -> bool {
        (worker, seq) == (1, 3) || (worker, seq) == (0, 5)
    }
    let starts = Starts::default();
    let host = restless(TestHost::with("counts").probe(noting(&starts, dies))).start().await;
    for seq in 1..=8 {
        let entries = host.gather("counts", "append", "x").await;
        for (worker, entry) in entries.iter().enumerate() {
            let crashed = entry.pointer("/error/code").is_some_and(|code| code == "crashed");
            assert_eq!(crashed, dies(worker as u32, seq), "{seq}: {entry}");
        }
    }
    // The restarted instances have seen only the later broadcasts.
    assert_eq!(seqs(&heard(&host, 1).await), [4, 5, 6, 7, 8]);
    assert_eq!(seqs(&heard(&host, 0).await), [6, 7, 8]);
    assert_eq!(starts.lock().unwrap()[&0], [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[tokio::test]
async fn broadcasts_queued_behind_a_crash_run_in_the_next_instance() {
    let gate = Gate::before(|call| broadcast("append", call) == Some((0, 1)));
    let passing = gate.clone();
    let host = TestHost::with("counts")
        .probe(Arc::new(move |call| assert!(!passing.pass(call), "a panic for the test")))
        .start()
        .await;
    for number in 1..=6 {
        host.emit("counts", "append", number.to_string()).await;
    }
    eventually("the first broadcast starts", || async { gate.reached() == 1 }).await;
    gate.open();
    assert_eq!(seqs(&heard_all(&host, 0, 5).await), [2, 3, 4, 5, 6]);
    assert_eq!(seqs(&heard_all(&host, 1, 6).await), [1, 2, 3, 4, 5, 6]);
    assert_eq!(host.ended("counts", 0, "broadcast", "crashed").await, 1.0);
}

#[tokio::test]
async fn emitting_never_reenters_the_guest() {
    // A serial guest runs its own broadcast after the emitting call has ended, even if that call
    // waits.
    let host = TestHost::with("counts").limit("counts", "concurrency", 1).start().await;
    let looked = host.run(0, "counts", "look", "first".into()).await;
    assert_eq!(looked, json!({ "before": 0, "emitted": 0, "waited": 0 }));
    assert_eq!(seqs(&heard_all(&host, 0, 1).await), [1]);

    // A concurrent guest runs it while the emitting call waits, but not inside `emit`.
    let host = TestHost::with("counts").workers(1).start().await;
    let looked = host.run(0, "counts", "look", "first".into()).await;
    assert_eq!(looked, json!({ "before": 0, "emitted": 0, "waited": 1 }));
}
