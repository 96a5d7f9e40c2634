//! The section `sse`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use super::formats::{HeaderText, StreamPath};
use crate::document::units::{MIB, Size, Time};

/// The most kept events of a stream key or a channel, and the most events that may wait for one
/// client.
const MOST_EVENTS: u32 = 1_000_000;

/// Streams of server-sent events that clients open with `GET <path>?connectKey=<key>`. The host
/// serves them if this section exists, or if a module declares `streams` or is granted `sse`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SseConfig {
    /// Whether the settings have this section.
    #[serde(skip)]
    pub configured: bool,
    /// The path of all streams. It must not be `/`, nor below `/api`. Default `/stream`.
    #[schemars(with = "StreamPath")]
    pub path: String,
    /// Header fields of the responses, besides `Content-Type: text/event-stream`, `Cache-Control:
    /// no-cache, no-transform`, `Connection: keep-alive` and `X-Accel-Buffering: no`. A value
    /// replaces the default, and `null` removes it. `Access-Control-Allow-Origin` replaces the one
    /// that `http.cors` would send. Default none.
    #[schemars(with = "BTreeMap<String, HeaderText>", extend("x-names" = "stream-header"))]
    pub headers: BTreeMap<String, Option<String>>,
    /// The most open streams of this node, 1 to 1000000. Default null: four fifths of the
    /// connections that the host accepts (`http.maxConnections`), so that idle streams leave some
    /// for requests.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub max_clients: Option<u32>,
    /// The most open streams of one key, 1 to 1000000. Default null: as many as `maxClients`.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub max_clients_per_key: Option<u32>,
    /// How often the host sends a comment to a stream that got nothing else, 100 ms to 24 h, or 0
    /// for never. Default `10s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 86_400_000))]
    pub ping_interval: Duration,
    /// The events of each key that the host keeps, so that clients that reconnect get what they
    /// missed.
    pub history: HistoryConfig,
    /// The events that may wait for one client.
    pub queue: QueueConfig,
    /// The keys that clients may listen to. Default `any`.
    pub keys: StreamAccess,
}

impl Default for SseConfig {
    fn default() -> SseConfig {
        SseConfig {
            configured: false,
            path: "/stream".to_owned(),
            headers: BTreeMap::new(),
            max_clients: None,
            max_clients_per_key: None,
            ping_interval: Duration::from_secs(10),
            history: HistoryConfig::default(),
            queue: QueueConfig::default(),
            keys: StreamAccess::Any,
        }
    }
}

impl SseConfig {
    /// Returns the header fields of a stream. Names and values are valid, because the settings were
    /// checked; a program that sets invalid ones in code does without them.
    pub fn header_map(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
        headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        for (name, value) in &self.headers {
            let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { continue };
            match value.as_deref().map(HeaderValue::try_from) {
                Some(Ok(value)) => drop(headers.insert(name, value)),
                Some(Err(_)) => {}
                None => drop(headers.remove(name)),
            }
        }
        headers
    }

    /// Whether `headers` sets or removes `Access-Control-Allow-Origin`, so that `http.cors` does
    /// not.
    pub fn sets_origin(&self) -> bool {
        self.headers.keys().any(|name| name.eq_ignore_ascii_case(ACCESS_CONTROL_ALLOW_ORIGIN.as_str()))
    }
}

/// The kept events of a stream key, or the kept messages of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct HistoryConfig {
    /// The most events. 0 keeps none.
    pub count: u32,
    /// How long an event is kept.
    #[serde(with = "crate::document::units::duration")]
    pub age: Duration,
    /// The most bytes of the events.
    #[serde(with = "crate::document::units::size")]
    pub bytes: u64,
}

impl Default for HistoryConfig {
    fn default() -> HistoryConfig {
        HistoryConfig { count: 100, age: Duration::from_secs(300), bytes: MIB }
    }
}

