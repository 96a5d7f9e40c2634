//! The clients that the cases of a file have connected.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use percent_encoding::utf8_percent_encode;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use super::case::{Client, Message, body};
use super::expect::{Answer, cut, quoted};
use super::expected::MessageExpect;
use super::send::{SendError, TARGET, answer_of, headers_of};
use super::websocket::{self, Event, MAX_MESSAGE, Reader, Received, Writer};

/// How long the command waits for a response, for an expected message, and for the end of a
/// connection.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most messages of a client that wait for a case to expect them.
const MAX_WAITING: usize = 10_000;

/// The clients by their names.
#[derive(Default)]
pub struct Clients(BTreeMap<String, Connected>);

struct Connected {
    writer: Arc<Mutex<Writer>>,
    received: mpsc::Receiver<Received>,
}

impl Clients {
    /// Connects or disconnects a client. Returns the answer to the request, if there was one.
    pub async fn step(
        &mut self,
        address: SocketAddr,
        module: &str,
        client: &Client,
    ) -> Result<Option<Answer>, SendError> {
        let name = client.name().to_owned();
        if client.close.is_some() {
            let connected = self.0.get(&name).ok_or(SendError::NoClient(name))?;
            // The host may have closed the connection.
            _ = connected.writer.lock().await.close().await;
            return Ok(None);
        }
        let path = client.socket.as_deref().unwrap_or_default();
        let path = path.strip_prefix('/').unwrap_or(path);
        let target = format!("/api/{module}/{}", utf8_percent_encode(path, TARGET));
        let mut headers = headers_of(&client.headers)?;
        if let Some((name, text)) = websocket::protocols(&client.protocols) {
            let value = HeaderValue::from_str(&text).map_err(|_| SendError::HeaderValue(text))?;
            headers.insert(name, value);
        }
        match websocket::connect(address, &target, headers, TIMEOUT).await? {
            Err((head, body)) => Ok(Some(answer_of(&head, &body))),
            Ok((head, reader, writer)) => {
                let writer = Arc::new(Mutex::new(writer));
                let (sender, received) = mpsc::channel(MAX_WAITING);
                tokio::spawn(read(reader, writer.clone(), sender));
                self.0.insert(name, Connected { writer, received });
                Ok(Some(answer_of(&head, &[])))
            }
        }
    }

    /// Sends a message of a client.
    pub async fn send(&mut self, message: &Message) -> Result<(), SendError> {
        let connected = self.0.get(&message.client).ok_or_else(|| SendError::NoClient(message.client.clone()))?;
        let text = message.body.get().map(body).unwrap_or_default();
        let sent = connected.writer.lock().await.send(&text).await;
        sent.map_err(|_| SendError::ClientClosed(message.client.clone()))
    }

    /// Waits for the messages that the case expects. Returns what differs, one line each.
    pub async fn faults(&mut self, expected: &BTreeMap<String, Vec<MessageExpect>>) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, messages) in expected {
            let Some(connected) = self.0.get_mut(name) else {
                faults.push(SendError::NoClient(name.clone()).to_string());
                continue;
            };
            for (index, message) in messages.iter().enumerate() {
                let place = format!("received.{name}[{index}]");
                let why = match connected.next().await {
                    Some(Received::Message(found)) => {
                        faults.extend(message.faults(&place, &String::from_utf8_lossy(&found)));
                        continue;
                    }
                    Some(Received::Closed(code)) => format!("but the connection is closed{}", shown(code)),
                    Some(Received::TooLong) => too_long(),
                    None => format!("but none arrived within {} s", TIMEOUT.as_secs()),
                };
                faults.push(format!("{place}: expected a message, {why}"));
                break;
            }
        }
        faults
    }

    /// Waits until the host has closed connections. Returns what differs, one line each.
    pub async fn open_ones(&mut self, closed: &BTreeMap<String, u16>) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, code) in closed {
            let Some(connected) = self.0.get_mut(name) else {
                faults.push(SendError::NoClient(name.clone()).to_string());
                continue;
            };
            let found = match connected.next().await {
                Some(Received::Closed(Some(found))) if found == *code => continue,
                Some(Received::Closed(found)) => format!("the end{}", shown(found)),
                Some(Received::Message(found)) => quoted(&cut(&String::from_utf8_lossy(&found))),
                Some(Received::TooLong) => too_long(),
                None => "an open connection".to_owned(),
            };
            faults.push(format!("closed.{name}: expected {code}, found {found}"));
        }
        faults
    }
}

fn shown(code: Option<u16>) -> String {
    code.map(|code| format!(", with the code {code}")).unwrap_or_default()
}

fn too_long() -> String {
    format!("but a message with more than {MAX_MESSAGE} bytes arrived, which cases cannot expect")
}

impl Connected {
    /// `None` if nothing arrives in time.
    async fn next(&mut self) -> Option<Received> {
        let received = timeout(TIMEOUT, self.received.recv()).await.ok()?;
        Some(received.unwrap_or(Received::Closed(None)))
    }
}

/// Passes the messages of a connection on until either side ends it, and answers pings.
async fn read(mut reader: Reader, writer: Arc<Mutex<Writer>>, sender: mpsc::Sender<Received>) {
    loop {
        let event = tokio::select! {
            () = sender.closed() => return,
            event = reader.next() => event,
        };
        match event {
            Event::Ping(payload) => {
                if writer.lock().await.pong(&payload).await.is_err() {
                    return;
                }
            }
            Event::Received(received) => {
                let is_message = matches!(received, Received::Message(_));
                if sender.send(received).await.is_err() || !is_message {
                    return;
                }
            }
        }
    }
}
