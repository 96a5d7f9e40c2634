//! Positions, after which clients resume: of streams, of the event service and of channels.

use std::cell::RefCell;
use std::collections::HashMap;

use http::{HeaderMap, HeaderValue};

use crate::call::ChannelPosition;
use crate::hub::{Position, Resumable};
use crate::triggers::{events, sse, websocket};

thread_local! {
    /// By the number of their messages, and of those that they keep.
    static RESUMABLE: RefCell<HashMap<u8, Resumable>> = RefCell::default();
}

/// Reads what a client sends to resume. The first byte says how many messages there were, and how
/// many of them are kept. The first line of the rest is a `Last-Event-ID`, the second one a query,
/// the third one the path of a channel's history. In each of them, `@` stands for the right epoch.
pub fn positions(bytes: &[u8]) {
    let Some((counts, rest)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    RESUMABLE.with_borrow_mut(|all| {
        let new = || Resumable::new(u64::from(counts >> 4), usize::from(counts & 15));
        resume(all.entry(*counts).or_insert_with(new), text);
    });
}

fn resume(resumable: &Resumable, text: &str) {
    let [of_stream, of_log, of_channel] = resumable.epochs().map(|epoch| text.replace('@', &epoch));
    if let Ok(Some(id)) = sse::last_event_id(query(&of_stream), &headers(&of_stream)) {
        resumable.stream(&id);
    }
    resumable.stream(line(&of_stream, 0));
    if let Ok(start) = events::start_of(query(&of_log), &headers(&of_log)) {
        resumable.log(start);
    }
    if let Ok((after, most)) = websocket::history_after(line(&of_channel, 2), query(&of_channel)) {
        resumable.channel(after, most, u64::MAX);
        resumable.channel(after, most, 600);
    }
    for id in of_stream.split('\n').take(3) {
        if let Some(position) = Position::parse(id) {
            assert_eq!(Position::parse(&position.to_string()), Some(position), "{id:?}");
        }
        if let Some(position) = ChannelPosition::parse(id) {
            assert_eq!(ChannelPosition::parse(&position.to_string()), Some(position), "{id:?}");
            assert_eq!(ChannelPosition::of(&position.epoch_text(), position.offset), Some(position), "{id:?}");
        }
    }
}

fn line(text: &str, index: usize) -> &str {
    text.split('\n').nth(index).unwrap_or_default()
}

fn query(text: &str) -> Option<&str> {
    text.split('\n').nth(1)
}

fn headers(text: &str) -> HeaderMap {
    let value = HeaderValue::from_bytes(line(text, 0).as_bytes()).ok();
    value.into_iter().map(|value| (http::HeaderName::from_static("last-event-id"), value)).collect()
}
