//! Live streams of the in-memory host.

use std::fmt;
use std::sync::Arc;

use super::TIMEOUT;
use super::dispatch::CallSpec;
use super::node::{CallState, Node, State};
use super::request::head;
use super::routes::RouteRequest;
use crate::failure::CallError;
use crate::sse::{Event, Reach};
use crate::types::{HeaderFields, Isolate, Origin, Outcome, Payload, Reply, Trigger};
use crate::wit::sse::Event as Record;

/// The most bytes of a key, as in the real host.
const MAX_KEY: usize = 256;

/// An event that was published.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The isolate that published it.
    pub isolate: Isolate,
    /// The key, or `None` for all keys.
    pub key: Option<String>,
    /// The event.
    pub event: Event,
    /// The clients that it was for.
    pub reach: Reach,
}

/// A reader that was admitted.
pub(super) struct ReaderState {
    number: u64,
    worker: u32,
    key: String,
    events: Vec<Event>,
    open: bool,
}

/// A request for a stream. Create one with [`TestHost::stream`](super::TestHost::stream).
#[must_use = "call `open` to open the stream"]
pub struct StreamOptions<'a> {
    node: &'a Arc<Node>,
    key: String,
    worker: u32,
    last_event_id: Option<String>,
    subdomain: Option<String>,
    headers: HeaderFields,
}

impl<'a> StreamOptions<'a> {
    pub(super) fn new(node: &'a Arc<Node>, key: &str) -> Self {
        let (last_event_id, subdomain, headers) = (None, None, Vec::new());
        StreamOptions { node, key: key.to_owned(), worker: 0, last_event_id, subdomain, headers }
    }

    /// Opens it in this worker. The default is worker 0.
    pub fn on(mut self, worker: u32) -> Self {
        self.worker = worker;
        self
    }

    /// Resumes after this event. The in-memory host keeps no history: only the handler that admits
    /// the reader sees the id.
    pub fn last_event_id(mut self, id: &str) -> Self {
        self.last_event_id = Some(id.to_owned());
        self
    }

    /// Opens it for this tenant.
    pub fn subdomain(mut self, subdomain: &str) -> Self {
        self.subdomain = Some(subdomain.to_owned());
        self
    }

    /// Adds a header field to the request.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Asks the route that the manifest names for the key, and opens the stream if it admits the
    /// reader.
    pub fn open(self) -> Result<Reader, Refusal> {
        let StreamOptions { node, key, worker, .. } = &self;
        if *worker >= node.workers() {
            return Err(Refusal::Error(CallError::NotFound(format!("there is no worker-{worker}"))));
        }
        check_key(key).map_err(Refusal::Error)?;
        if let Some(path) = node.manifest.admitting_route(key) {
            match self.ask(path).map_err(Refusal::Error)? {
                Outcome::Pass(_) => {}
                Outcome::Reply(reply) if reply.status < 300 => {}
                Outcome::Reply(reply) => return Err(Refusal::Reply(reply)),
            }
        }
        let mut state = node.state();
        let number = state.next_reader;
        state.next_reader += 1;
        let reader = ReaderState { number, worker: *worker, key: key.clone(), events: Vec::new(), open: true };
        state.readers.push(reader);
        Ok(Reader { node: Arc::clone(node), number })
    }

    fn ask(&self, path: &str) -> Result<Outcome, CallError> {
        let request = RouteRequest::parse(path);
        let route = self.node.manifest.find(&request)?;
        let data = serde_json::json!({ "key": self.key, "lastEventId": self.last_event_id });
        let http = Some((self.headers.clone(), head("/stream".to_owned())));
        let state = CallState { worker: self.worker, subdomain: self.subdomain.clone(), http, ..CallState::default() };
        let pending = self.node.start(CallSpec {
            route,
            query: "",
            trigger: Trigger::Other(("stream".to_owned(), data.to_string())),
            payload: Payload::None,
            timeout: None,
            state,
            origin: Origin::Client,
            extra: Vec::new(),
        });
        pending.wait(TIMEOUT).unwrap_or(Err(CallError::Timeout))
    }
}

