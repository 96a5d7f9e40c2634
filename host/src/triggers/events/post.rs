//! `POST /events`: emits an event, or a list of events.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answers;
use super::repeats::{Emitted, MAX_KEY, Outcome};
use super::service::{EventService, MAX_LIST};
use crate::api::{EmittedEvent, EmittedEvents};
use crate::call::{Event, Post, bounds, event_type};
use crate::hub::Position;
use crate::triggers::http::{HostRequest, HttpResponse, ProblemResponse};

/// The longest source in bytes.
const MAX_SOURCE: usize = 128;

const FIX: &str = "send `{\"type\": <text>, \"value\": <any JSON>}`, or a list of such objects";

const KEY: HeaderName = HeaderName::from_static("idempotency-key");

pub(super) async fn answer(service: &EventService, request: HostRequest) -> Result<HttpResponse, ProblemResponse> {
    check_type(&request.headers)?;
    let key = key(&request.headers)?;
    let body = request.body.read(service.max_body, "events.maxBody").await?;
    let Written { events, is_list } = Written::parse(&body).map_err(ProblemResponse::bad_request)?;
    let count = events.len();
    // A request that repeats an earlier one counts, too.
    let room = service.rate.take(count, Instant::now());
    room.map_err(|after| {
        service.counters.refused_rate.fetch_add(1, Relaxed);
        answers::too_many_events(service.max_rate, after)
    })?;
    let posts = match service.topics.is_alone() {
        true => Vec::new(),
        false => events.iter().map(|event| Post::event(None, event)).collect(),
    };
    let prepared = service.topics.prepare(posts).map_err(ProblemResponse::of_call)?;
    let emit = || {
        let (mut events, mut last) = (Some(events), 0);
        prepared.send(&mut || {
            // It is called once.
            if let Some(events) = events.take() {
                last = service.log.emit_all(&None, events).number;
            }
            crate::ports::Acted::Done
        });
        Emitted { last, count }
    };
    let outcome = match key {
        Some(key) => service.repeats.once(&key, &body, emit),
        None => Outcome::First(emit()),
    };
    let emitted = match outcome {
        Outcome::First(emitted) => {
            service.counters.emitted.fetch_add(count as u64, Relaxed);
            emitted
        }
        Outcome::Repeated(emitted) => {
            service.counters.repeated.fetch_add(1, Relaxed);
            emitted
        }
        Outcome::Different => return Err(answers::other_body()),
    };
    let epoch = service.log.position().epoch;
    let first = emitted.last.saturating_sub(emitted.count as u64).saturating_add(1);
    let mut positions = (first..=emitted.last).map(|number| Position { epoch, number }.to_string());
    Ok(match is_list {
        true => answers::document(&EmittedEvents { positions: positions.collect() }),
        false => answers::document(&EmittedEvent { position: positions.next().unwrap_or_default() }),
    })
}

/// Accepts only JSON, which web pages of other sites cannot send without asking first.
fn check_type(headers: &HeaderMap) -> Result<(), ProblemResponse> {
    let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_ascii_lowercase();
    let content_type = headers.get(CONTENT_TYPE).map(text).unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    let is_json = parts.next() == Some("application/json")
        && parts.all(|parameter| {
            let charset = parameter.strip_prefix("charset=").map(|name| name.trim_matches('"'));
            charset.is_none_or(|name| name == "utf-8")
        });
    if !is_json {
        return Err(answers::unsupported_type("this route accepts JSON only: send `Content-Type: application/json`"));
    }
    match headers.get(CONTENT_ENCODING).map(text) {
        Some(coding) if coding != "identity" => {
            Err(answers::unsupported_type("this route accepts no compressed body: send it without `Content-Encoding`"))
        }
        _ => Ok(()),
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, ProblemResponse> {
    let mut values = headers.get_all(&KEY).iter();
    let key = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().ok(),
        (Some(_), Some(_)) => None,
    };
    let is_key = |key: &&str| (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    key.filter(is_key).map(|key| Some(key.to_owned())).ok_or_else(|| {
        let rule = format!("one value of 1 to {MAX_KEY} visible ASCII characters without spaces");
        ProblemResponse::bad_request(format!("the header `Idempotency-Key` must have {rule}"))
    })
}

/// The events of a request.
#[derive(Debug)]
struct Written {
    events: Vec<Event>,
    is_list: bool,
}

/// An event as clients write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with the key `value`")]
struct WrittenEvent<'a> {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(borrow)]
    value: &'a RawValue,
    #[serde(default)]
    source: Option<String>,
}

impl Written {
    /// Reads an event, or a list. The error is a sentence for the client.
    fn parse(body: &[u8]) -> Result<Written, String> {
        let text = str::from_utf8(body)
            .map_err(|error| format!("byte {} of the body is not UTF-8: send JSON in UTF-8", error.valid_up_to()))?;
        if text.trim_ascii_start().starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| invalid(&error))?;
            if items.len() > MAX_LIST {
                bounds::EVENT_LIST.count();
                let count = items.len();
                return Err(format!(
                    "the list has {count} events, but at most {MAX_LIST} are allowed: send several lists"
                ));
            }
            let read = |(index, item): (usize, &&RawValue)| {
                event(item.get()).map_err(|why| format!("event {index} of the list: {why}"))
            };
            return Ok(Written {
                events: items.iter().enumerate().map(read).collect::<Result<_, _>>()?,
                is_list: true,
            });
        }
        Ok(Written { events: vec![event(text)?], is_list: false })
    }
}

