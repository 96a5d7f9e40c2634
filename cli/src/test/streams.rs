//! The live streams that the cases of a file have opened.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::Full;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::case::Stream;
use super::expect::Answer;
use super::expected::EventExpect;
use super::send::{SendError, answer_of, authority, headers_of};
use crate::client::{EventParser, MAX_EVENT, OpenResponse, ServerEvent, encoded, open};

/// How long the command waits for an expected event, and for a stream to end.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);

/// The most events of a stream that wait for a case to expect them.
const MAX_WAITING: usize = 10_000;

/// The streams by their names.
#[derive(Default)]
pub struct Streams(BTreeMap<String, Opened>);

/// A stream that was opened.
struct Opened {
    request: Stream,
    /// `None` once the case has closed it.
    connection: Option<Connection>,
    /// The id to resume after, once it is closed.
    last_id: Option<String>,
}

/// An open stream. Dropping it closes the connection.
struct Connection {
    events: mpsc::Receiver<Result<ServerEvent, NoEvent>>,
    /// The last id that arrived, with an event or without one.
    last_id: watch::Receiver<Option<String>>,
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
            opened.close();
            return Ok(None);
        }
        let request = match stream.resume {
            None => stream.clone(),
            Some(_) => {
                let opened = self.0.get_mut(&name).ok_or_else(|| SendError::NoStream(name.clone()))?;
                opened.close();
                Stream { last_event_id: opened.last_id.clone(), ..opened.request.clone() }
            }
        };
        let (answer, connection) = connect(address, path, &request).await?;
        if connection.is_some() {
            let last_id = request.last_event_id.clone();
            self.0.insert(name, Opened { request, connection, last_id });
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
                    Err(NoEvent::TooLong) => {
                        faults.push(format!("ended: expected the end of the stream {name}, {}", NoEvent::TooLong));
                    }
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
    #[error(
        "but an event with more than {MAX_EVENT} bytes arrived, which cases cannot expect: let the module send less"
    )]
    TooLong,
}

impl Opened {
    async fn next(&mut self) -> Result<ServerEvent, NoEvent> {
        let connection = self.connection.as_mut().ok_or(NoEvent::Ended)?;
        match timeout(EVENT_TIMEOUT, connection.events.recv()).await {
            Ok(Some(received)) => received,
            Ok(None) => Err(NoEvent::Ended),
            Err(_) => Err(NoEvent::Late),
        }
    }

    /// Closes the connection. The client has seen all events that have arrived, also those that no
    /// case has expected.
    fn close(&mut self) {
        if let Some(connection) = self.connection.take()
            && let Some(id) = connection.last_id.borrow().clone()
        {
            self.last_id = Some(id);
        }
    }
}

/// Sends the request. Returns the answer, and the events if it is a stream.
async fn connect(address: SocketAddr, path: &str, stream: &Stream) -> Result<(Answer, Option<Connection>), SendError> {
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
    let (arrived, last_id) = watch::channel(None);
    let (sender, events) = mpsc::channel(MAX_WAITING);
    let mut reader = Reader { parser: EventParser::new(MAX_EVENT), sender, last_id: arrived };
    // The host begins each stream with its position. A case that closes the stream at once resumes
    // after it.
    if let Ok(Some(part)) = timeout(EVENT_TIMEOUT, response.part()).await
        && reader.read(&part).await
    {
        tokio::spawn(reader.run(response));
    }
    Ok((answer, Some(Connection { events, last_id })))
}

/// Passes the events of a stream on until either side ends it. A stream with more events than a
/// case ever expects waits, and the host closes it as slow.
struct Reader {
    parser: EventParser,
    sender: mpsc::Sender<Result<ServerEvent, NoEvent>>,
    last_id: watch::Sender<Option<String>>,
}

impl Reader {
    async fn run(mut self, mut response: OpenResponse) {
        loop {
            let part = tokio::select! {
                () = self.sender.closed() => return,
                part = response.part() => part,
            };
            match part {
                Some(part) if self.read(&part).await => {}
                _ => return,
            }
        }
    }

    /// Reads a part. Returns whether to continue.
    async fn read(&mut self, part: &[u8]) -> bool {
        for event in self.parser.parse(part) {
            if self.sender.send(Ok(event)).await.is_err() {
                return false;
            }
        }
        self.last_id.send_replace(self.parser.last_id().map(str::to_owned));
        if self.parser.is_too_long() {
            // The receiver may have closed the stream meanwhile.
            _ = self.sender.send(Err(NoEvent::TooLong)).await;
            return false;
        }
        true
    }
}

fn shown(event: &ServerEvent) -> String {
    let name = if event.name.is_empty() { "message" } else { &event.name };
    format!("{name} {}", super::expect::quoted(&super::expect::cut(&event.data)))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Starts a server that answers each request with a stream that begins with `body`. Returns its
    /// address, and the heads of the requests.
    async fn server(body: String) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (record, heads) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.unwrap());
                }
                record.send(String::from_utf8(head).unwrap()).unwrap();
                let response = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{body}");
                tokio::spawn(async move {
                    // The client may leave before it has read everything.
                    _ = socket.write_all(response.as_bytes()).await;
                    _ = socket.read_u8().await;
                });
            }
        });
        (address, heads)
    }

    fn stream(text: &str) -> Stream {
        serde_json::from_str(text).unwrap()
    }

    #[tokio::test]
    async fn a_stream_resumes_after_the_position_that_arrived_before_the_first_event() {
        let (address, mut heads) = server(": connected\n\nid: a-7\n\n".to_owned()).await;
        let mut streams = Streams::default();
        for text in [r#"{"key": "a"}"#, r#"{"close": "a"}"#, r#"{"resume": "a"}"#] {
            streams.step(address, "/stream", &stream(text)).await.unwrap();
        }
        assert!(!heads.recv().await.unwrap().contains("last-event-id"));
        assert!(heads.recv().await.unwrap().contains("last-event-id: a-7\r\n"));
    }

    #[tokio::test]
    async fn an_event_of_more_than_1_mib_fails_with_its_reason() {
        let body = format!("data: first\n\ndata: {}", "x".repeat(MAX_EVENT + 1));
        let (address, _heads) = server(body).await;
        let mut streams = Streams::default();
        streams.step(address, "/stream", &stream(r#"{"key": "a"}"#)).await.unwrap();
        let expected = [("a".to_owned(), vec![EventExpect::default(), EventExpect::default()])].into();
        let reason =
            "but an event with more than 1048576 bytes arrived, which cases cannot expect: let the module send less";
        assert_eq!(streams.faults(&expected).await, [format!("events.a[1]: expected an event, {reason}")]);
        let open = streams.open_ones(&["a".to_owned()]).await;
        assert_eq!(open, Vec::<String>::new(), "the reader has ended");
    }
}