/// Why a stream did not open.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// The route replied with a status of 300 or above.
    Reply(Reply),
    /// The call of the route failed.
    Error(CallError),
}

impl Refusal {
    /// Returns the status of the response that the client would receive.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Reply(reply) => reply.status,
            Refusal::Error(CallError::Failure(failure)) => failure.status,
            Refusal::Error(error) => crate::Failure::from(error.clone()).status,
        }
    }
}

/// An open stream, which collects what is published to its key. Dropping it closes it.
pub struct Reader {
    node: Arc<Node>,
    number: u64,
}

impl Reader {
    /// Returns all events received so far, in order.
    pub fn events(&self) -> Vec<Event> {
        self.read(|reader| reader.events.clone())
    }

    /// Whether the module has not closed it.
    pub fn is_open(&self) -> bool {
        self.read(|reader| reader.open)
    }

    fn read<T: Default>(&self, read: impl FnOnce(&ReaderState) -> T) -> T {
        let state = self.node.state();
        state.readers.iter().find(|reader| reader.number == self.number).map(read).unwrap_or_default()
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.node.state().readers.retain(|reader| reader.number != self.number);
    }
}

/// Whether a reader is within the reach of a worker, and has the key, if there is one.
fn reached(reader: &ReaderState, key: Option<&str>, worker: u32, reach: Reach) -> bool {
    reader.open && key.is_none_or(|key| key == reader.key) && (reach != Reach::ThisWorker || reader.worker == worker)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl State {
    fn reach(&mut self, key: Option<&str>, worker: u32, reach: Reach, each: impl Fn(&mut ReaderState)) -> u32 {
        let readers = self.readers.iter_mut().filter(|reader| reached(reader, key, worker, reach));
        number(readers.map(each).count())
    }
}

impl Node {
    /// Publishes to a key, or to all.
    pub fn publish(&self, key: Option<&str>, event: &Record, worker: u32, reach: Reach) -> Result<u32, CallError> {
        key.map_or(Ok(()), check_key)?;
        check_event(event)?;
        let event = Event::of_record(event);
        let mut state = self.state();
        let isolate = Isolate::Worker(worker);
        state.published.push(Published { isolate, key: key.map(str::to_owned), event: event.clone(), reach });
        Ok(state.reach(key, worker, reach, |reader| reader.events.push(event.clone())))
    }

    /// Sends an event of the host to the readers of a key, or to all.
    pub fn send_to_readers(&self, key: Option<&str>, event: &Event) -> Result<(), CallError> {
        key.map_or(Ok(()), check_key)?;
        self.state().reach(key, 0, Reach::ThisNode, |reader| reader.events.push(event.clone()));
        Ok(())
    }

    /// Closes the streams of a key, or all.
    pub fn close(&self, key: Option<&str>, worker: u32, reach: Reach) -> Result<u32, CallError> {
        key.map_or(Ok(()), check_key)?;
        Ok(self.state().reach(key, worker, reach, |reader| reader.open = false))
    }

    /// Counts the open streams of a key, or all.
    pub fn count_streams(&self, key: Option<&str>) -> u32 {
        let state = self.state();
        number(state.readers.iter().filter(|reader| reached(reader, key, 0, Reach::ThisNode)).count())
    }
}

fn check_key(key: &str) -> Result<(), CallError> {
    if key.len() > MAX_KEY || key.contains(char::is_control) {
        let message = format!("a stream key has at most {MAX_KEY} bytes and no control characters, found {key:?}");
        return Err(CallError::Invalid(message));
    }
    Ok(())
}

fn check_event(event: &Record) -> Result<(), CallError> {
    let breaks = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains(['\r', '\n', '\0']));
    let rule = match () {
        () if event.data.as_text().is_none() => "the data of an event must be UTF-8",
        () if breaks(&event.event) => "the type of an event must have no line break",
        () if breaks(&event.id) => "the id of an event must have no line break",
        () => return Ok(()),
    };
    Err(CallError::Invalid(rule.to_owned()))
}
