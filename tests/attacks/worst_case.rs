//! Fills everything that the host bounds at the same time, and compares its memory with the formula
//! of SECURITY.md.

use std::net::SocketAddr;

use futures_util::StreamExt;
use futures_util::stream;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::channels::Client;
use crate::cli::project::{Project, Serving};
use crate::harness::websocket::TEXT;
use crate::harness::{Connection, WebSocket, eventually};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The modules of the test.
const MODULES: [&str; 3] = ["sessions", "channels", "streams"];

/// The settings in the formula, with the names that they have in `fanfare.json`.
struct Settings {
    workers: u64,
    http: Http,
    hub: Hub,
    sse: Queue,
    websocket: WebSockets,
    events: Events,
    engine: Engine,
    limits: Limits,
}

struct Http {
    max_connections: u64,
    max_buffered: u64,
    max_body: u64,
}

struct Hub {
    history: u64,
    queued: u64,
    topics: u64,
}

struct Queue {
    max_clients: u64,
    events: u64,
}

struct WebSockets {
    clients: Queue,
    session_size: u64,
    in_flight: u64,
    socket_channel_limit: u64,
}

struct Events {
    history: u64,
    queue: u64,
}

struct Engine {
    max_component: u64,
    max_instance_size: u64,
}

struct Limits {
    memory: u64,
    queued: u64,
    payload: u64,
    concurrency: u64,
    nested: u64,
    mailbox: u64,
    subscriptions: u64,
}

const SETTINGS: Settings = Settings {
    workers: 2,
    http: Http { max_connections: 500, max_buffered: 16 * MIB, max_body: 256 * KIB },
    hub: Hub { history: 16 * MIB, queued: 8 * MIB, topics: 2_000 },
    sse: Queue { max_clients: 100, events: 256 },
    websocket: WebSockets {
        clients: Queue { max_clients: 200, events: 256 },
        session_size: 64 * KIB,
        in_flight: 16,
        socket_channel_limit: 100,
    },
    events: Events { history: 16 * MIB, queue: MIB },
    engine: Engine { max_component: 2 * MIB, max_instance_size: 4 * MIB },
    limits: Limits {
        memory: 8 * MIB,
        queued: 2 * MIB,
        payload: 256 * KIB,
        concurrency: 4,
        nested: 2,
        mailbox: 256,
        subscriptions: 4,
    },
};

