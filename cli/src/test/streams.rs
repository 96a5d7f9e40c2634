//! The live streams that the cases of a file have opened.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::Full;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::expect::Answer;
use super::send::{SendError, answer_of, authority, headers_of};
use super::stream_file::{EventExpect, Stream};
use crate::client::{EventParser, OpenResponse, ServerEvent, encoded, open};

/// How long the command waits for an expected event, and for a stream to end.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The most events of a stream that wait for a case to expect them.
const MAX_WAITING: usize = 10_000;

/// The streams by their names.
#[derive(Default)]
pub struct Streams(BTreeMap<String, Opened>);

/// A stream that was opened. Dropping `events` closes its connection.
struct Opened {
    request: Stream,
    events: Option<mpsc::Receiver<ServerEvent>>,
    last_id: Option<String>,
}

impl Streams {
    /// Opens, resumes or closes a stream. Returns the answer to the request, if there was one.
    pub async fn step(
        &mut self,
        address: SocketAddr,
        path: &str,
        stream: &Stream,
    ) -> Result<Option<Answer>, SendError> {
        let name = stream.name().to_owned();
        if stream.close.is_some() {
            let opened = self.0.get_mut(&name).ok_or_else(|| SendError::NoStream(name))?;
            opened.receive_all();
            opened.events = None;
            return Ok(None);
        }
        let request = match stream.resume {
            None => stream.clone(),
            Some(_) => {
                let opened = self.0.get_mut(&name).ok_or_else(|| SendError::NoStream(name.clone()))?;
                opened.receive_all();
                opened.events = None;
                Stream { last_event_id: opened.last_id.clone(), ..opened.request.clone() }
            }
        };
        let (answer, events) = connect(address, path, &request).await?;
        if let Some(events) = events {
            let last_id = request.last_event_id.clone();
            self.0.insert(name, Opened { request, events: Some(events), last_id });
        }
        Ok(Some(answer))
    }

    /// Waits for the events that the case expects. Returns what differs, one line each.
    pub async fn faults(&mut self, expected: &BTreeMap<String, Vec<EventExpect>>) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, events) in expected {
            let Some(opened) = self.0.get_mut(name) else {
                faults.push(SendError::NoStream(name.clone()).to_string());
                continue;
            };
            for (index, event) in events.iter().enumerate() {
                let place = format!("events.{name}[{index}]");
                match opened.next().await {
                    Ok(found) => faults.extend(event.faults(&place, &found)),
                    Err(why) => {
                        faults.push(format!("{place}: expected an event, {why}"));
                        break;
                    }
                }
            }
        }
        faults
    }

    /// Waits until the host has ended streams. Returns those that are open, one line each.
    pub async fn open_ones(&mut self, ended: &[String]) -> Vec<String> {
        let mut faults = Vec::new();
        for name in ended {
            match self.0.get_mut(name) {
                None => faults.push(SendError::NoStream(name.clone()).to_string()),
                Some(opened) => match opened.next().await {
                    Err(NoEvent::Ended) => {}
                    Err(NoEvent::Late) => faults.push(format!("ended: the stream {name} is still open")),
                    Ok(event) => {
                        faults.push(format!("ended: expected the end of the stream {name}, found {}", shown(&event)));
                    }
                },
            }
        }
        faults
    }
}

/// Why no event arrived.
#[derive(Debug, thiserror::Error)]
enum NoEvent {
    #[error("but none arrived within {} s", EVENT_TIMEOUT.as_secs())]
    Late,
    #[error("but the stream has ended")]
    Ended,
}

impl Opened {
    async fn next(&mut self) -> Result<ServerEvent, NoEvent> {
        let events = self.events.as_mut().ok_or(NoEvent::Ended)?;
        match timeout(EVENT_TIMEOUT, events.recv()).await {
            Ok(Some(event)) => {
                self.note(&event);
                Ok(event)
            }
            Ok(None) => Err(NoEvent::Ended),
            Err(_) => Err(NoEvent::Late),
        }
    }

    /// Receives the events that wait, because a client that resumes has seen them.
    fn receive_all(&mut self) {
        while let Some(Ok(event)) = self.events.as_mut().map(mpsc::Receiver::try_recv) {
            self.note(&event);
        }
    }

    fn note(&mut self, event: &ServerEvent) {
        if let Some(id) = &event.id {
            self.last_id = Some(id.clone());
        }
    }
}

/// Sends the request. Returns the answer, and the events if it is a stream.
async fn connect(
    address: SocketAddr,
    path: &str,
    stream: &Stream,
) -> Result<(Answer, Option<mpsc::Receiver<ServerEvent>>), SendError> {
    let query = stream.key.as_ref().map(|key| format!("?connectKey={}", encoded(key))).unwrap_or_default();
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    if let Some(id) = &stream.last_event_id {
        let value = HeaderValue::from_bytes(id.as_bytes()).map_err(|_| SendError::HeaderValue(id.clone()))?;
        headers.insert("last-event-id", value);
    }
    headers.extend(headers_of(&stream.headers)?);
    let mut request = Request::new(Full::<Bytes>::default());
    *request.uri_mut() = format!("{path}{query}").parse().map_err(|_| SendError::Target(path.to_owned()))?;
    *request.headers_mut() = headers;
    let mut response = open(&authority(address)?, request, EVENT_TIMEOUT).await?;
    let is_stream = response.head.status.is_success()
        && response
            .head
            .headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if !is_stream {
        let body = response.rest(EVENT_TIMEOUT).await?;
        return Ok((answer_of(&response.head, &body), None));
    }
    let answer = answer_of(&response.head, &[]);
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    tokio::spawn(receive(response, sender));
    Ok((answer, Some(receiver)))
}

/// Passes the events of a stream on until either side ends it. A stream with more events than a
/// case ever expects waits, and the host closes it as slow.
async fn receive(mut response: OpenResponse, sender: mpsc::Sender<ServerEvent>) {
    let mut parser = EventParser::default();
    loop {
        let part = tokio::select! {
            () = sender.closed() => return,
            part = response.part() => part,
        };
        let Some(part) = part else { return };
        for event in parser.parse(&part) {
            if sender.send(event).await.is_err() {
                return;
            }
        }
        if parser.is_too_long() {
            return;
        }
    }
}

fn shown(event: &ServerEvent) -> String {
    let name = if event.name.is_empty() { "message" } else { &event.name };
    format!("{name} {}", super::expect::quoted(&super::expect::cut(&event.data)))
}
