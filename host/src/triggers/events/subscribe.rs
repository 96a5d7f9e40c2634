//! `GET /events`: subscribes to types, as server-sent events.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderName, Method};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::answers;
use super::service::{ConnectionPlace, EventService};
use crate::api::ServiceEvent;
use crate::call::{Event, StreamEvent, bounds, event_type};
use crate::hub::{Form, LogItem, LogReader, Logged, Notice, Position};
use crate::triggers::http::{Content, HostRequest, HttpResponse, ProblemResponse};
use crate::triggers::sse::{Accepts, EventMessage, decode, encode_notice, not_acceptable};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The most types of one subscriber.
pub(super) const MAX_TYPES: usize = 100;

/// Events that wait are sent together, up to about this number of bytes.
const GATHERED: usize = 16 * 1024;

/// The most events that a subscriber reads in one turn, also of types that it does not want.
const TURN: usize = 256;

pub(super) async fn answer(
    service: &Arc<EventService>,
    request: &HostRequest,
) -> Result<HttpResponse, ProblemResponse> {
    let accepts = Accepts::of(&request.headers);
    if accepts == Accepts::No {
        return Err(not_acceptable());
    }
    let wanted = Wanted::of(request.uri.query(), &request.headers).map_err(ProblemResponse::bad_request)?;
    let Some(place) = service.subscribe() else {
        return match accepts {
            Accepts::Named => Ok(answers::full()),
            Accepts::Any | Accepts::No => {
                let most = service.max_subscribers();
                let detail = format!("{most} clients are already subscribed (`events.maxSubscribers`): retry later");
                Err(answers::overloaded(detail))
            }
        };
    };
    if request.method == Method::HEAD {
        return Ok(answers::stream(Content::Frames(Box::pin(stream::empty()))));
    }
    // Before the head is sent, so that the client gets every event that follows the head.
    service.followed.confirmed().await;
    let reader = service.log.reader(wanted.start.position());
    let mut subscriber = Subscriber {
        service: service.clone(),
        reader,
        types: wanted.types,
        stopping: request.stopping.clone(),
        end: None,
        told: None,
        next: Bytes::new(),
        _place: place,
    };
    subscriber.open();
    Ok(answers::stream(Content::Frames(Box::pin(stream::unfold(subscriber, Subscriber::next)))))
}

/// The position of no event.
const UNKNOWN: Position = Position { epoch: 0, number: u64::MAX };

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// Patterns of types. Empty for all.
    types: Vec<String>,
    start: Start,
}

#[derive(Debug, PartialEq, Eq)]
enum Start {
    Now,
    /// After a position. `None` for an id that is no position.
    Position(Option<Position>),
}

impl Start {
    /// Where the log is read from. `None` for its end.
    fn position(self) -> Option<Position> {
        match self {
            Start::Now => None,
            Start::Position(position) => Some(position.unwrap_or(UNKNOWN)),
        }
    }
}

impl Wanted {
    /// Reads the parameters `type` and `lastEventId`, and the header `Last-Event-ID`, which comes
    /// before the parameter. Other parameters are ignored. The error is a sentence for the client.
    fn of(query: Option<&str>, headers: &HeaderMap) -> Result<Wanted, String> {
        let (mut types, mut id) = (Vec::new(), None);
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(name) = decode(name) else { continue };
            if !matches!(name.as_ref(), "type" | "lastEventId") {
                continue;
            }
            let value = decode(value).ok_or_else(|| {
                format!(
                    "cannot decode the parameter `{name}`: write `%` only before two hexadecimal digits, and encode \
                     text as UTF-8"
                )
            })?;
            if name == "lastEventId" {
                if id.replace(value.into_owned()).is_some() {
                    return Err("the query has the parameter `lastEventId` twice: send it once".to_owned());
                }
                continue;
            }
            if !event_type::is_type(&value) {
                let (most, size) = (event_type::MAX, value.len());
                return Err(format!(
                    "the parameter `type` must have 1 to {most} bytes and no control characters, found {size} bytes"
                ));
            }
            types.push(value.into_owned());
        }
        if types.len() > MAX_TYPES {
            bounds::EVENT_LIST.count();
            let count = types.len();
            return Err(format!(
                "the query has {count} types, but at most {MAX_TYPES} are allowed: use a pattern such as `prefix/*`"
            ));
        }
        let header = headers.get(LAST_EVENT_ID).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let start = match header.into_iter().chain(id).find(|id| !id.is_empty()) {
            Some(id) => Start::Position(Position::parse(&id)),
            None => Start::Now,
        };
        Ok(Wanted { types, start })
    }
}

