//! A client of WebSockets (RFC 6455) that sends and sees every frame.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Answer;

/// How long a client waits for the next message.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The example of RFC 6455, section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A message, or the end of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    Text(String),
    Bytes(Vec<u8>),
    /// The code and the reason of a Close frame. 1005 for a frame without a code.
    Close(u16, String),
    /// The connection ended without a Close frame.
    End,
}

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    pub socket: TcpStream,
    /// The sub-protocol that the host has chosen.
    pub protocol: Option<String>,
    buffer: Vec<u8>,
    /// The frames of an incomplete message.
    partial: Vec<u8>,
    kind: u8,
    /// The pings that arrived, each of which was answered.
    pub pings: usize,
}

impl WebSocket {
    pub async fn open(address: SocketAddr, path: &str) -> WebSocket {
        WebSocket::open_with(address, path, &[]).await
    }

    /// Opens a socket, with further header fields.
    pub async fn open_with(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> WebSocket {
        match WebSocket::try_open(address, path, headers).await {
            Ok(socket) => socket,
            Err(answer) => panic!("{path}: {}: {}", answer.status, answer.text()),
        }
    }

    /// Opens a socket. Returns the response if the host rejects it.
    pub async fn try_open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<WebSocket, Answer> {
        let mut fields = vec![
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        fields.retain(|(name, _)| !headers.iter().any(|(other, _)| other == name));
        fields.extend_from_slice(headers);
        let mut head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n");
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        socket.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        let mut buffer = Vec::new();
        let end = loop {
            if let Some(end) = find(&buffer, b"\r\n\r\n") {
                break end + 4;
            }
            let mut part = [0; 4_096];
            let read = timeout(PATIENCE, socket.read(&mut part)).await.expect("a response").unwrap();
            assert!(read > 0, "the connection ended in the head: {}", String::from_utf8_lossy(&buffer));
            buffer.extend_from_slice(&part[..read]);
        };
        let (status, fields) = parse_head(&buffer[..end]);
        buffer.drain(..end);
        if status != 101 {
            let length = fields.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
            while buffer.len() < length {
                let mut part = [0; 4_096];
                let read = timeout(PATIENCE, socket.read(&mut part)).await.expect("a body").unwrap();
                assert!(read > 0, "the connection ended in the body");
                buffer.extend_from_slice(&part[..read]);
            }
            return Err(Answer { status, headers: fields, body: buffer.into() });
        }
        assert_eq!(fields["sec-websocket-accept"], ACCEPT);
        let protocol = fields.get("sec-websocket-protocol").map(|value| value.to_str().unwrap().to_owned());
        Ok(WebSocket { socket, protocol, buffer, partial: Vec::new(), kind: TEXT, pings: 0 })
    }

    pub async fn send(&mut self, text: &str) {
        self.frame(true, TEXT, text.as_bytes()).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.frame(true, BINARY, bytes).await;
    }

    /// Sends a JSON value as text, and returns the next message as JSON.
    pub async fn ask(&mut self, value: Value) -> Value {
        self.send(&value.to_string()).await;
        self.json().await
    }

    /// Sends one frame, masked as a client must.
    pub async fn frame(&mut self, is_last: bool, kind: u8, payload: &[u8]) {
        self.raw(&masked(is_last, kind, payload)).await;
    }

    /// Sends bytes as they are.
    pub async fn raw(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.socket.write_all(bytes)).await.expect("the host reads").unwrap();
    }

    /// Sends bytes as they are, unless the host has closed the connection.
    pub async fn try_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        timeout(PATIENCE, self.socket.write_all(bytes)).await.expect("the host reads")
    }

    pub async fn close(&mut self, code: u16, reason: &str) {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        self.frame(true, CLOSE, &payload).await;
    }

    /// Returns the next message as text.
    pub async fn text(&mut self) -> String {
        match self.next().await {
            Received::Text(text) => text,
            other => panic!("expected a text, received {other:?}"),
        }
    }

    /// Returns the next message as JSON. Answers the pings of SocketCluster, which are empty.
    pub async fn json(&mut self) -> Value {
        let mut text = self.text().await;
        while text.is_empty() {
            self.send("").await;
            text = self.text().await;
        }
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
    }

    /// Returns the code with which the host closes the connection, after any other messages.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self.next().await {
                Received::Close(code, _) => return code,
                Received::End => panic!("the connection ended without a Close frame"),
                Received::Text(_) | Received::Bytes(_) => {}
            }
        }
    }

    /// Waits until the connection has ended.
    pub async fn ended(&mut self) {
        while self.next().await != Received::End {}
    }

    /// Waits for the next message. Answers pings.
    pub async fn next(&mut self) -> Received {
        timeout(PATIENCE, self.next_message()).await.expect("a message, or the end")
    }

    async fn next_message(&mut self) -> Received {
        loop {
            let Some((is_last, kind, payload)) = self.next_frame().await else { return Received::End };
            match kind {
                PING => {
                    self.pings += 1;
                    self.frame(true, PONG, &payload).await;
                }
                PONG => {}
                CLOSE => {
                    let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                    let reason = payload.get(2..).unwrap_or_default().to_vec();
                    return Received::Close(code, String::from_utf8(reason).unwrap());
                }
                _ => {
                    if kind != 0 {
                        self.kind = kind;
                    }
                    self.partial.extend_from_slice(&payload);
                    if is_last {
                        let whole = std::mem::take(&mut self.partial);
                        return match self.kind {
                            TEXT => Received::Text(String::from_utf8(whole).expect("a text is UTF-8")),
                            _ => Received::Bytes(whole),
                        };
                    }
                }
            }
        }
    }

    /// Returns the next frame: whether it is the last of its message, its kind and its payload.
    /// `None` when the connection has ended.
    pub async fn next_frame(&mut self) -> Option<(bool, u8, Vec<u8>)> {
        loop {
            if let Some((frame, length)) = parse_frame(&self.buffer) {
                self.buffer.drain(..length);
                return Some(frame);
            }
            let mut part = vec![0; 65_536];
            let read = timeout(PATIENCE, self.socket.read(&mut part)).await.expect("a frame arrives");
            match read {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.buffer.extend_from_slice(&part[..read]),
            }
        }
    }
}

/// The bytes of a masked frame.
pub fn masked(is_last: bool, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![(u8::from(is_last) << 7) | kind];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = [0x12, 0x34, 0x56, 0x78];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Whether a frame is the last of its message, its opcode and its payload.
type Frame = (bool, u8, Vec<u8>);

/// Reads a whole frame of the host, and its length.
fn parse_frame(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    assert_eq!((first & 0x70, second & 0x80), (0, 0), "reserved bits, or a mask");
    let (length, head) = match second {
        126 => (usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize, 10),
        length => (usize::from(length), 2),
    };
    let payload = bytes.get(head..head + length)?.to_vec();
    Some(((first & 0x80 != 0, first & 0x0f, payload), head + length))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn parse_head(head: &[u8]) -> (u16, http::HeaderMap) {
    let text = String::from_utf8(head.to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let fields = lines.filter_map(|line| line.split_once(": "));
    let fields = fields.map(|(name, value)| {
        (http::HeaderName::try_from(name.to_ascii_lowercase()).unwrap(), http::HeaderValue::from_str(value).unwrap())
    });
    (status, fields.collect())
}
