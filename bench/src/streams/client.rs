//! A reader of many streams, in a process of its own: one thread, one epoll. It counts the events
//! of each stream and says when the last one has arrived.
//!
//! Commands are lines on standard input:
//!
//! - `await <n>`: answers `ready`, then `done <last> <fewest> <most>` when all streams
//!   have received `n` events each. The time is in nanoseconds of the wall clock. The counts
//!   are the marks of the stream with the fewest and of the stream with the most.
//! - the end of the input ends the process.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::child::{Child, now};

/// The data of each event contains this byte [`MARKS`] times. Nothing else in the body does.
pub const MARK: u8 = b'x';
pub const MARKS: usize = 24;

/// The number of connections that are opened before the reader waits for their heads, so that the
/// queue of the listener never overflows.
const AT_ONCE: usize = 100;

/// How long the reader lets events gather before it looks again. If it woke for each of them, then
/// its own switches would take more time than the server's writes.
const GATHER: Duration = Duration::from_micros(100);

struct Stream {
    socket: TcpStream,
    marks: u64,
    open: bool,
}

/// What a reader opens: how the fields of its request end, and the status of the response.
type Opening = (&'static str, &'static str);

const SSE: Opening = ("accept: text/event-stream", "HTTP/1.1 200");

/// The key is the example of RFC 6455.
const WEBSOCKET: Opening = (
    "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "HTTP/1.1 101",
);

/// `stream-reader <address> <streams> <path> <sse or websocket>`. A path that ends with `-` gets
/// the number of the stream appended.
pub fn main(arguments: &[String]) {
    let [address, streams, path, kind] = arguments else {
        panic!("stream-reader <address> <streams> <path> <sse or websocket>")
    };
    fanfare::raise_descriptor_limit();
    let mut reader = Reader::new(if kind == "websocket" { WEBSOCKET } else { SSE });
    reader.open(address.parse().unwrap(), streams.parse().unwrap(), path);
    println!("open {}", reader.streams.len());
    let target = Arc::new(AtomicU64::new(0));
    commands(&target, reader.streams.len() as u64);
    reader.run(&target);
}

/// Reads commands in a thread of their own.
fn commands(target: &Arc<AtomicU64>, streams: u64) {
    let target = target.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let line = line.unwrap();
            let count: u64 = line.strip_prefix("await ").and_then(|count| count.parse().ok()).expect("await <n>");
            target.store(count * streams * MARKS as u64, Ordering::Release);
            println!("ready");
        }
        std::process::exit(0);
    });
}

struct Reader {
    opening: Opening,
    poll: Poll,
    events: Events,
    streams: Vec<Stream>,
    buffer: Vec<u8>,
    /// Marks since the last command.
    total: u64,
}

impl Reader {
    fn new(opening: Opening) -> Reader {
        Reader {
            opening,
            poll: Poll::new().unwrap(),
            events: Events::with_capacity(1_024),
            streams: Vec::new(),
            buffer: vec![0; 1 << 16],
            total: 0,
        }
    }

    fn open(&mut self, address: SocketAddr, streams: usize, path: &str) {
        for index in 0..streams {
            let number = if path.ends_with('-') { index.to_string() } else { String::new() };
            let mut socket = std::net::TcpStream::connect(address).unwrap_or_else(|error| panic!("{index}: {error}"));
            let head = format!("GET {path}{number} HTTP/1.1\r\nhost: {address}\r\n{}\r\n\r\n", self.opening.0);
            socket.write_all(head.as_bytes()).unwrap();
            socket.set_nonblocking(true).unwrap();
            let mut socket = TcpStream::from_std(socket);
            self.poll.registry().register(&mut socket, Token(index), Interest::READABLE).unwrap();
            self.streams.push(Stream { socket, marks: 0, open: false });
            if index % AT_ONCE == 0 || index + 1 == streams {
                self.until_open();
            }
        }
    }

    /// Waits for the heads of all responses.
    fn until_open(&mut self) {
        while self.streams.iter().any(|stream| !stream.open) {
            self.turn(&AtomicU64::new(u64::MAX), Some(Duration::from_secs(60)));
        }
    }

    fn run(&mut self, target: &AtomicU64) {
        loop {
            self.turn(target, None);
            std::thread::sleep(GATHER);
        }
    }

    fn turn(&mut self, target: &AtomicU64, timeout: Option<Duration>) {
        let mut ready = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut ready, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => done.unwrap(),
        }
        assert!(timeout.is_none() || !ready.is_empty(), "no stream opened for {timeout:?}");
        for event in &ready {
            self.read(event.token().0, target);
        }
        self.events = ready;
    }

    fn read(&mut self, index: usize, target: &AtomicU64) {
        let stream = &mut self.streams[index];
        loop {
            let count = match stream.socket.read(&mut self.buffer) {
                Ok(0) => panic!("stream {index} ended after {} events", stream.marks / MARKS as u64),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("stream {index}: {error}"),
            };
            let mut bytes = &self.buffer[..count];
            if !stream.open {
                let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
                let ok = bytes.starts_with(self.opening.1.as_bytes());
                assert!(ok && head.is_some(), "{}", String::from_utf8_lossy(bytes));
                bytes = &bytes[head.unwrap_or_default()..];
                stream.open = true;
            }
            let marks = bytes.iter().filter(|byte| **byte == MARK).count() as u64;
            stream.marks += marks;
            self.total += marks;
            if marks > 0 && self.total >= target.load(Ordering::Acquire) {
                return self.done(now());
            }
            // The socket is empty: epoll reports when more arrives.
            if count < self.buffer.len() {
                return;
            }
        }
    }

    fn done(&mut self, last: u64) {
        let counts = self.streams.iter().map(|stream| stream.marks);
        let (fewest, most) = (counts.clone().min().unwrap_or_default(), counts.max().unwrap_or_default());
        for stream in &mut self.streams {
            stream.marks = 0;
        }
        self.total = 0;
        println!("done {last} {fewest} {most}");
    }
}

/// A reader as a child process.
pub struct Client(Child);

impl Client {
    /// Opens streams of a key. A key that ends with `-` gets the number of the stream appended.
    pub fn open(address: &str, streams: usize, key: &str) -> Client {
        Client::open_path(address, streams, &format!("/stream?connectKey={key}"))
    }

    pub fn open_path(address: &str, streams: usize, path: &str) -> Client {
        Client::start(address, streams, path, "sse")
    }

    pub fn open_websockets(address: &str, count: usize, path: &str) -> Client {
        Client::start(address, count, path, "websocket")
    }

    fn start(address: &str, streams: usize, path: &str, kind: &str) -> Client {
        let mut child = Child::start(&["stream-reader", address, &streams.to_string(), path, kind]);
        assert_eq!(child.line(), format!("open {streams}"));
        Client(child)
    }

    /// Prepares the reader for `events` events on each stream.
    pub fn expect(&mut self, events: u64) {
        self.0.send(&format!("await {events}"));
        assert_eq!(self.0.line(), "ready");
    }

    /// Waits for the events and returns when the last one arrived. Fails unless each stream has
    /// received each event once.
    pub fn last(&mut self, events: u64) -> u64 {
        let line = self.0.line();
        let numbers: Vec<u64> = line.split(' ').skip(1).map(|number| number.parse().unwrap()).collect();
        let [last, fewest, most] = numbers[..] else { panic!("{line}") };
        let marks = events * MARKS as u64;
        assert_eq!((fewest, most), (marks, marks), "a stream has missed or doubled an event");
        last
    }

    pub fn processor(&self) -> f64 {
        self.0.processor()
    }
}