fn event(text: &str) -> Result<Event, String> {
    // Else serde would read the fields of the event from the list, in their order.
    if text.trim_ascii_start().starts_with('[') {
        return Err(format!("the JSON is not an event: found a list: {FIX}"));
    }
    let WrittenEvent { kind, value, source } = serde_json::from_str(text).map_err(|error| invalid(&error))?;
    let kind = kind.as_deref().unwrap_or(Event::DEFAULT_KIND);
    if !event_type::is_type(kind) {
        let (most, size) = (event_type::MAX, kind.len());
        return Err(format!(
            "the key `type` must have 1 to {most} bytes and no control characters, found {size} bytes"
        ));
    }
    if let Some(source) = &source
        && (source.len() > MAX_SOURCE || source.contains(char::is_control))
    {
        let size = source.len();
        return Err(format!(
            "the key `source` must have at most {MAX_SOURCE} bytes and no control characters, found {size} bytes"
        ));
    }
    Ok(Event { kind: kind.into(), value: value.get().into(), source: source.map(Into::into) })
}

fn invalid(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => format!("the JSON is not an event: {error}: {FIX}"),
        _ => format!("the body is not valid JSON: {error}: {FIX}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Vec<(String, String, Option<String>)>, String> {
        let text =
            |event: Event| (event.kind.to_string(), event.value.to_string(), event.source.map(|s| s.to_string()));
        Written::parse(body.as_bytes()).map(|written| written.events.into_iter().map(text).collect())
    }

    fn event(kind: &str, value: &str) -> (String, String, Option<String>) {
        (kind.to_owned(), value.to_owned(), None)
    }

    #[test]
    fn an_event_or_a_list_is_read_and_values_stay_as_they_are() {
        assert_eq!(parse(r#"{"type":"a","value": {"b" : 1.0} }"#).unwrap(), [event("a", r#"{"b" : 1.0}"#)]);
        assert_eq!(parse(r#" {"value":null}"#).unwrap(), [event("message", "null")]);
        assert_eq!(parse("[]").unwrap(), []);
        let list = parse("\n[{\"value\":1,\"type\":\"a\"},{\"value\":[],\"source\":\"s\"}]").unwrap();
        assert_eq!(list, [event("a", "1"), ("message".into(), "[]".into(), Some("s".into()))]);
        let deep = format!("{{\"value\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(&deep).is_ok() || parse(&deep).unwrap_err().contains("recursion"));
    }

    #[test]
    fn the_error_names_what_is_wrong_and_the_event_in_the_list() {
        let long = "x".repeat(257);
        for (body, reason) in [
            ("", "not valid JSON"),
            ("{", "not valid JSON"),
            ("{\"value\":1}x", "not valid JSON"),
            ("7", "not an event: invalid type: integer `7`, expected an object with the key `value`"),
            ("{\"type\":\"a\"}", "missing field `value`"),
            ("{\"typ\":\"a\",\"value\":1}", "unknown field `typ`"),
            ("{\"type\":1,\"value\":1}", "not an event"),
            ("{\"type\":\"\",\"value\":1}", "found 0 bytes"),
            ("{\"type\":\"a\\n\",\"value\":1}", "no control characters"),
            (&format!("{{\"type\":\"{long}\",\"value\":1}}"), "found 257 bytes"),
            (&format!("{{\"source\":\"{long}\",\"value\":1}}"), "at most 128 bytes"),
            ("[{\"value\":1},{\"type\":\"a\"}]", "event 1 of the list"),
            ("[{\"value\":1},[]]", "event 1 of the list: the JSON is not an event: found a list: send"),
            ("[ [\"a\",1,\"source\"]]", "event 0 of the list: the JSON is not an event: found a list: send"),
        ] {
            let error = parse(body).unwrap_err();
            assert!(error.contains(reason), "{body}: {error}");
        }
        assert!(Written::parse(b"{\"value\":\"\xff\"}").unwrap_err().contains("byte 10 of the body is not UTF-8"));
        let list = |count: usize| format!("[{}]", vec!["{\"value\":1}"; count].join(","));
        assert_eq!(parse(&list(1_000)).unwrap().len(), 1_000);
        assert!(parse(&list(1_001)).unwrap_err().contains("1001 events"));
    }
}