/// The position after which a client reads. `None` for the end of the log.
#[cfg(any(test, fuzzing))]
pub(crate) fn start_of(query: Option<&str>, headers: &HeaderMap) -> Result<Option<Position>, String> {
    let Wanted { types, start } = Wanted::of(query, headers)?;
    assert!(types.len() <= MAX_TYPES && types.iter().all(|one| event_type::is_type(one)));
    Ok(start.position())
}

/// A client that is subscribed.
struct Subscriber {
    service: Arc<EventService>,
    reader: LogReader,
    types: Vec<String>,
    stopping: CancellationToken,
    /// The last number of the stream, once the host stops.
    end: Option<u64>,
    /// The last position that the client was told.
    told: Option<Position>,
    /// What is sent next.
    next: Bytes,
    _place: ConnectionPlace,
}

impl Subscriber {
    /// Prepares the first notice. A reader that cannot resume gets a reset instead of its position.
    fn open(&mut self) {
        let start = self.reader.position();
        let first = self.reader.try_next();
        match first {
            Some(LogItem::Missed(_)) => {
                let mut text = BytesMut::from(encode_notice(Notice::Open(None), Form::Text).as_ref());
                text.extend_from_slice(&self.reset());
                self.next = text.freeze();
            }
            first => {
                let mut text = BytesMut::from(encode_notice(Notice::Open(Some(start)), Form::Text).as_ref());
                self.told = Some(start);
                if let Some(LogItem::Event(logged)) = first
                    && let Some(event) = self.wanted(&logged)
                {
                    text.extend_from_slice(&event);
                }
                self.next = text.freeze();
            }
        }
    }

    /// Returns the next bytes. `None` when the host stops, after what was emitted before.
    async fn next(mut self) -> Option<(Bytes, Subscriber)> {
        let mut frame = std::mem::take(&mut self.next);
        // Events of other types do not delay it.
        let ping_at = Instant::now() + self.service.ping;
        while frame.is_empty() {
            if self.is_at_end() {
                return None;
            }
            let item = tokio::select! {
                biased;
                item = self.reader.next() => Some(item),
                () = self.stopping.cancelled(), if self.end.is_none() => continue,
                () = sleep_until(ping_at) => None,
            };
            frame = item.map(|item| self.gather(item)).unwrap_or_default();
            if frame.is_empty() && Instant::now() >= ping_at {
                frame = self.ping();
            }
            if frame.is_empty() {
                // The events were of other types. The other tasks of this thread go first.
                tokio::task::yield_now().await;
            }
        }
        Some((frame, self))
    }

    /// Whether the host stops, and the client has what was emitted before.
    fn is_at_end(&mut self) -> bool {
        if !self.stopping.is_cancelled() {
            return false;
        }
        let last = self.service.log.position().number;
        self.reader.position().number >= *self.end.get_or_insert(last)
    }

    /// The wanted events among the item and those that follow it.
    fn gather(&mut self, first: LogItem) -> Bytes {
        // An event alone is sent without a copy.
        let (mut one, mut many) = (Bytes::new(), BytesMut::new());
        let mut item = first;
        for turn in 1.. {
            let text = match item {
                LogItem::Event(logged) => self.wanted(&logged),
                LogItem::Missed(_) => Some(self.reset()),
            };
            if let Some(text) = text {
                if !one.is_empty() && many.is_empty() {
                    many.extend_from_slice(&one);
                }
                match one.is_empty() {
                    true => one = text,
                    false => many.extend_from_slice(&text),
                }
            }
            // Before the next item is read, because an item that is read must also be sent.
            if turn == TURN || one.len().max(many.len()) >= GATHERED {
                break;
            }
            match self.reader.try_next() {
                Some(next) => item = next,
                None => break,
            }
        }
        if many.is_empty() { one } else { many.freeze() }
    }

    /// The text of an event if its type is wanted.
    fn wanted(&mut self, logged: &Logged) -> Option<Bytes> {
        let is_wanted =
            self.types.is_empty() || self.types.iter().any(|pattern| event_type::covers(pattern, &logged.event.kind));
        is_wanted.then(|| {
            self.told = Some(logged.position);
            self.service.counters.sent.fetch_add(1, Relaxed);
            logged.text(encode)
        })
    }

    fn reset(&mut self) -> Bytes {
        self.service.counters.resets.fetch_add(1, Relaxed);
        let position = self.reader.position();
        self.told = Some(position);
        encode_notice(Notice::Reset(Some(position)), Form::Text)
    }

