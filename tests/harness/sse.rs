//! A reader of server-sent events over HTTP/1.1, which sees every byte.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::Answer;

/// How long a reader waits for the next bytes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The lines between two empty lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Block {
    pub comments: Vec<String>,
    pub event: Option<String>,
    pub id: Option<String>,
    pub retry: Option<u64>,
    /// The data, with a line break between its lines. `None` if no event is dispatched.
    pub data: Option<String>,
}

impl Block {
    /// Parses the lines of a block. Fails if the host wrote a line in another form than it says.
    fn parse(text: &str) -> Block {
        let mut block = Block::default();
        for line in text.lines() {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("not a field: {line:?}"));
            let value = value.to_owned();
            match name {
                "" => block.comments.push(value),
                "event" => block.event = Some(value),
                "id" => block.id = Some(value),
                "retry" => block.retry = Some(value.parse().unwrap()),
                "data" => {
                    block.data = Some(match block.data.take() {
                        Some(data) => format!("{data}\n{value}"),
                        None => value,
                    });
                }
                _ => panic!("an unknown field: {line:?}"),
            }
        }
        block
    }

    /// Returns the type, `message` if it has none.
    pub fn name(&self) -> &str {
        self.event.as_deref().unwrap_or("message")
    }

    pub fn text(&self) -> &str {
        self.data.as_deref().unwrap_or_default()
    }
}

/// Splits a body into blocks, and remembers the last id as `EventSource` does.
#[derive(Debug, Default)]
pub struct Parser {
    rest: String,
    pub last_id: String,
}

impl Parser {
    pub fn push(&mut self, text: &[u8]) {
        // The host sends whole events, and the reader whole chunks.
        self.rest.push_str(std::str::from_utf8(text).expect("events are UTF-8"));
        assert!(!self.rest.contains('\r'), "a CR in {:?}", self.rest);
    }

    pub fn next(&mut self) -> Option<Block> {
        let end = self.rest.find("\n\n")?;
        let block = Block::parse(&self.rest[..end]);
        self.rest.drain(..end + 2);
        if let Some(id) = &block.id {
            self.last_id.clone_from(id);
        }
        Some(block)
    }
}

/// An open stream.
#[derive(Debug)]
pub struct EventStream {
    pub socket: TcpStream,
    pub status: u16,
    pub headers: http::HeaderMap,
    /// Bytes that have arrived and are not decoded yet.
    raw: Vec<u8>,
    chunked: bool,
    /// Whether the last chunk has arrived.
    ended: bool,
    parser: Parser,
}

impl EventStream {
    /// Opens a stream as `EventSource` does, and reads until the first comment.
    pub async fn open(address: SocketAddr, path: &str) -> EventStream {
        EventStream::resume(address, path, "").await
    }

    /// Opens a stream, and sends the id of the last event if it is not empty.
    pub async fn resume(address: SocketAddr, path: &str, last_id: &str) -> EventStream {
        let mut stream = EventStream::try_resume(address, path, last_id).await;
        if stream.status != 200 {
            let answer = stream.answer().await;
            panic!("{}: {}", answer.status, answer.text());
        }
        let first = stream.block().await.expect("the first comment");
        assert_eq!(first.comments, ["connected"], "{first:?}");
        stream
    }

    /// Sends the request of an `EventSource`, and reads the head of the response.
    pub async fn try_resume(address: SocketAddr, path: &str, last_id: &str) -> EventStream {
        let id = if last_id.is_empty() { String::new() } else { format!("last-event-id: {last_id}\r\n") };
        EventStream::send(
            address,
            &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n{id}\r\n"),
        )
        .await
    }

    /// Sends a request as it is, and reads the head of the response.
    pub async fn send(address: SocketAddr, request: &str) -> EventStream {
        let socket = TcpStream::connect(address).await.expect("the host accepts the connection");
        EventStream::send_on(socket, request).await
    }

