//! A client of WebSockets (RFC 6455), for the cases of tests.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::header::{
    CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The example of RFC 6455, section 1.3: no proxy is between this client and the host.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The largest message that a case can expect, in bytes.
pub const MAX_MESSAGE: usize = 1 << 20;

/// The largest body of a response that rejects a client, in bytes.
const MAX_BODY: usize = 1 << 20;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Why a client is not connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot connect to the host: {0}")]
    Connect(#[from] std::io::Error),
    #[error("the request failed: {0}")]
    Request(#[from] hyper::Error),
    #[error("the response did not arrive within {} s", .0.as_secs())]
    Late(Duration),
    #[error("the response is not that of a WebSocket; this is a defect of fanfare, please report it")]
    Accept,
    #[error("the response cannot be read: {0}")]
    Body(String),
}

/// A message of the host, or the end of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    Message(Vec<u8>),
    /// The connection is closed, with the code of the Close frame.
    Closed(Option<u16>),
    TooLong,
}

/// The response that rejects a client: its head and its body.
pub type Refused = (Parts, Vec<u8>);

/// Connects a client. Returns the head of the response with both halves of the connection, or the
/// response that rejects it.
pub async fn connect(
    address: SocketAddr,
    target: &str,
    headers: HeaderMap,
    patience: Duration,
) -> Result<Result<(Parts, Reader, Writer), Refused>, ConnectError> {
    timeout(patience, handshake(address, target, headers)).await.map_err(|_| ConnectError::Late(patience))?
}

async fn handshake(
    address: SocketAddr,
    target: &str,
    headers: HeaderMap,
) -> Result<Result<(Parts, Reader, Writer), Refused>, ConnectError> {
    let mut request = Request::new(Empty::<bytes::Bytes>::new());
    *request.uri_mut() = target.parse().map_err(|_| ConnectError::Body(format!("{target:?} is not a target")))?;
    let fields = request.headers_mut();
    fields.insert(HOST, HeaderValue::from_str(&address.to_string()).unwrap_or(HeaderValue::from_static("localhost")));
    fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    fields.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static(KEY));
    fields.extend(headers);
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    let mut response = sender.send_request(request).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (head, body) = response.into_parts();
        let body =
            Limited::new(body, MAX_BODY).collect().await.map_err(|error| ConnectError::Body(error.to_string()))?;
        return Ok(Err((head, body.to_bytes().to_vec())));
    }
    if response.headers().get(SEC_WEBSOCKET_ACCEPT).is_none_or(|accept| accept != ACCEPT) {
        return Err(ConnectError::Accept);
    }
    let upgraded = hyper::upgrade::on(&mut response).await?;
    let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
    let reader = Reader { socket: reader, buffer: BytesMut::new(), message: Vec::new() };
    Ok(Ok((response.into_parts().0, reader, Writer(writer))))
}

/// The name of the header field with the sub-protocols.
pub fn protocols(names: &[String]) -> Option<(http::HeaderName, String)> {
    (!names.is_empty()).then(|| (SEC_WEBSOCKET_PROTOCOL, names.join(", ")))
}

/// The half that sends.
#[derive(Debug)]
pub struct Writer(WriteHalf<TokioIo<Upgraded>>);

impl Writer {
    pub async fn send(&mut self, text: &str) -> std::io::Result<()> {
        self.0.write_all(&frame(TEXT, text.as_bytes())).await
    }

    pub async fn close(&mut self) -> std::io::Result<()> {
        self.0.write_all(&frame(CLOSE, &1000_u16.to_be_bytes())).await
    }

    /// Answers a ping.
    pub async fn pong(&mut self, payload: &[u8]) -> std::io::Result<()> {
        self.0.write_all(&frame(PONG, payload)).await
    }
}

/// A frame with a whole message. The mask of zeros leaves the payload as it is.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | kind];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..126), _) => frame.push(0x80 | length),
        (_, Ok(length)) => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// The half that receives.
#[derive(Debug)]
pub struct Reader {
    socket: ReadHalf<TokioIo<Upgraded>>,
    buffer: BytesMut,
    /// The frames of an incomplete message.
    message: Vec<u8>,
}

/// What [`Reader::next`] has read.
#[derive(Debug)]
pub enum Event {
    Received(Received),
    /// A ping to answer.
    Ping(Vec<u8>),
}

impl Reader {
    pub async fn next(&mut self) -> Event {
        loop {
            match parse(&self.buffer) {
                Parsed::TooLong => return Event::Received(Received::TooLong),
                Parsed::Frame { is_last, kind, head, length } => {
                    self.buffer.advance(head);
                    let payload = self.buffer.split_to(length);
                    match kind {
                        PING => return Event::Ping(payload.to_vec()),
                        PONG => {}
                        CLOSE => {
                            let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                            return Event::Received(Received::Closed(code));
                        }
                        _ => {
                            self.message.extend_from_slice(&payload);
                            if self.message.len() > MAX_MESSAGE {
                                return Event::Received(Received::TooLong);
                            }
                            if is_last {
                                return Event::Received(Received::Message(std::mem::take(&mut self.message)));
                            }
                        }
                    }
                }
                Parsed::Incomplete => match self.socket.read_buf(&mut self.buffer).await {
                    Ok(0) | Err(_) => return Event::Received(Received::Closed(None)),
                    Ok(_) => {}
                },
            }
        }
    }
}

enum Parsed {
    Incomplete,
    Frame { is_last: bool, kind: u8, head: usize, length: usize },
    TooLong,
}

/// Reads the head of a frame of the host, which has no mask.
fn parse(bytes: &[u8]) -> Parsed {
    let [first, second, rest @ ..] = bytes else { return Parsed::Incomplete };
    let (length, head) = match second & 0x7f {
        126 => match rest.first_chunk() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
            None => return Parsed::Incomplete,
        },
        127 => match rest.first_chunk() {
            Some(length) => (u64::from_be_bytes(*length), 10),
            None => return Parsed::Incomplete,
        },
        length => (u64::from(length), 2),
    };
    match usize::try_from(length) {
        Ok(length) if length <= MAX_MESSAGE => {
            if bytes.len() < head + length {
                return Parsed::Incomplete;
            }
            Parsed::Frame { is_last: first & 0x80 != 0, kind: first & 0x0f, head, length }
        }
        _ => Parsed::TooLong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_shortest_length_that_fits() {
        for (length, head) in [(0, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            let frame = frame(TEXT, &vec![b'x'; length]);
            assert_eq!(frame.len(), head + length);
            assert_eq!((frame[0], frame[1] & 0x80), (0x81, 0x80), "whole, and masked");
        }
    }

    #[test]
    fn a_frame_is_read_when_it_is_complete() {
        let mut bytes = vec![0x81, 126, 0, 200];
        bytes.extend_from_slice(&[b'x'; 200]);
        for end in 0..bytes.len() {
            assert!(matches!(parse(&bytes[..end]), Parsed::Incomplete), "{end}");
        }
        assert!(matches!(parse(&bytes), Parsed::Frame { is_last: true, kind: TEXT, head: 4, length: 200 }));
        let mut long = vec![0x82, 127];
        long.extend_from_slice(&(MAX_MESSAGE as u64 + 1).to_be_bytes());
        assert!(matches!(parse(&long), Parsed::TooLong));
    }
}
