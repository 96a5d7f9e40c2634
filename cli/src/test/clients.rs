//! The clients that the cases of a file have connected.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use percent_encoding::utf8_percent_encode;
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use super::case::{Client, Message, body};
use super::expect::{Answer, cut, quoted};
use super::expected::MessageExpect;
use super::send::{SendError, TARGET, answer_of, headers_of};
use super::socketcluster::{EventAnswer, Events, Packet, path_of};
use super::websocket::{self, Event, MAX_MESSAGE, Reader, Received, Writer};
use fanfare::settings::SocketListener;

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
    /// The events of a client of SocketCluster.
    events: Option<Events>,
}

/// What the connection of a client of SocketCluster needs beside its messages: the version of the
/// protocol, and where answers go.
type Answers = Option<(u8, mpsc::Sender<EventAnswer>)>;

impl Clients {
    /// Connects or disconnects a client. Returns the answer to the request, if there was one.
    pub async fn step(
        &mut self,
        address: SocketAddr,
        module: &str,
        listeners: &[SocketListener],
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
        let target = match client.protocol {
            None => format!("/api/{module}/{}", utf8_percent_encode(path, TARGET)),
            Some(protocol) => path_of(listeners, protocol).unwrap_or_default().to_owned(),
        };
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
                let (answers, events) = client.protocol.map(answers_of).unzip();
                tokio::spawn(read(reader, writer.clone(), sender, answers));
                let mut connected = Connected { writer, received, events };
                let greeted = match client.protocol {
                    None => Ok(answer_of(&head, &[])),
                    Some(_) => connected.greet(&name, client.data.get()).await,
                };
                self.0.insert(name, connected);
                greeted.map(Some)
            }
        }
    }

    /// Sends a message of a client. Returns the answer to an event.
    pub async fn send(&mut self, message: &Message) -> Result<Option<Answer>, SendError> {
        let Message { client, event, body: data } = message;
        let connected = self.0.get_mut(client).ok_or_else(|| SendError::NoClient(client.clone()))?;
        match event {
            Some(event) => connected.call(client, event, data.get()).await.map(|answer| Some(answer.into_answer(200))),
            None => connected.send(client, &data.get().map(body).unwrap_or_default()).await.map(|()| None),
        }
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

    async fn send(&self, name: &str, text: &str) -> Result<(), SendError> {
        let sent = self.writer.lock().await.send(text).await;
        sent.map_err(|_| SendError::ClientClosed(name.to_owned()))
    }

    /// Sends an event, and waits for its answer. `name` is that of the client.
    async fn call(&mut self, name: &str, event: &str, data: Option<&Value>) -> Result<EventAnswer, SendError> {
        let events = self.events.as_mut().ok_or_else(|| SendError::NoEvents(name.to_owned()))?;
        let packet = events.packet(event, data);
        self.send(name, &packet).await?;
        let events = self.events.as_mut().ok_or_else(|| SendError::NoEvents(name.to_owned()))?;
        events.answer(name).await
    }

    /// Begins the session of a client of SocketCluster.
    async fn greet(&mut self, name: &str, data: Option<&Value>) -> Result<Answer, SendError> {
        let answer = self.call(name, "#handshake", data).await?;
        Ok(answer.into_answer(StatusCode::SWITCHING_PROTOCOLS.as_u16()))
    }
}

/// Where the answers to the events of a client go.
fn answers_of(protocol: u8) -> ((u8, mpsc::Sender<EventAnswer>), Events) {
    let (sender, answers) = mpsc::channel(1);
    ((protocol, sender), Events::new(answers))
}

/// Passes the messages of a connection on until either side ends it, and answers pings.
async fn read(mut reader: Reader, writer: Arc<Mutex<Writer>>, sender: mpsc::Sender<Received>, answers: Answers) {
    loop {
        let event = tokio::select! {
            () = sender.closed() => return,
            event = reader.next() => event,
        };
        let (received, packet) = match event {
            Event::Ping(payload) => {
                if writer.lock().await.pong(&payload).await.is_err() {
                    return;
                }
                continue;
            }
            Event::Received(received) => {
                let packet = match (&received, &answers) {
                    (Received::Message(message), Some((protocol, _))) => Packet::read(message, *protocol),
                    _ => Packet::Message,
                };
                (received, packet)
            }
        };
        match (packet, &answers) {
            (Packet::Ping(pong), _) => {
                if writer.lock().await.send(pong).await.is_err() {
                    return;
                }
            }
            // Nobody waits for the answer to an earlier event.
            (Packet::Answer(answer), Some((_, answers))) => _ = answers.try_send(answer),
            _ => {
                let is_message = matches!(received, Received::Message(_));
                if sender.send(received).await.is_err() || !is_message {
                    return;
                }
            }
        }
    }
}
