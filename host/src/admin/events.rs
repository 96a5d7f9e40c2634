//! `GET /v1/events`: the host events, as server-sent events or as a list.
//!
//! The id of an event is `<epoch>-<number>`, where the epoch changes when the host restarts. A
//! client that sends it back in `Last-Event-ID` gets the events that follow. If some of them are no
//! longer kept, an event `missed` says how many. If the id is from another process of the host, an
//! event `reset` comes first, and then all events that are kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use super::answer::{Answer, document, event_stream, problem};
use super::api::{Query, invalid};
use super::state::AdminState;
use crate::call::{Problem, ProblemCode, StreamEvent};
use crate::events::{EventItem, EventReader, KEPT};
use crate::triggers::sse::{self, EventMessage};

/// The time between two comments on a stream without events. A client that is gone is noticed
/// within two of them.
const PING: Duration = Duration::from_secs(10);

/// When a client that was cut connects again.
const RETRY: Duration = Duration::from_secs(1);

/// The most events that one write to a client may have.
const BATCH: usize = 64;

pub fn answer(admin: &AdminState, headers: &HeaderMap, query: &str) -> Answer {
    let query = Query::of(query);
    let tail = match query.get("tail").map(|tail| tail.parse::<usize>()) {
        None => KEPT,
        Some(Ok(tail)) if tail <= KEPT => tail,
        Some(_) => return invalid(format!("tail: must be a number from 0 to {KEPT}")),
    };
    let log = &admin.swapper.services.events;
    match query.get("follow").as_deref() {
        None | Some("true") => {}
        Some("false") => {
            let mut reader = log.read_newest(tail);
            let records = std::iter::from_fn(|| reader.try_next()).filter_map(|item| match item {
                EventItem::Event(record) => Some(record),
                EventItem::Missed(_) => None,
            });
            // At most those that are kept: new ones may be raised meanwhile.
            return document(StatusCode::OK, &records.take(KEPT).map(Arc::unwrap_or_clone).collect::<Vec<_>>());
        }
        Some(_) => return invalid("follow: must be true or false"),
    }
    let Some(place) = Place::take(admin) else { return too_many(admin) };
    let mut head = sse::retry(RETRY).into_bytes();
    let reader = match headers.get("last-event-id").map(|id| number(id, log.epoch, log.count())) {
        None => log.read_newest(tail),
        Some(Some(number)) => log.read_after(number),
        Some(None) => {
            write("reset", None, "{\"type\":\"reset\"}".to_owned(), &mut head);
            log.read_newest(KEPT)
        }
    };
    let follower = Follower { reader, epoch: log.epoch, head: Some(head), _place: place };
    event_stream(stream::unfold(follower, Follower::next))
}

/// The number in an id of this process of the host. `None` for any other id.
fn number(id: &HeaderValue, epoch: u64, last: u64) -> Option<u64> {
    let (of, number) = id.to_str().ok()?.split_once('-')?;
    let number = number.parse().ok()?;
    (of.parse() == Ok(epoch) && number <= last).then_some(number)
}

/// A client that follows the events.
struct Follower {
    reader: EventReader,
    epoch: u64,
    /// What the client gets first.
    head: Option<Vec<u8>>,
    _place: Place,
}

impl Follower {
    /// The next events as text, or a comment if there are none for [`PING`]. `None` when the host
    /// has stopped.
    async fn next(mut self) -> Option<(Bytes, Follower)> {
        let mut text = self.head.take().unwrap_or_default();
        if text.is_empty() {
            match tokio::time::timeout(PING, self.reader.next()).await {
                Ok(item) => self.write(item?, &mut text),
                Err(_) => text.extend_from_slice(sse::PING.as_bytes()),
            }
        }
        for _ in 1..BATCH {
            let Some(item) = self.reader.try_next() else { break };
            self.write(item, &mut text);
        }
        Some((Bytes::from(text), self))
    }

    fn write(&self, item: EventItem, text: &mut Vec<u8>) {
        match item {
            EventItem::Event(record) => {
                let data = serde_json::to_string(&*record).unwrap_or_default();
                write(record.event.name(), Some(format!("{}-{}", self.epoch, record.number)), data, text);
            }
            EventItem::Missed(count) => {
                write("missed", None, format!("{{\"type\":\"missed\",\"count\":{count}}}"), text);
            }
        }
    }
}

/// Appends an event.
fn write(name: &str, id: Option<String>, data: String, text: &mut Vec<u8>) {
    let event = StreamEvent { event: Some(name.to_owned()), id, ..StreamEvent::from(data) };
    text.extend_from_slice(&EventMessage::of_host(event).text());
}

/// The place of a client that follows the events. Dropping it frees the place.
struct Place(Arc<AtomicUsize>);

impl Place {
    /// `None` if all places are taken.
    fn take(admin: &AdminState) -> Option<Place> {
        let streams = admin.event_streams.clone();
        let most = most_streams(admin);
        let taken = streams.fetch_update(Relaxed, Relaxed, |count| (count < most).then_some(count + 1));
        taken.is_ok().then(|| Place(streams))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Half of the admin connections, so that the other half remains for commands.
fn most_streams(admin: &AdminState) -> usize {
    (admin.sockets.descriptors.max_admin_connections() / 2).max(1)
}

fn too_many(admin: &AdminState) -> Answer {
    admin.event_streams_refused.inc();
    let most = most_streams(admin);
    let detail = format!("{most} clients already follow the events, half of the admin connections; close one first");
    let mut answer = problem(Problem::new(ProblemCode::Overloaded, detail));
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_another_process_or_of_no_event_is_unknown() {
        let number = |id: &'static str| number(&HeaderValue::from_static(id), 17, 5);
        assert_eq!((number("17-0"), number("17-5")), (Some(0), Some(5)));
        for id in ["16-3", "17-6", "17", "", "-", "17-", "-3", "a-3", "17-a", "17-3-4", "17--3"] {
            assert_eq!(number(id), None, "{id}");
        }
    }
}
