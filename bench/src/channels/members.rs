//! Clients that are subscribed to channels with SocketCluster's protocol, in a process of their
//! own: one thread, one epoll. It counts the marks in their messages and says when the last one has
//! arrived.
//!
//! Commands are lines on standard input:
//!
//! - `await <n>`: answers `ready`, then `done <last> <fewest> <most>`, as the reader of streams
//!   does
//! - `cut`: closes all connections, and answers `cut`
//! - `recover <n>`: connects all clients again and asks for what they have missed, which must be
//!   `n` messages. Answers `recovered <nanoseconds>`
//! - the end of the input ends the process.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::streams::child::{Child, now};
use crate::streams::client::{MARK, MARKS};

/// The path of the listener for SocketCluster.
pub const PATH: &str = "/socketcluster/";

/// The number of connections that are opening at any time, so that the queue of the listener never
/// overflows.
const AT_ONCE: usize = 200;

/// The subscriptions that a client asks for at once.
const SUBSCRIBES: usize = 32;

/// Wakes the thread for a command.
const COMMAND: Token = Token(usize::MAX);

/// How long the clients let messages gather before they look again.
const GATHER: Duration = Duration::from_micros(100);

const HANDSHAKE: &str = r##"{"event":"#handshake","data":{"authToken":null},"cid":1}"##;

fn head(address: impl std::fmt::Display) -> String {
    // The key is the example of RFC 6455.
    format!(
        "GET {PATH} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A client that has shaken hands, for a publisher.
pub fn connect(address: &str) -> std::net::TcpStream {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.write_all(head(address).as_bytes()).unwrap();
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    socket.write_all(&frame(HANDSHAKE)).unwrap();
    let mut rest = Vec::new();
    while first_frame(&rest).is_none() {
        socket.read_exact(&mut byte).unwrap();
        rest.push(byte[0]);
    }
    socket
}

/// A masked text. The mask is zero, so that the text is readable.
pub fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u16::try_from(text.len()).unwrap() {
        short @ ..126 => frame.push(0x80 | short as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// The length of the first frame and its text, if all of it is there.
pub fn first_frame(bytes: &[u8]) -> Option<(usize, &str)> {
    let (head, length) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).unwrap()),
        short => (2, usize::from(short)),
    };
    assert_eq!(bytes[0], 0x81, "a text, as one frame");
    let text = bytes.get(head..head + length)?;
    Some((head + length, std::str::from_utf8(text).unwrap()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    Handshake,
    /// Waits until it is subscribed to its channels. The number of them that it has asked for.
    Subscribing(usize),
    Recovering,
    Open,
}

struct Member {
    socket: TcpStream,
    phase: Phase,
    /// The beginning of a frame.
    rest: Vec<u8>,
    marks: u64,
}

struct Group {
    address: SocketAddr,
    count: usize,
    channel: String,
    /// The channels of each client, with names of their own. Zero for the one that all share.
    own: usize,
    poll: Poll,
    members: Vec<Member>,
    buffer: Vec<u8>,
    /// The clients that are not open yet.
    opening: usize,
    /// The marks that all clients wait for, and those since the last command.
    target: u64,
    total: u64,
    /// The position of the last message.
    position: String,
    /// The messages that each client has missed, once they come back.
    missed: Option<u64>,
}

/// `channel-members <address> <clients> <channel> <channels of each>`
pub fn main(arguments: &[String]) {
    let [address, count, channel, own] = arguments else {
        panic!("channel-members <address> <clients> <channel> <channels of each>")
    };
    fanfare::raise_descriptor_limit();
    let poll = Poll::new().unwrap();
    let waker = Waker::new(poll.registry(), COMMAND).unwrap();
    let mut group = Group {
        address: address.parse().unwrap(),
        count: count.parse().unwrap(),
        channel: channel.clone(),
        own: own.parse().unwrap(),
        poll,
        members: Vec::new(),
        buffer: vec![0; 1 << 16],
        opening: 0,
        target: u64::MAX,
        total: 0,
        position: String::new(),
        missed: None,
    };
    group.open();
    println!("open {count}");
    let (send, commands) = self::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            send.send(line.unwrap()).unwrap();
            waker.wake().unwrap();
        }
        std::process::exit(0);
    });
    group.run(&commands);
}

