//! The part of `*.test.json` about live streams.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::file::{Case, given};

/// A stream that the test opens as a client does. It stays open for the next cases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Stream {
    /// The key. Default none: the stream of the clients without a key.
    pub key: Option<String>,
    /// The name of the stream in `expect.events`, `resume` and `close`. Default: the key.
    #[serde(rename = "as")]
    pub name: Option<String>,
    /// The id after which it resumes, as `Last-Event-ID`. Default none.
    pub last_event_id: Option<String>,
    /// Headers of the request. Default none.
    #[schemars(extend("x-names" = "header"))]
    pub headers: BTreeMap<String, String>,
    /// Opens the stream of this name again, with its key and headers, after the last id that it
    /// received. Default none.
    pub resume: Option<String>,
    /// Closes the stream of this name, as a client that leaves. `resume` can open it again. Default
    /// none.
    pub close: Option<String>,
}

/// An event that must arrive. All given keys must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EventExpect {
    /// The type. Default: any.
    pub event: Option<String>,
    /// The id, in which `*` stands for any text. Default: any, or none.
    pub id: Option<String>,
    /// The whole data as text. Default: any.
    pub data: Option<String>,
    /// A part of the data as text. Default: any.
    pub contains: Option<String>,
    /// The whole data as JSON. The order of keys does not matter. Default: any.
    #[serde(deserialize_with = "given")]
    #[schemars(extend("x-any" = true))]
    pub json: Option<Value>,
    /// A part of the data as JSON: objects may have further keys, at any depth. Default: any.
    #[serde(deserialize_with = "given")]
    #[schemars(extend("x-any" = true))]
    pub has: Option<Value>,
}

impl Stream {
    /// The name of the stream in later cases.
    pub fn name(&self) -> &str {
        let names = [&self.resume, &self.close, &self.name, &self.key];
        names.into_iter().flatten().next().map(String::as_str).unwrap_or_default()
    }

    /// The first rule that it breaks, with the key below `stream`.
    pub fn broken_rule(&self) -> Option<(&'static str, &'static str)> {
        let opens =
            self.key.is_some() || self.name.is_some() || self.last_event_id.is_some() || !self.headers.is_empty();
        match (&self.resume, &self.close) {
            (Some(_), Some(_)) => Some(("close", "must not stand with `resume`; write two cases")),
            (Some(_), None) if opens => Some(("resume", "must stand alone: the stream keeps its key and headers")),
            (None, Some(_)) if opens => Some(("close", "must stand alone: it closes a stream that is open")),
            _ => None,
        }
    }
}

impl Case {
    /// The first rule about streams that the case breaks, with the key below the case.
    pub fn broken_stream_rule(&self) -> Option<(Vec<&str>, &'static str)> {
        let of_stream = self.stream.as_ref().and_then(Stream::broken_rule);
        let of_stream = of_stream.map(|(key, rule)| (vec!["stream", key], rule));
        let empty = self.expect.events.iter().find(|(_, events)| events.is_empty()).map(|(name, _)| {
            let rule = "must have at least one event; an event that must not arrive makes the next expected one differ";
            (vec!["expect", "events", name.as_str()], rule)
        });
        of_stream.or(empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(text: &str) -> Stream {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_stream_is_named_by_its_key_unless_it_has_a_name() {
        for (text, name) in [
            ("{}", ""),
            (r#"{"key": "a"}"#, "a"),
            (r#"{"key": "a", "as": "b"}"#, "b"),
            (r#"{"resume": "c"}"#, "c"),
            (r#"{"close": "c"}"#, "c"),
        ] {
            assert_eq!((stream(text).name(), stream(text).broken_rule()), (name, None), "{text}");
        }
    }

    #[test]
    fn resume_and_close_stand_alone() {
        for text in [
            r#"{"resume": "a", "close": "a"}"#,
            r#"{"resume": "a", "key": "a"}"#,
            r#"{"close": "a", "headers": {"x": "y"}}"#,
            r#"{"close": "a", "as": "b"}"#,
            r#"{"resume": "a", "lastEventId": "b"}"#,
        ] {
            assert!(stream(text).broken_rule().is_some(), "{text}");
        }
    }
}