    /// A comment, and the position if it has changed, so that a client of rare types resumes at the
    /// right place.
    fn ping(&mut self) -> Bytes {
        let ping = encode_notice(Notice::Ping, Form::Text);
        let position = self.reader.position();
        if self.told.replace(position) == Some(position) {
            return ping;
        }
        format!("{}id: {position}\n\n", String::from_utf8_lossy(&ping)).into()
    }
}

/// The event as text.
fn encode(event: &Event, position: &Position) -> Bytes {
    // The value was checked when it was emitted.
    let value = RawValue::from_string(event.value.to_string()).unwrap_or_default();
    let source = event.source.as_ref().map(ToString::to_string);
    let document = ServiceEvent { kind: event.kind.to_string(), value, source };
    let data = serde_json::to_string(&document).unwrap_or_default();
    EventMessage::of_host(StreamEvent::from(data)).text_at(Some(position)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::ServiceLog;
    use crate::journal::JournalLimits;

    fn wanted(query: &str, id: Option<&str>) -> Result<Wanted, String> {
        let mut headers = HeaderMap::new();
        if let Some(id) = id {
            headers.insert(LAST_EVENT_ID, id.parse().unwrap());
        }
        Wanted::of(Some(query), &headers)
    }

    #[test]
    fn a_query_names_types_and_the_place() {
        let types = |query| wanted(query, None).map(|wanted| wanted.types);
        assert_eq!(types(""), Ok(vec![]));
        assert_eq!(types("type=a&x=%&type=order%2F*&type=*"), Ok(vec!["a".into(), "order/*".into(), "*".into()]));
        let from = |query, id| wanted(query, id).unwrap().start;
        let position = |epoch, number| Start::Position(Some(Position { epoch, number }));
        assert_eq!((from("", None), from("lastEventId=", Some(""))), (Start::Now, Start::Now));
        assert_eq!(
            (from("lastEventId=a-7", None), from("lastEventId=a-7", Some("b-8"))),
            (position(10, 7), position(11, 8))
        );
        assert_eq!(from("lastEventId=a-7", Some("")), position(10, 7));
        assert_eq!(from("", Some("hello")), Start::Position(None));
    }

    #[test]
    fn a_query_that_cannot_be_one_is_rejected_with_the_reason() {
        let long = format!("type={}", "x".repeat(257));
        for (query, reason) in [
            ("type=", "found 0 bytes"),
            (&long, "found 257 bytes"),
            ("type=%0A", "control characters"),
            ("type=%", "cannot decode"),
            ("lastEventId=1-1&type=a&lastEventId=1-2", "`lastEventId` twice"),
            (&vec!["type=a"; 101].join("&"), "101 types"),
        ] {
            let error = wanted(query, None).unwrap_err();
            assert!(error.contains(reason), "{query}: {error}");
        }
        assert_eq!(wanted(&vec!["type=a"; 100].join("&"), None).unwrap().types.len(), 100);
    }

    #[test]
    fn the_log_counts_at_least_the_bytes_of_an_event_and_its_text() {
        let limits = JournalLimits { count: 9, bytes: u64::MAX, age: std::time::Duration::from_secs(60) };
        for value in ["1".to_owned(), format!("[{}1]", "\n".repeat(10_000)), format!("[{}1]", "\r".repeat(10_000))] {
            for (kind, source) in [("a".to_owned(), None), ("\"".repeat(256), Some("\\".repeat(128).into()))] {
                let log = ServiceLog::new(limits);
                log.emit(&None, Event { kind: kind.into(), value: value.as_str().into(), source });
                let mut reader = log.reader(Some(Position { number: 0, ..log.position() }));
                let Some(LogItem::Event(logged)) = reader.try_next() else { panic!("no event") };
                let bytes = logged.event.size() + logged.text(encode).len() as u64;
                assert!(log.kept().1 >= bytes, "{} of {bytes} bytes", log.kept().1);
            }
        }
    }

    #[test]
    fn an_event_is_one_object_whose_lines_a_reader_joins() {
        let event = Event { kind: "a\"b".into(), value: "{\n \"b\":\r\n1}".into(), source: Some("s".into()) };
        let text = encode(&event, &Position { epoch: 10, number: 7 });
        assert_eq!(
            text,
            "id: a-7\ndata: {\"type\":\"a\\\"b\",\"value\":{\ndata:  \"b\":\ndata: 1},\"source\":\"s\"}\n\n"
        );
    }
}