impl Group {
    fn run(&mut self, commands: &Receiver<String>) {
        loop {
            self.turn();
            while let Ok(line) = commands.try_recv() {
                self.command(&line);
            }
            std::thread::sleep(GATHER);
        }
    }

    fn command(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("await", count)) => {
                self.target = count.parse::<u64>().unwrap() * self.count as u64 * MARKS as u64;
                println!("ready");
            }
            Some(("recover", missed)) => {
                self.missed = Some(missed.parse().unwrap());
                let begun = Instant::now();
                self.open();
                println!("recovered {}", begun.elapsed().as_nanos());
            }
            None if line == "cut" => {
                self.members.clear();
                println!("cut");
            }
            _ => panic!("no command {line}"),
        }
    }

    /// Connects all clients, and waits until they are open.
    fn open(&mut self) {
        while self.members.len() < self.count || self.opening > 0 {
            while self.members.len() < self.count && self.opening < AT_ONCE {
                self.connect();
            }
            self.turn();
        }
    }

    fn connect(&mut self) {
        let index = self.members.len();
        let socket = std::net::TcpStream::connect(self.address);
        let mut socket = socket.unwrap_or_else(|error| panic!("client {index}: {error}"));
        socket.set_nodelay(true).unwrap();
        socket.write_all(head(self.address).as_bytes()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut socket = TcpStream::from_std(socket);
        self.poll.registry().register(&mut socket, Token(index), Interest::READABLE).unwrap();
        self.members.push(Member { socket, phase: Phase::Head, rest: Vec::new(), marks: 0 });
        self.opening += 1;
    }

    fn turn(&mut self) {
        let mut ready = Events::with_capacity(1_024);
        match self.poll.poll(&mut ready, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => done.unwrap(),
        }
        ready.iter().filter(|event| event.token() != COMMAND).for_each(|event| self.read(event.token().0));
    }

    fn read(&mut self, index: usize) {
        loop {
            // A connection that was cut may still have an event.
            let Some(member) = self.members.get_mut(index) else { return };
            let count = match member.socket.read(&mut self.buffer) {
                Ok(0) => panic!("client {index} was disconnected"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("client {index}: {error}"),
            };
            let mut bytes = std::mem::take(&mut member.rest);
            bytes.extend_from_slice(&self.buffer[..count]);
            let used = self.understand(index, &bytes);
            bytes.drain(..used);
            self.members[index].rest = bytes;
        }
    }

    /// Works on what a client has received. Returns the bytes that are complete.
    fn understand(&mut self, index: usize, bytes: &[u8]) -> usize {
        let mut used = 0;
        if self.members[index].phase == Phase::Head {
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return 0 };
            assert!(bytes.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(bytes));
            self.send(index, &frame(HANDSHAKE), Phase::Handshake);
            used = end + 4;
        }
        while let Some((length, text)) = first_frame(&bytes[used..]) {
            self.receive(index, text);
            used += length;
        }
        used
    }

    fn send(&mut self, index: usize, bytes: &[u8], phase: Phase) {
        let member = &mut self.members[index];
        member.phase = phase;
        // The buffer of the socket is empty: the client sends little, and waits for the answer.
        member.socket.write_all(bytes).unwrap();
    }

    fn receive(&mut self, index: usize, text: &str) {
        if text.starts_with(r##"{"event":"#publish""##) {
            return self.count(index, text);
        }
        assert!(!text.contains(r#""error""#), "{text}");
        match self.members[index].phase {
            Phase::Handshake if text.contains(r#""rid":1"#) => self.subscribe(index, 0),
            Phase::Subscribing(asked) if text.contains(&format!(r#""rid":{}"#, asked + 1)) => {
                if asked < self.own {
                    self.subscribe(index, asked);
                } else if self.missed.is_some() {
                    let data = format!(r#"{{"channel":"{}","after":"{}"}}"#, self.channel, self.position);
                    let asks = format!(r##"{{"event":"#history","data":{data},"cid":2000}}"##);
                    self.send(index, &frame(&asks), Phase::Recovering);
                } else {
                    self.is_open(index);
                }
            }
            Phase::Recovering if text.contains(r#""rid":2000"#) => {
                let messages = text.matches(r#""at":"#).count() as u64;
                let is_complete = text.contains(r#""complete":true"#);
                assert!(is_complete && Some(messages) == self.missed, "{messages} messages: {text}");
                self.is_open(index);
            }
            _ => {}
        }
    }

    fn subscribe(&mut self, index: usize, asked: usize) {
        let until = (asked + SUBSCRIBES).min(self.own.max(1));
        let mut frames = Vec::new();
        for number in asked..until {
            let own = if self.own > 0 { format!("-{index}-{number}") } else { String::new() };
            let data = format!(r#"{{"channel":"{}{own}"}}"#, self.channel);
            frames.extend(frame(&format!(r##"{{"event":"#subscribe","data":{data},"cid":{}}}"##, number + 2)));
        }
        self.send(index, &frames, Phase::Subscribing(until));
    }

    fn is_open(&mut self, index: usize) {
        self.members[index].phase = Phase::Open;
        self.opening -= 1;
    }

    fn count(&mut self, index: usize, text: &str) {
        if let Some((_, rest)) = text.split_once(r#""position":""#) {
            self.position = rest.split('"').next().unwrap().to_owned();
        }
        let marks = text.bytes().filter(|byte| *byte == MARK).count() as u64;
        self.members[index].marks += marks;
        self.total += marks;
        if self.total >= self.target {
            self.done(now());
        }
    }

    fn done(&mut self, last: u64) {
        let counts = self.members.iter().map(|member| member.marks);
        let (fewest, most) = (counts.clone().min().unwrap_or_default(), counts.max().unwrap_or_default());
        self.members.iter_mut().for_each(|member| member.marks = 0);
        (self.total, self.target) = (0, u64::MAX);
        println!("done {last} {fewest} {most}");
    }
}

/// Subscribed clients as a child process.
pub struct Members(Child);

impl Members {
    /// Connects clients that are subscribed to one channel, or to `own` channels of their own each.
    pub fn open(address: &str, count: usize, channel: &str, own: usize) -> Members {
        let mut child = Child::start(&["channel-members", address, &count.to_string(), channel, &own.to_string()]);
        assert_eq!(child.line(), format!("open {count}"));
        Members(child)
    }

    /// Prepares the clients for a number of messages each.
    pub fn expect(&mut self, messages: u64) {
        self.0.send(&format!("await {messages}"));
        assert_eq!(self.0.line(), "ready");
    }

    /// Waits for the messages and returns when the last one arrived. Fails unless each client has
    /// received each message once.
    pub fn last(&mut self, messages: u64) -> u64 {
        let line = self.0.line();
        let numbers: Vec<u64> = line.split(' ').skip(1).map(|number| number.parse().unwrap()).collect();
        let [last, fewest, most] = numbers[..] else { panic!("{line}") };
        let marks = messages * MARKS as u64;
        assert_eq!((fewest, most), (marks, marks), "a client has missed or doubled a message");
        last
    }

    /// Cuts all connections at once.
    pub fn cut(&mut self) {
        self.0.send("cut");
        assert_eq!(self.0.line(), "cut");
    }

    /// Lets all clients come back, each with a number of messages that it has missed. Returns the
    /// seconds until the last client has them.
    pub fn recover(&mut self, missed: u64) -> f64 {
        self.0.send(&format!("recover {missed}"));
        let line = self.0.line();
        let took = line.strip_prefix("recovered ").unwrap_or_else(|| panic!("{line}"));
        took.parse::<f64>().unwrap() / 1e9
    }
}