/// A number is the number of events.
impl<'de> Deserialize<'de> for HistoryConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HistoryConfig, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Count(u32),
            Parts { count: Option<u32>, age: Option<Time>, bytes: Option<Size> },
        }
        let default = HistoryConfig::default();
        Ok(match Written::deserialize(deserializer)? {
            Written::Count(count) => HistoryConfig { count, ..default },
            Written::Parts { count, age, bytes } => HistoryConfig {
                count: count.unwrap_or(default.count),
                age: age.map_or(default.age, Duration::from),
                bytes: bytes.map_or(default.bytes, u64::from),
            },
        })
    }
}

impl JsonSchema for HistoryConfig {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "HistoryConfig".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        history_schema(generator, "an event", "events of a key")
    }
}

/// The schema of a history. `one` and `entries` name what it keeps.
pub fn history_schema(generator: &mut SchemaGenerator, one: &str, entries: &str) -> Schema {
    let with = |mut schema: Schema, least: u64, most: u64, description: String| {
        schema.insert("minimum".to_owned(), least.into());
        schema.insert("maximum".to_owned(), most.into());
        schema.insert("description".to_owned(), description.into());
        schema
    };
    let count = with(
        json_schema!({ "type": "integer" }),
        0,
        MOST_EVENTS.into(),
        format!("The most kept {entries}, 0 to 1000000; 0 keeps none. Default 100."),
    );
    let age = with(
        Time::json_schema(generator),
        1,
        86_400_000,
        format!("How long the host keeps {one}, 1 ms to 24 h. Default `5m`."),
    );
    let bytes = with(
        Size::json_schema(generator),
        1_024,
        1 << 30,
        format!("The most bytes of the kept {entries}, 1 KiB to 1 GiB. Default `1MiB`."),
    );
    json_schema!({
        "type": ["integer", "object"], "minimum": 0, "maximum": MOST_EVENTS,
        "properties": { "count": count, "age": age, "bytes": bytes },
        "additionalProperties": false
    })
}

/// The events that may wait for one client. The host disconnects a client that has more. A client
/// for which nothing waits accepts an event of any size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct QueueConfig {
    /// The most events, 1 to 1000000. Default 1024.
    #[schemars(extend("minimum" = 1, "maximum" = MOST_EVENTS))]
    pub events: u32,
    /// The most bytes of the events, 4 KiB to 1 GiB. Default `1MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 4_096, "maximum" = 1u64 << 30))]
    pub bytes: u64,
}

impl Default for QueueConfig {
    fn default() -> QueueConfig {
        QueueConfig { events: 1_024, bytes: MIB }
    }
}

/// The keys that clients may listen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StreamAccess {
    /// All keys. A key that no module declares is open to every client.
    Any,
    /// Only keys that a module declares in `streams`. The host rejects other keys with 403.
    Declared,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> SseConfig {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn headers_replace_add_and_remove_defaults_whatever_their_case() {
        let config = read(r#"{ "headers": { "cache-control": "no-store", "X-Accel-Buffering": null, "x-a": "1" } }"#);
        let headers = config.header_map();
        let field = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(field("content-type"), Some("text/event-stream"));
        assert_eq!((field("cache-control"), field("x-accel-buffering")), (Some("no-store"), None));
        assert_eq!((field("x-a"), field("connection"), headers.len()), (Some("1"), Some("keep-alive"), 4));
        assert!(!config.sets_origin());
        assert!(read(r#"{ "headers": { "access-control-allow-origin": null } }"#).sets_origin());
    }

    #[test]
    fn a_history_is_a_number_of_events_or_has_parts() {
        let default = HistoryConfig::default();
        assert_eq!(read(r#"{ "history": 7 }"#).history, HistoryConfig { count: 7, ..default });
        let (age, bytes) = (Duration::from_secs(1), 2048);
        assert_eq!(
            read(r#"{ "history": { "age": "1s", "bytes": "2KiB" } }"#).history,
            HistoryConfig { age, bytes, ..default }
        );
        assert_eq!(read("{}").history, default);
    }
}
