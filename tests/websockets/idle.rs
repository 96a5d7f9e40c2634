//! Ten thousand idle WebSockets. The host and the clients are processes of their own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{GUEST, path};
use crate::cli::project::{Project, Serving, memory_of};
use crate::harness::crowd::{Crowd, clients, read_until};
use crate::harness::websocket::{KEY, TEXT, masked};
use crate::harness::{Connection, eventually};

/// A generous bound on the memory of an idle client in bytes. The benchmark `websockets` measures
/// it.
const MOST_MEMORY: f64 = 6_000.0;

const CROWD: &str = "websockets::idle::the_clients_in_a_process_of_their_own";

#[test]
fn the_clients_in_a_process_of_their_own() {
    Crowd::run(connect);
}

fn connect(mut stream: TcpStream, number: usize) -> TcpStream {
    let head = format!(
        "GET {} HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n\r\n",
        path("use")
    );
    stream.write_all(head.as_bytes()).unwrap();
    read_until(&mut stream, "\r\n\r\n").unwrap_or_else(|| panic!("client {number} is not connected"));
    // A tenth of the clients are in a group, and have sent something.
    if number.is_multiple_of(10) {
        let current = ask(&mut stream, &json!({ "do": "current" }));
        let joined = ask(&mut stream, &json!({ "do": "join", "group": "some", "sessions": [current["id"]] }));
        assert_eq!(joined, 1);
    }
    stream
}

/// Sends a message, and reads its reply, which is one small frame.
fn ask(stream: &mut TcpStream, what: &Value) -> Value {
    stream.write_all(&masked(true, TEXT, what.to_string().as_bytes())).unwrap();
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            u16::from_be_bytes(length).into()
        }
        length => usize::from(length),
    };
    let mut text = vec![0; length];
    stream.read_exact(&mut text).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn host() -> Project {
    Project::with(&[GUEST]).config(json!({
        "http": { "listen": "127.0.0.1:0", "maxConnections": 1_000_000 },
        // Nobody answers pings.
        "websocket": { "maxClients": 1_000_000, "pingInterval": "1h", "pingTimeout": "24h" },
        "modules": { GUEST: { "grants": { "sessions": true } } },
    }))
}

async fn run(serving: &Serving, what: Value) -> Value {
    let mut connection = Connection::open(serving.http).await;
    let answer = connection.send("POST", &path("outside/use"), &[], what.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn count(serving: &Serving) -> u64 {
    run(serving, json!({ "do": "count" })).await[0].as_u64().unwrap()
}

/// Sends a text, and returns how many sessions it is queued for.
async fn send(serving: &Serving, to: Value, text: &str) -> u64 {
    run(serving, json!({ "do": "send", "to": to, "name": "n", "payload": text })).await.as_u64().unwrap()
}

fn resident(serving: &Serving) -> f64 {
    memory_of(serving.pid(), "VmRSS").unwrap() as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_clients_cost_little_and_leave_nothing() {
    let clients = clients();
    let serving = host().serve(&[]).await;
    assert_eq!(count(&serving).await, 0);
    let before = resident(&serving);
    let mut after_rounds = Vec::new();
    for round in 0..3 {
        let begun = Instant::now();
        let mut crowd = Crowd::start(CROWD, serving.http, clients);
        assert_eq!((crowd.open(), count(&serving).await), (clients, clients as u64));
        let each = (resident(&serving) - before) / clients as f64;
        println!("{clients} idle clients after {:?}: {each:.0} bytes of memory each", begun.elapsed());
        assert!(each < MOST_MEMORY, "{each} bytes for each client");
        // The host serves requests as before.
        let asked = Instant::now();
        count(&serving).await;
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());

        let text = format!("to all in round {round}.");
        assert_eq!(send(&serving, json!("everyone"), &text).await, clients as u64);
        assert_eq!(crowd.read(&text), clients);
        let text = format!("to some in round {round}.");
        assert_eq!(send(&serving, json!({ "group": "some" }), &text).await, clients.div_ceil(10) as u64);
        // All of them leave at once.
        crowd.signal(Signal::KILL);
        eventually("all have left", || async { count(&serving).await == 0 }).await;
        assert_eq!(run(&serving, json!({ "do": "members", "group": "some" })).await, json!([]));
        drop(crowd);
        after_rounds.push(resident(&serving));
        println!("round {round} took {:?}", begun.elapsed());
    }
    // The allocator keeps more memory after the second round than after the first one, and then no
    // more.
    let [_, second, third] = after_rounds[..] else { panic!() };
    assert!(third < second * 1.1 + 1e6, "memory grows: {second} bytes, then {third}");
}
