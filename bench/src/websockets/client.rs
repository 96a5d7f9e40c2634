//! A client that sends messages and waits for their replies, in a process of its own.
//!
//! It prints `ready`, waits for a line, sends its messages, and prints `done <nanoseconds>`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::server::{Kind, Server};
use crate::streams::child::Child;

/// The text of a message: 64 bytes.
const TEXT: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What a client sends: a text, or an event of SocketCluster with this name.
pub const PLAIN: &str = "-";

/// `socket-client <address> <path> <event, or - for a plain text> <in flight> <messages>`
pub fn main(arguments: &[String]) {
    let [address, path, event, in_flight, messages] = arguments else {
        panic!("socket-client <address> <path> <event, or - for a plain text> <in flight> <messages>")
    };
    let (in_flight, messages): (usize, usize) = (in_flight.parse().unwrap(), messages.parse().unwrap());
    let mut client = Client::open(address, path, Some(event.as_str()).filter(|event| *event != PLAIN));
    client.run(in_flight, messages.div_ceil(10));
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let begun = Instant::now();
    client.run(in_flight, messages);
    println!("done {}", begun.elapsed().as_nanos());
}

struct Client<'a> {
    stream: TcpStream,
    /// The beginning of a frame.
    rest: Vec<u8>,
    buffer: Vec<u8>,
    /// That of SocketCluster. `None` sends plain texts.
    event: Option<&'a str>,
    /// The number of the next event of SocketCluster.
    next: u64,
}

impl<'a> Client<'a> {
    fn open(address: &str, path: &str, event: Option<&'a str>) -> Client<'a> {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        // The key is the example of RFC 6455.
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        let mut client = Client { stream, rest: Vec::new(), buffer: vec![0; 1 << 16], event, next: 2 };
        if event.is_some() {
            let handshake = r##"{"event":"#handshake","data":{"authToken":null},"cid":1}"##;
            client.stream.write_all(&frame(handshake)).unwrap();
            assert_eq!(client.receive(), 1);
        }
        client
    }

    /// Sends messages, at most a number of them before their replies.
    fn run(&mut self, in_flight: usize, messages: usize) {
        let (mut sent, mut received) = (0, 0);
        while received < messages {
            let more = (messages - sent).min(in_flight - (sent - received));
            self.send(more);
            sent += more;
            received += self.receive();
        }
    }

    /// Sends a number of messages with one write.
    fn send(&mut self, count: usize) {
        let mut bytes = Vec::new();
        for _ in 0..count {
            match self.event {
                None => bytes.extend(frame(TEXT)),
                Some(event) => {
                    bytes.extend(frame(&format!(r#"{{"event":"{event}","data":"{TEXT}","cid":{}}}"#, self.next)));
                }
            }
            self.next += 1;
        }
        self.stream.write_all(&bytes).unwrap();
    }

    /// Reads once, and returns the number of messages that are complete.
    fn receive(&mut self) -> usize {
        let count = self.stream.read(&mut self.buffer).unwrap();
        assert!(count > 0, "the server has closed the connection");
        self.rest.extend_from_slice(&self.buffer[..count]);
        let (mut frames, mut left) = (0, self.rest.as_slice());
        while let Some(length) = whole_frame(left) {
            assert_eq!(left[0], 0x81, "a text, as one frame");
            left = &left[length..];
            frames += 1;
        }
        self.rest = left.to_vec();
        frames
    }
}

/// The length of the first frame, if all of it is there.
fn whole_frame(bytes: &[u8]) -> Option<usize> {
    let length = match bytes.get(1)? {
        126 => 4 + usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
        short => 2 + usize::from(*short),
    };
    (bytes.len() >= length).then_some(length)
}

/// A masked text of fewer than 126 bytes.
fn frame(text: &str) -> Vec<u8> {
    let mask = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).ok().filter(|length| *length < 126).unwrap()];
    frame.extend_from_slice(&mask);
    frame.extend(text.bytes().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Messages a second, and the processor time of the server for one of them, in microseconds.
pub fn measure(kind: &Kind, server: &Server, in_flight: usize, messages: usize) -> (f64, f64) {
    let event = if kind.is_socketcluster { "echo" } else { PLAIN };
    let mut client = Sender::start(&server.address, kind.path, event, in_flight, messages);
    let before = server.child.processor();
    client.begin();
    let took = client.took();
    let processor = server.child.processor() - before;
    (messages as f64 / took * 1e9, processor / messages as f64 * 1e6)
}

/// A client as a child process.
pub struct Sender(Child);

impl Sender {
    /// Connects it, and lets it send a tenth of its messages.
    pub fn start(address: &str, path: &str, event: &str, in_flight: usize, messages: usize) -> Sender {
        let (in_flight, count) = (in_flight.to_string(), messages.to_string());
        let mut client = Child::start(&["socket-client", address, path, event, &in_flight, &count]);
        assert_eq!(client.line(), "ready");
        Sender(client)
    }

    pub fn begin(&mut self) {
        self.0.send("go");
    }

    /// The time until it had all replies, in nanoseconds.
    pub fn took(&mut self) -> f64 {
        let line = self.0.line();
        line.strip_prefix("done ").unwrap_or_else(|| panic!("{line}")).parse().unwrap()
    }
}