    /// Like [`EventStream::open`], with a receive buffer that is full soon.
    pub async fn open_small(address: SocketAddr, path: &str) -> EventStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let socket = socket.connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\r\n");
        let mut stream = EventStream::send_on(socket, &request).await;
        assert_eq!(stream.block().await.unwrap().comments, ["connected"]);
        stream
    }

    pub async fn send_on(mut socket: TcpStream, request: &str) -> EventStream {
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut raw = Vec::new();
        let end = loop {
            if let Some(end) = raw.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            let read = timeout(PATIENCE, socket.read_buf(&mut raw)).await.expect("a response in time").unwrap();
            assert!(read > 0, "the host closed before the end of the head: {:?}", String::from_utf8_lossy(&raw));
        };
        let head = String::from_utf8(raw.drain(..end).collect()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = http::HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            headers.append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        let chunked = headers.get("transfer-encoding").is_some_and(|value| value == "chunked");
        EventStream { socket, status, headers, raw, chunked, ended: false, parser: Parser::default() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The id that `EventSource` would send when it connects again.
    pub fn last_id(&self) -> &str {
        &self.parser.last_id
    }

    /// Waits for the next block. `None` if the stream has ended.
    pub async fn block(&mut self) -> Option<Block> {
        loop {
            if let Some(block) = self.parser.next() {
                return Some(block);
            }
            if self.ended || !self.read().await {
                assert!(self.parser.rest.is_empty(), "half an event at the end: {:?}", self.parser.rest);
                return None;
            }
        }
    }

    /// Waits for the next event, and skips comments and ids alone. `None` if the stream has ended.
    pub async fn event(&mut self) -> Option<Block> {
        loop {
            let block = self.block().await?;
            if block.data.is_some() {
                return Some(block);
            }
        }
    }

    /// Like [`EventStream::event`], but the host may cut the stream within an event.
    pub async fn event_or_cut(&mut self) -> Option<Block> {
        loop {
            match self.parser.next() {
                Some(block) if block.data.is_some() => return Some(block),
                Some(_) => {}
                None if self.ended || !self.read().await => return None,
                None => {}
            }
        }
    }

    /// Waits for the next event, which must exist, and returns its data.
    pub async fn data(&mut self) -> String {
        self.event().await.expect("an event").data.unwrap()
    }

    /// Waits until the stream has ended as HTTP says, and returns the data of the events before.
    pub async fn rest(&mut self) -> Vec<String> {
        let mut data = Vec::new();
        while let Some(event) = self.event().await {
            data.push(event.data.unwrap());
        }
        assert!(self.ended || !self.chunked, "the stream was cut before its last chunk");
        data
    }

    /// Waits until the stream has ended or was cut, and returns the data of the events before.
    pub async fn until_cut(&mut self) -> Vec<String> {
        let mut data = Vec::new();
        loop {
            while let Some(block) = self.parser.next() {
                data.extend(block.data);
            }
            if self.ended || !self.read().await {
                return data;
            }
        }
    }

    /// Reads a response that is not a stream.
    pub async fn answer(mut self) -> Answer {
        let length = self.header("content-length").map(|length| length.parse::<usize>().unwrap());
        while length.is_none_or(|length| self.raw.len() < length) && self.fill().await {}
        Answer { status: self.status, headers: self.headers, body: self.raw.into() }
    }

    /// Whether the host has closed the socket, and sent nothing before.
    pub async fn is_closed(&mut self) -> bool {
        self.raw.is_empty() && !self.fill().await
    }

    async fn fill(&mut self) -> bool {
        let read = timeout(PATIENCE, self.socket.read_buf(&mut self.raw)).await.expect("bytes in time");
        // A reset is the end, too.
        read.is_ok_and(|read| read > 0)
    }

    /// Reads until a part of the body has arrived. Returns `false` at the end.
    async fn read(&mut self) -> bool {
        if !self.chunked {
            if self.raw.is_empty() && !self.fill().await {
                self.ended = true;
                return false;
            }
            self.parser.push(&std::mem::take(&mut self.raw));
            return true;
        }
        loop {
            if let Some(end) = self.raw.windows(2).position(|window| window == b"\r\n") {
                let size = std::str::from_utf8(&self.raw[..end]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("the size of a chunk: {size:?}"));
                if self.raw.len() >= end + 2 + size + 2 {
                    let chunk: Vec<u8> = self.raw.drain(..end + 2 + size + 2).collect();
                    assert!(chunk.ends_with(b"\r\n"), "a chunk ends with a line break");
                    self.ended = size == 0;
                    self.parser.push(&chunk[end + 2..end + 2 + size]);
                    return !self.ended;
                }
            }
            if !self.fill().await {
                return false;
            }
        }
    }
}
