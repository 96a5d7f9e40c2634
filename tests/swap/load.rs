//! Load on the module `snapshot`, while swaps or kills replace its instances.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fanfare::tooling::{IsolateId, Trigger};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::{Connection, Http2, Started, TestHost, by_worker, ends, eventually, json_of};

/// The broadcasts that each worker started, by their numbers.
pub type StartedBroadcasts = Arc<Mutex<BTreeMap<IsolateId, Vec<u64>>>>;

/// Records the broadcasts as they start.
pub fn recorded(host: TestHost) -> (TestHost, StartedBroadcasts) {
    let started = StartedBroadcasts::default();
    let notes = started.clone();
    let host = host.probe(Arc::new(move |call| {
        if let Trigger::Broadcast(broadcast) = &call.trigger {
            notes.lock().unwrap().entry(call.context.isolate).or_default().push(broadcast.seq);
        }
    }));
    (host, started)
}

/// Asserts that each worker has started each broadcast once, in order.
pub async fn assert_started_once(started: &StartedBroadcasts, emitted: u64) {
    let all = || async { started.lock().unwrap().values().all(|seqs| seqs.len() as u64 >= emitted) };
    eventually("all broadcasts have started", all).await;
    let started = started.lock().unwrap();
    assert_eq!(started.len(), 2);
    for (isolate, seqs) in &*started {
        assert_eq!(*seqs, (1..=emitted).collect::<Vec<_>>(), "{isolate}");
    }
}

/// The number of answered calls for each worker.
type Answered = Arc<Mutex<BTreeMap<String, u64>>>;

fn note(answered: &Answered, told: &Value) {
    let isolate = told["isolate"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
    *answered.lock().unwrap().entry(isolate).or_default() += 1;
}

/// Keep-alive connections, new connections, HTTP/2 streams, RPC and broadcasts at once. The clients
/// fail when a call fails or a connection is closed.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Answered,
    clients: Vec<JoinHandle<()>>,
    emitter: JoinHandle<u64>,
}

impl Load {
    /// Starts the clients of a host with the modules `snapshot` and `waits`.
    pub async fn start(host: &Started) -> Load {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Answered::default());
        let goes_on = || {
            let stop = stop.clone();
            move || !stop.load(Ordering::Acquire)
        };
        let mut clients = Vec::new();
        for _ in 0..3 {
            let (address, goes_on, answered) = (host.http, goes_on(), answered.clone());
            clients.push(tokio::spawn(async move {
                // `send` fails when the host closes the connection.
                let mut client = Connection::open(address).await;
                while goes_on() {
                    let answer = client.send("POST", "/api/snapshot/count", &[], "").await;
                    assert_eq!((answer.status, answer.header("connection")), (200, None), "{}", answer.text());
                    note(&answered, &answer.json());
                }
            }));
        }
        for _ in 0..2 {
            let (address, goes_on, answered) = (host.http, goes_on(), answered.clone());
            clients.push(tokio::spawn(async move {
                while goes_on() {
                    let answer = Connection::open(address).await.send("GET", "/api/snapshot/count", &[], "").await;
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    note(&answered, &answer.json());
                }
            }));
        }
        let streams = Http2::connect(host.http).await;
        for _ in 0..4 {
            let (streams, goes_on, answered) = (streams.clone(), goes_on(), answered.clone());
            clients.push(tokio::spawn(async move {
                while goes_on() {
                    let (status, body) = streams.send("/api/snapshot/count", String::new()).answer().await;
                    assert_eq!(status, 200, "{body}");
                    note(&answered, &serde_json::from_str(&body).unwrap());
                }
            }));
        }
        for worker in [0_u32, 1] {
            let (address, goes_on, answered) = (host.admin, goes_on(), answered.clone());
            clients.push(tokio::spawn(async move {
                let mut operator = Connection::open(address).await;
                let url = format!("/v1/modules/waits/call?target=worker-{worker}&path=nested");
                let other = json!({ "route": "snapshot/count", "target": { "worker": 1 - worker } }).to_string();
                while goes_on() {
                    let told = json_of(&operator.send("POST", &url, &[], other.as_str()).await.json());
                    let payload = told["ok"]["payload"].as_str().unwrap_or_else(|| panic!("{told}"));
                    note(&answered, &serde_json::from_str(payload).unwrap());
                }
            }));
        }
        let emitter = tokio::spawn(emit_marks(host.admin, goes_on()));
        Load { stop, answered, clients, emitter }
    }

    /// Ends the clients. Returns the calls that each worker has answered, and how many broadcasts
    /// were emitted.
    pub async fn end(self) -> (BTreeMap<String, u64>, u64) {
        self.stop.store(true, Ordering::Release);
        for client in self.clients {
            client.await.unwrap();
        }
        let emitted = self.emitter.await.unwrap();
        let answered = self.answered.lock().unwrap().clone();
        (answered, emitted)
    }
}

/// Emits the broadcast `mark` of `snapshot`, and gathers every second one, as long as `goes_on`
/// says so. Checks that both workers get each, and that their numbers follow each other. Returns
/// how many it has emitted.
async fn emit_marks(admin: SocketAddr, goes_on: impl Fn() -> bool) -> u64 {
    let mut operator = Connection::open(admin).await;
    let mut emitted = 0_u64;
    while goes_on() {
        let gather = if emitted.is_multiple_of(2) { "?gather=true" } else { "" };
        let url = format!("/v1/modules/snapshot/broadcasts/mark{gather}");
        let told = operator.send("POST", &url, &[], "").await.json();
        emitted += 1;
        match told.as_array() {
            Some(_) => assert_eq!(ends(&told), by_worker(&["reply", "reply"]), "{told}"),
            None => assert_eq!((&told["accepted"], &told["seq"]), (&json!(2), &json!(emitted)), "{told}"),
        }
    }
    emitted
}
