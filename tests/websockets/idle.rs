//! Ten thousand idle WebSockets. The host and the clients are processes of their own.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::{GUEST, path};
use crate::cli::project::{Project, Serving, memory_of};
use crate::harness::Connection;
use crate::harness::crowd::{Crowd, come_and_go, read_until};
use crate::harness::websocket::{KEY, TEXT, masked};

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
    let serving = host().serve(&[]).await;
    let publish = async |crowd: &mut Crowd, clients: usize, round: u32| {
        let text = format!("to all in round {round}.");
        assert_eq!(send(&serving, json!("everyone"), &text).await, clients as u64);
        assert_eq!(crowd.read(&text), clients);
        let text = format!("to some in round {round}.");
        assert_eq!(send(&serving, json!({ "group": "some" }), &text).await, clients.div_ceil(10) as u64);
    };
    come_and_go(CROWD, serving.http, || resident(&serving), async || count(&serving).await, publish).await;
    assert_eq!(run(&serving, json!({ "do": "members", "group": "some" })).await, json!([]));
}
