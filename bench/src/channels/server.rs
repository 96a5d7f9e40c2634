//! `fanfare serve` with the test guest of channels, and who publishes there.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::members;
use crate::machine;
use crate::streams::child::{Child, now};
use crate::streams::client::{MARK, MARKS};
use crate::streams::guest;

/// The test guest that publishes.
const MODULE: &str = "channels";

pub struct Node {
    pub child: Child,
    pub address: String,
    requests: TcpStream,
}

impl Node {
    pub fn start(workers: usize) -> Node {
        let dir = machine::empty_dir("channels");
        machine::test_guest(&dir.join("modules"), MODULE);
        // Bounds that protect memory do not limit the clients, and none has to answer pings.
        let config = json!({
            "workers": workers,
            "brokers": 1,
            "http": { "maxConnections": 1_000_000 },
            "hub": { "topics": 200_000 },
            "websocket": {
                "maxClients": 1_000_000, "pingInterval": "1h", "pingTimeout": "24h",
                "listeners": [{ "path": members::PATH, "module": MODULE }],
            },
            "modules": { MODULE: { "grants": { "sessions": true, "channels": ["lobby/*"] } } },
            "stateDir": machine::state_dir(),
        });
        fs::write(dir.join("fanfare.json"), config.to_string()).unwrap();
        let (child, address) = guest::serve(&dir);
        Node { child, requests: TcpStream::connect(&address).unwrap(), address }
    }

    /// Asks the guest to publish, and returns when the request was sent.
    pub fn publish(&mut self, channel: &str, count: u64) -> u64 {
        publish(&mut self.requests, channel, count)
    }

    /// Asks the guest to publish numbers, and waits until it has.
    pub fn burst(&mut self, channel: &str, count: u64) {
        let answer = self.ask("burst", &json!({ "channel": channel, "from": 1, "to": count }));
        assert_eq!(answer, json!(count), "a message was refused");
    }

    /// The number of messages that a channel keeps.
    pub fn kept(&mut self, channel: &str) -> usize {
        let page = self.ask("use", &json!({ "do": "history", "channel": channel, "after": null, "most": 1_000 }));
        page["messages"].as_array().unwrap_or_else(|| panic!("{page}")).len()
    }

    /// Waits until the host knows that no client is subscribed.
    pub fn until_nobody(&mut self, channel: &str) {
        while self.ask("use", &json!({ "do": "count", "channel": channel })) != json!(0) {
            std::thread::yield_now();
        }
    }

    fn ask(&mut self, route: &str, body: &Value) -> Value {
        let body = body.to_string();
        let length = body.len();
        let request =
            format!("POST /api/{MODULE}/{route} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}");
        self.requests.write_all(request.as_bytes()).unwrap();
        let (mut answer, mut part) = (Vec::new(), [0; 1 << 16]);
        loop {
            let count = self.requests.read(&mut part).unwrap();
            assert!(count > 0, "the host has closed the connection");
            answer.extend_from_slice(&part[..count]);
            if let Some(body) = body_of(&answer) {
                return serde_json::from_slice(body).unwrap();
            }
        }
    }
}

/// The body of a response, if all of it is there.
fn body_of(answer: &[u8]) -> Option<&[u8]> {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&answer[..head]).to_lowercase();
    assert!(text.starts_with("http/1.1 200"), "{}", String::from_utf8_lossy(answer));
    let length = text.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let length: usize = length.trim().parse().unwrap();
    answer.get(head..head + length)
}

fn publish(requests: &mut TcpStream, channel: &str, count: u64) -> u64 {
    let mut begun = None;
    for _ in 0..count {
        let publish = json!({ "do": "publish", "channel": channel, "payload": { "text": text() } });
        let sent = guest::post(requests, &format!("/api/{MODULE}/use"), &publish);
        begun.get_or_insert(sent);
    }
    begun.unwrap_or_else(now)
}

/// A text with the marks that the subscribers count.
fn text() -> String {
    char::from(MARK).to_string().repeat(MARKS)
}

/// Publishes to one channel.
pub enum Publisher {
    Client { socket: TcpStream, channel: &'static str, waiting: u64 },
    Guest { requests: TcpStream, channel: &'static str },
}

impl Publisher {
    pub fn client(node: &Node, channel: &'static str) -> Publisher {
        Publisher::Client { socket: members::connect(&node.address), channel, waiting: 0 }
    }

    pub fn guest(node: &Node, channel: &'static str) -> Publisher {
        Publisher::Guest { requests: TcpStream::connect(&node.address).unwrap(), channel }
    }

    /// Publishes messages and returns when this began.
    pub fn publish(&mut self, count: u64) -> u64 {
        match self {
            Publisher::Client { socket, channel, waiting } => {
                let message = json!({ "event": "#publish", "data": { "channel": channel, "data": text() }, "cid": 9 });
                let frames = members::frame(&message.to_string()).repeat(usize::try_from(count).unwrap());
                *waiting = count;
                let begun = now();
                socket.write_all(&frames).unwrap();
                begun
            }
            Publisher::Guest { requests, channel } => publish(requests, channel, count),
        }
    }

    /// Reads the acknowledgements.
    pub fn settle(&mut self) {
        let Publisher::Client { socket, waiting, .. } = self else { return };
        let (mut rest, mut part) = (Vec::new(), [0; 1 << 12]);
        while *waiting > 0 {
            let count = socket.read(&mut part).unwrap();
            assert!(count > 0, "the host has closed the connection of the publisher");
            rest.extend_from_slice(&part[..count]);
            while let Some((frame, text)) = members::first_frame(&rest) {
                assert!(!text.contains("\"error\""), "{text}");
                *waiting -= 1;
                rest.drain(..frame);
            }
        }
    }
}
