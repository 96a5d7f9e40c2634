//! Fills one part of the host with far more than it may keep. What must stay open to keep the part
//! full is returned.

use std::net::SocketAddr;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use super::formula::{KIB, MIB, ROUTES, SETTINGS};
use crate::channels::Client;
use crate::cli::project::Serving;
use crate::harness::websocket::TEXT;
use crate::harness::{Connection, Redis, WebSocket, eventually};

/// The largest text that fits into a payload.
const LARGE: usize = 240_000;

async fn post(address: SocketAddr, path: &str, body: String) -> Value {
    let headers = [("content-type", "application/json"), ("connection", "close")];
    let answer = Connection::open(address).await.send("POST", path, &headers, body).await;
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// Does something a number of times, eight at once.
async fn many<F: Future<Output = T>, T>(count: usize, one: impl Fn(usize) -> F) -> Vec<T> {
    stream::iter(0..count).map(one).buffer_unordered(8).collect().await
}

fn times(times: usize, steps: Value) -> Value {
    json!({ "times": times, "steps": steps })
}

/// Runs a program of a module with the component of `storms`.
async fn run(serving: &Serving, module: &str, program: Value) -> Value {
    post(serving.http, &format!("/api/{module}/run"), program.to_string()).await
}

/// A client that reads nothing, and has a small receive buffer.
async fn deaf(address: SocketAddr, request: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Sessions that store as much as they may, and try to store ten times as much.
pub async fn sessions(serving: &Serving) -> Vec<WebSocket> {
    let text = |size: usize| format!("\"{}\"", "x".repeat(size));
    many(80, async |_| {
        let mut socket = WebSocket::open(serving.http, "/api/sessions/use").await;
        for part in 0..4 {
            let values: Vec<_> = (0..256).map(|index| (format!("{part}-{index}"), text(54))).collect();
            assert_eq!(socket.ask(json!({ "do": "set", "session": null, "values": values })).await, Value::Null);
        }
        for part in 0..10 {
            let values = [(format!("large-{part}"), text(LARGE))];
            socket.ask(json!({ "do": "set", "session": null, "values": values })).await;
        }
        socket
    })
    .await
}

/// Members of as many channels as a client may have, which say as much about themselves as they
/// may.
pub async fn members(serving: &Serving) -> Vec<Client> {
    many(25, async |_| {
        let mut client = Client::at(serving.http, 2).await;
        for index in 0..SETTINGS.websocket.socket_channel_limit {
            let channel = format!("channels/presence/{index}");
            let info = "i".repeat(4_094);
            let data = match index < 16 {
                true => json!({ "channel": channel, "data": info }),
                false => json!({ "channel": channel }),
            };
            client.ok("#subscribe", data).await;
        }
        client
    })
    .await
}

/// The streams that nobody reads.
const SLOW: usize = 30;

/// Readers of live streams that read nothing, histories, and histories of channels.
pub async fn streams(serving: &Serving) -> Vec<TcpStream> {
    let request = |index| {
        format!("GET /stream?connectKey=streams/{index} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n")
    };
    let slow = many(SLOW, async |index| deaf(serving.http, &request(index)).await).await;
    let all = SLOW as f64;
    eventually("the streams are open", || async { serving.metric("fanfare_hub_connections", &[]).await >= all }).await;
    let burst = async |index: usize, count: usize| {
        let burst = json!({ "key": format!("streams/{index}"), "count": count, "size": 160_000 });
        post(serving.http, "/api/streams/burst", burst.to_string()).await;
    };
    // The system keeps up to 4 MB for each reader. A large burst would fill the inbox of the worker
    // instead of the outboxes of the readers.
    many(40 * SLOW, async |at| burst(at % SLOW, 2).await).await;
    many(400 - SLOW, async |at| burst(SLOW + at, 6).await).await;
    many(400, async |index| {
        // Each character becomes six in a packet.
        let channel = format!("channels/history/{}", index % 200);
        let payload = json!({ "text": "\u{1}".repeat(20_000) });
        let publish = json!({ "do": "publish", "channel": channel, "payload": payload });
        post(serving.http, "/api/channels/use", publish.to_string()).await;
    })
    .await;
    slow
}

/// Members of a channel that read nothing.
pub async fn sockets(serving: &Serving) -> Vec<Client> {
    let slow = many(40, async |_| {
        let mut client = Client::at(serving.http, 2).await;
        client.ok("#subscribe", json!({ "channel": "lobby/deaf" })).await;
        client
    })
    .await;
    let publish = json!({ "do": "publish", "channel": "lobby/deaf", "payload": { "size": 100_000 } }).to_string();
    many(200, async |_| post(serving.http, "/api/channels/use", publish.clone()).await).await;
    slow
}

/// The log of events, and the queues of subscriptions to them whose handlers never return.
pub async fn events(serving: &Serving, service: SocketAddr) {
    let subscribe = json!([{ "do": "eventsSubscribe", "pattern": "*", "route": "react" }]).to_string();
    for worker in 0..SETTINGS.workers {
        let path = format!("/v1/modules/storms/call?target=worker-{worker}&path=run");
        post(serving.admin, &path, subscribe.clone()).await;
    }
    let event = |index: usize| json!({ "type": format!("t{index}"), "value": "v".repeat(19_000) });
    let list = json!((0..50).map(event).collect::<Vec<_>>()).to_string();
    many(240, async |_| post(service, "/events", list.clone()).await).await;
}

/// What waits for the routes of channels, which never return.
pub async fn routes(serving: &Serving) {
    let publish = |channel: usize, size: usize| {
        let channel = format!("{ROUTES}/{channel}");
        json!({ "do": "channelPublish", "channel": channel, "payload": { "size": size } })
    };
    let steps = |channel| json!([times(60, json!([publish(channel, LARGE)]))]);
    many(30, async |channel| run(serving, ROUTES, steps(channel)).await).await;
}

/// Log lines that nobody reads.
pub async fn log(serving: &Serving) {
    let line = json!([{ "do": "log", "message": { "long": 4_000 } }]);
    many(12, async |_| run(serving, "storms", json!([times(5_000, line.clone())])).await).await;
}

/// Host events for hooks that never return, folders that are too large to be all in memory, and a
/// module that is swapped again and again.
pub async fn reloads(serving: &Serving, folders: &[String]) {
    let reload = async |name: &str| post(serving.admin, &format!("/v1/modules/{name}/reload"), String::new()).await;
    many(folders.len() * 3, async |index| reload(&folders[index % folders.len()]).await).await;
    for _ in 0..3 * SETTINGS.limits.mailbox / 4 {
        reload("streams").await;
    }
}

/// Entries of a stream whose handler never returns, and messages for a server that is frozen.
pub async fn redis(serving: &Serving, redis: &Redis) {
    let entry = format!("redis.call('xadd', 'jobs', '*', 'text', string.rep('x', {LARGE}))");
    redis.cli(&["EVAL", &format!("for n = 1, 200 do {entry} end"), "0"]);
    eventually("an entry is read", || async { redis.pending("jobs", "fanfare") > 0 }).await;
    redis.freeze();
    let message = json!([{ "do": "message", "connection": "redis", "topic": "news", "payload": { "size": LARGE } }]);
    many(15, async |_| run(serving, "storms", json!([times(100, message.clone())])).await).await;
}

/// Messages and bodies but for their ends. A host without room for them rejects requests.
pub async fn bodies(serving: &Serving) -> (Vec<Option<WebSocket>>, Vec<TcpStream>) {
    let partial = many(60, async |_| {
        let mut socket = WebSocket::open(serving.http, "/api/sessions/echo").await;
        let mut frame = vec![0x80 | TEXT, 0x80 | 127];
        frame.extend_from_slice(&(8 * MIB).to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.resize(8 * MIB as usize - 1_000, b'x');
        // The host closes the connection if it has no room for the message.
        socket.socket.write_all(&frame).await.ok().map(|()| socket)
    })
    .await;
    let most = SETTINGS.http.max_body;
    let body = "b".repeat((most - KIB) as usize);
    let request = format!("POST /api/streams/publish HTTP/1.1\r\nhost: x\r\ncontent-length: {most}\r\n\r\n{body}");
    let bodies = many(80, async |_| {
        let mut stream = TcpStream::connect(serving.http).await.unwrap();
        _ = stream.write_all(request.as_bytes()).await;
        stream
    })
    .await;
    (partial, bodies)
}