/// A line of the formula: its name, its bytes, and whether the test fills it.
type Line = (&'static str, u64, bool);

/// The formula of "Worst-case memory" in SECURITY.md, line by line.
fn worst_case(settings: &Settings) -> Vec<Line> {
    let Settings { workers, http, hub, sse, websocket, events, engine, limits } = settings;
    let module = workers
        * (limits.memory
            + engine.max_instance_size
            + 3 * limits.queued
            + (limits.concurrency + limits.nested) * 4 * limits.payload
            + limits.subscriptions * MIB);
    let session = websocket.session_size + 256 * KIB + websocket.in_flight * 2 * KIB + websocket.clients.events * 32;
    let subscriptions = 1_000_000.min(websocket.clients.max_clients * websocket.socket_channel_limit);
    let modules = MODULES.len() as u64;
    vec![
        ("idle host", 40 * MIB, true),
        ("log lines and host events", 72 * MIB, false),
        ("modules", modules * module, true),
        ("hooks", modules * limits.mailbox * 32 * KIB, false),
        ("connections", 2 * http.max_buffered + http.max_connections * 96 * KIB, true),
        ("operator", 64 * 4 * http.max_body, false),
        ("messages", 3 * (hub.history + (1 + 2 * workers) * hub.queued) / 2 + hub.topics * 2 * KIB, true),
        ("streams", sse.max_clients * sse.events * 32, true),
        ("sessions", websocket.clients.max_clients * session, true),
        ("subscriptions to channels", subscriptions * KIB, true),
        ("lists of members", 32 * MIB, false),
        ("messages that wait for routes of channels", 128 * MIB, false),
        ("events", events.history + 2 * events.queue + 4 * MIB, true),
        ("reloads", 8 * engine.max_component, false),
    ]
}

fn config(settings: &Settings) -> Value {
    let Settings { workers, http, hub, sse, websocket, events, engine, limits } = settings;
    let bytes = |bytes: u64| format!("{bytes}B");
    let limits = json!({
        "memory": bytes(limits.memory), "queued": bytes(limits.queued), "payload": bytes(limits.payload),
        "concurrency": limits.concurrency, "nested": limits.nested, "mailbox": limits.mailbox,
        "subscriptions": limits.subscriptions, "timeout": "20s", "cpu": "5s",
    });
    json!({
        "workers": workers,
        "http": {
            "listen": "127.0.0.1:0", "maxConnections": http.max_connections, "maxBuffered": bytes(http.max_buffered),
            "maxBody": bytes(http.max_body), "bodyTimeout": "5m",
        },
        "hub": { "history": bytes(hub.history), "queued": bytes(hub.queued), "topics": hub.topics },
        "sse": {
            "maxClients": sse.max_clients, "queue": { "events": sse.events },
            "history": { "count": 100, "bytes": "2MiB" },
        },
        "websocket": {
            "listeners": [{ "path": "/socketcluster/", "module": "channels" }],
            "maxClients": websocket.clients.max_clients, "queue": { "events": websocket.clients.events },
            "sessionSize": bytes(websocket.session_size), "inFlight": websocket.in_flight,
            "socketChannelLimit": websocket.socket_channel_limit, "pingInterval": "1h", "pingTimeout": "2h",
            "messageTimeout": "5m", "maxMessage": "8MiB",
        },
        "events": {
            "listen": "127.0.0.1:0", "history": { "bytes": bytes(events.history) },
            "queue": { "bytes": bytes(events.queue) },
        },
        "engine": {
            "maxComponent": bytes(engine.max_component), "maxInstanceSize": bytes(engine.max_instance_size),
        },
        "limits": { "max": limits },
        "modules": {
            "sessions": { "limits": limits, "grants": { "sessions": true } },
            "channels": { "limits": limits, "grants": { "sessions": true, "channels": ["lobby/*"] } },
            "streams": { "limits": limits },
        },
    })
}

/// Posts a body, whatever the answer is.
async fn post(address: SocketAddr, path: &str, body: impl Into<Vec<u8>>) {
    let headers = [("content-type", "application/json"), ("connection", "close")];
    Connection::open(address).await.send("POST", path, &headers, body).await;
}

/// Does something a number of times, eight at once.
async fn many<F: Future<Output = T>, T>(count: usize, one: impl Fn(usize) -> F) -> Vec<T> {
    stream::iter(0..count).map(one).buffer_unordered(8).collect().await
}

/// A client that reads nothing, and has a small receive buffer.
async fn deaf(address: SocketAddr, request: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// A session with as many values as there may be.
async fn full_session(serving: &Serving) -> WebSocket {
    let mut socket = WebSocket::open(serving.http, "/api/sessions/use").await;
    for part in 0..4 {
        let value = format!("\"{}\"", "x".repeat(54));
        let values: Vec<_> = (0..256).map(|index| (format!("{part}-{index}"), value.clone())).collect();
        assert_eq!(socket.ask(json!({ "do": "set", "session": null, "values": values })).await, Value::Null);
    }
    socket
}

/// A member of as many channels as a client may have, which says as much about itself as it may.
async fn full_member(serving: &Serving) -> Client {
    let mut client = Client::at(serving.http, 2).await;
    for index in 0..SETTINGS.websocket.socket_channel_limit {
        let info = if index < 16 { "i".repeat(4_094) } else { String::new() };
        let channel = format!("channels/presence/{index}");
        let data =
            if info.is_empty() { json!({ "channel": channel }) } else { json!({ "channel": channel, "data": info }) };
        client.ok("#subscribe", data).await;
    }
    client
}

/// A client that has sent a message of 8 MiB but for its end.
async fn partial_message(serving: &Serving) -> Option<WebSocket> {
    let mut socket = WebSocket::open(serving.http, "/api/sessions/echo").await;
    let mut frame = vec![0x80 | TEXT, 0x80 | 127];
    frame.extend_from_slice(&(8 * MIB).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.resize(8 * MIB as usize - 1_000, b'x');
    // The host closes the connection if it has no room for the message.
    socket.socket.write_all(&frame).await.ok().map(|()| socket)
}

/// Fills histories, queues and logs with far more than they keep. Returns the readers that do not
/// read.
async fn flood(serving: &Serving, events: SocketAddr) -> Vec<TcpStream> {
    let request = |index| {
        format!("GET /stream?connectKey=streams/{index} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n")
    };
    let slow = many(80, async |index| deaf(serving.http, &request(index)).await).await;
    eventually("the streams are open", || async { serving.metric("fanfare_hub_connections", &[]).await >= 80.0 }).await;
    many(500, async |index| {
        let burst = json!({ "key": format!("streams/{index}"), "count": 6, "size": 160_000 });
        post(serving.http, "/api/streams/burst", burst.to_string()).await;
    })
    .await;
    many(400, async |index| {
        // Each character becomes six in a packet.
        let channel = format!("channels/history/{}", index % 200);
        let payload = json!({ "text": "\u{1}".repeat(20_000) });
        let publish = json!({ "do": "publish", "channel": channel, "payload": payload });
        post(serving.http, "/api/channels/use", publish.to_string()).await;
    })
    .await;
    let list: Vec<_> =
        (0..100).map(|index| json!({ "type": format!("t{index}"), "value": "v".repeat(9_000) })).collect();
    let list = json!(list).to_string();
    many(240, async |_| post(events, "/events", list.clone()).await).await;
    slow
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_everything_full_the_host_needs_no_more_memory_than_security_md_says() {
    let project = Project::with(&MODULES).config(config(&SETTINGS));
    let mut serving = project.serve(&[]).await;
    let events = serving.line().await;
    let events = events.rsplit_once("http://").expect("the address of the event service").1.parse().unwrap();

    let sessions = many(80, async |_| full_session(&serving).await).await;
    let members = many(25, async |_| full_member(&serving).await).await;
    let slow = flood(&serving, events).await;
    // Last, because a host without room for bodies rejects requests.
    let partial = many(60, async |_| partial_message(&serving).await).await;
    let body = "b".repeat(SETTINGS.http.max_body as usize - 1_000);
    let request = format!(
        "POST /api/streams/publish HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        SETTINGS.http.max_body
    );
    let bodies = many(80, async |_| {
        let mut stream = TcpStream::connect(serving.http).await.unwrap();
        _ = stream.write_all(request.as_bytes()).await;
        stream
    })
    .await;
    // Each part was full.
    for (metric, least) in [
        ("fanfare_hub_evicted_total", 1_000.0),
        ("fanfare_http_buffered_refused_total", 1.0),
        ("fanfare_channel_subscriptions", 2_500.0),
        ("fanfare_events_kept_bytes", 15.0 * MIB as f64),
        ("fanfare_hub_history_bytes", 12.0 * MIB as f64),
    ] {
        let value = serving.metric(metric, &[]).await;
        assert!(value >= least, "{metric}: {value}");
    }
    let (peak, lines) = (serving.peak_memory(), worst_case(&SETTINGS));
    let most: u64 = lines.iter().filter(|(.., is_filled)| *is_filled).map(|(_, bytes, _)| bytes).sum();
    println!("peak memory of the host: {} MiB of {} MiB", peak / MIB, most / MIB);
    assert!(peak < most, "{peak} of {most}: {lines:?}");
    drop((sessions, members, slow, partial, bodies));
    serving.signal(Signal::KILL);
    serving.ended().await;
}
