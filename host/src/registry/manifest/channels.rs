//! The channels that a module declares: patterns of names, the route that decides about them, and
//! what they keep.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::call::{ChannelAction, ChannelActions, ChannelKeep, ChannelSettings};
use crate::config::formats::RouteRef;
use crate::config::{HistoryConfig, history_schema};

/// A pattern of channels in a checked manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Channel {
    /// The index in `routes` of the route that decides about the channel. `None` allows everything.
    pub route: Option<usize>,
    /// What the route is asked about. Empty without a route.
    pub on: ChannelActions,
    pub settings: ChannelSettings,
}

impl Channel {
    /// The index of the route that is asked about an action. `None` if no route is asked.
    pub fn asks(&self, action: ChannelAction) -> Option<usize> {
        self.route.filter(|_| self.on.has(action))
    }
}

/// A pattern of channels: the route that decides about them, and what they keep.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Channel")]
pub struct RawChannel {
    /// The route that decides what happens on the channels, as `[METHOD ]path`. Without a method it
    /// is the `post` route with that path, or else the only route with that path. It runs in a
    /// broker, which is the same for all calls of a channel. If it passes or replies with a status
    /// below 300, the host continues: with the payload that it passes, if it passes one. Default
    /// none: every client may subscribe and publish.
    #[serde(default)]
    #[schemars(with = "RouteRef")]
    pub path: Option<String>,
    /// What the route is asked about, instead of the default. Needs `path`. Default `["subscribe",
    /// "unsubscribe", "publish"]`.
    #[serde(default)]
    #[schemars(with = "Vec<Action>")]
    pub on: Option<Vec<Action>>,
    /// The messages that the host keeps for each channel, so that clients that reconnect get what
    /// they missed: the most messages, or an object. Default none.
    #[serde(default)]
    #[schemars(schema_with = "history")]
    pub history: Option<History>,
    /// Whether the host tells who is subscribed: as a list, and as messages on the channel
    /// `presence/<channel>`. Default false.
    #[serde(default)]
    pub presence: bool,
    /// Whether plain WebSockets get each message as `{"channel": .., "data": ..}` instead of its
    /// payload alone. Default false.
    #[serde(default)]
    pub envelope: bool,
}

/// What a channel keeps: a number of messages, or an object.
#[derive(Debug, Clone, Copy)]
pub struct History {
    limits: HistoryConfig,
    keep: ChannelKeep,
}

impl<'de> Deserialize<'de> for History {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<History, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let keep = value.get("keep").map(ChannelKeep::deserialize).transpose().map_err(D::Error::custom)?;
        let limits = HistoryConfig::deserialize(value).map_err(D::Error::custom)?;
        Ok(History { limits, keep: keep.unwrap_or_default() })
    }
}

/// What a channel's route is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Action {
    /// A client wants to subscribe. A payload that the route passes replaces what the client says
    /// about itself to other members.
    Subscribe,
    /// A client wants to end its subscription.
    Unsubscribe,
    /// A client or a module wants to publish a message. A payload that the route passes replaces
    /// the message.
    Publish,
    /// A message is about to go to one client. The route runs once for each subscribed client, and
    /// decides for this client only.
    Deliver,
    /// A client has subscribed. The route cannot prevent it. Needs `presence`.
    Join,
    /// A client is no longer subscribed. The route cannot prevent it. Needs `presence`.
    Leave,
}

impl From<Action> for ChannelAction {
    fn from(action: Action) -> ChannelAction {
        match action {
            Action::Subscribe => ChannelAction::Subscribe,
            Action::Unsubscribe => ChannelAction::Unsubscribe,
            Action::Publish => ChannelAction::Publish,
            Action::Deliver => ChannelAction::Deliver,
            Action::Join => ChannelAction::Join,
            Action::Leave => ChannelAction::Leave,
        }
    }
}

fn history(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = history_schema(generator, "a message", "messages of a channel");
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let description = "Where the host keeps them. With `memory`, the node that is the home of the channel, so that \
                           they are lost when the channel moves to another node. With `cluster`, a stream of JetStream, \
                           so that messages keep their positions: needs `cluster.nats` in `fanfare.json`. Default \
                           `memory`.";
        properties.insert("keep".to_owned(), json!({ "enum": ["memory", "cluster"], "description": description }));
    }
    schema
}

impl Channel {
    /// The channel that an entry declares, without the checks. `route` is the route that its `path`
    /// refers to.
    pub(super) fn new(route: Option<usize>, raw: &RawChannel) -> Channel {
        let history = raw.history.filter(|history| history.limits.count > 0);
        let (limits, keep) = history.map(|History { limits, keep }| (limits, keep)).unzip();
        let on = match &raw.on {
            Some(on) => on.iter().map(|action| ChannelAction::from(*action)).collect(),
            None => ChannelActions::DEFAULT,
        };
        Channel {
            on: if route.is_some() { on } else { ChannelActions::default() },
            route,
            settings: ChannelSettings {
                count: limits.map_or(0, |limits| limits.count as usize),
                age: limits.map(|limits| limits.age).unwrap_or_default(),
                bytes: limits.map(|limits| limits.bytes).unwrap_or_default(),
                keep: keep.unwrap_or_default(),
                presence: raw.presence,
                envelope: raw.envelope,
                is_for_each: false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::registry::manifest::{Manifest, ManifestError};

    fn load(channels: &str) -> Result<Manifest, ManifestError> {
        let routes = r#"[{ "path": "ask", "handler": "a", "middlewares": "inner" },
            { "path": "test", "handler": "c", "middlewares": "test" },
            { "path": "say", "handler": "c", "middlewares": "session" }]"#;
        let text = format!(r#"{{ "component": "a.wasm", "routes": {routes}, "channels": {channels} }}"#);
        Manifest::from_text(Path::new("/modules/chat"), &text)
    }

    fn channel(entry: &str) -> Channel {
        load(&format!(r#"{{ "chat/*": {entry} }}"#)).unwrap().channels.find("chat/1").unwrap().1.clone()
    }

    fn faults(entry: &str) -> Vec<String> {
        let faults = load(&format!(r#"{{ "news": {entry} }}"#)).unwrap_err().faults;
        faults.list().iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect()
    }

    #[test]
    fn an_entry_without_keys_is_a_plain_channel() {
        assert_eq!(channel("{}"), Channel::default());
        for action in ChannelAction::ALL {
            assert_eq!(channel("{}").asks(action), None);
        }
    }

    #[test]
    fn the_route_is_asked_about_what_on_lists_or_else_the_default() {
        let asked = |entry: &str| {
            let channel = channel(entry);
            ChannelAction::ALL.into_iter().filter(|action| channel.asks(*action) == Some(0)).collect::<Vec<_>>()
        };
        let default = [ChannelAction::Subscribe, ChannelAction::Unsubscribe, ChannelAction::Publish];
        assert_eq!(asked(r#"{ "path": "ask" }"#), default);
        assert_eq!(asked(r#"{ "path": "POST ask", "on": ["deliver"] }"#), [ChannelAction::Deliver]);
        let all = r#"["leave", "join", "deliver", "publish", "unsubscribe", "subscribe", "join"]"#;
        assert_eq!(asked(&format!(r#"{{ "path": "ask", "presence": true, "on": {all} }}"#)), ChannelAction::ALL);
    }

    #[test]
    fn a_history_is_a_number_or_an_object() {
        let settings = |history: &str| {
            let settings = channel(&format!(r#"{{ "history": {history} }}"#)).settings;
            (settings.count, settings.age, settings.bytes)
        };
        let (age, bytes) = (Duration::from_secs(300), 1 << 20);
        assert_eq!(settings("7"), (7, age, bytes));
        assert_eq!(settings("{}"), (100, age, bytes));
        assert_eq!(settings(r#"{ "count": 3, "age": "1s", "bytes": "2KiB" }"#), (3, Duration::from_secs(1), 2_048));
        assert_eq!(settings("0"), (0, Duration::ZERO, 0));
        assert_eq!(settings("1000000").0, 1_000_000);
        let kept = |history: &str| channel(&format!(r#"{{ "history": {history} }}"#)).settings;
        assert_eq!(kept("7").keep, ChannelKeep::Memory);
        assert_eq!(kept(r#"{ "keep": "cluster" }"#), ChannelSettings { keep: ChannelKeep::Cluster, ..kept("100") });
        assert!(kept(r#"{ "keep": "cluster" }"#).is_in_cluster());
        assert!(!kept(r#"{ "count": 0, "keep": "cluster" }"#).is_in_cluster());
        let unknown = faults(r#"{ "history": { "keep": "disk" } }"#);
        assert!(unknown.len() == 1 && unknown[0].contains("history.keep"), "{unknown:?}");
        let over = faults(r#"{ "history": 1000001 }"#);
        assert_eq!(over, ["channels.news.history: must be at most 1000000, found 1000001"]);
        let list = faults(r#"{ "history": { "count": 1000001, "age": "25h", "bytes": 1 } }"#);
        assert_eq!(list.len(), 3, "{list:?}");
    }

    #[test]
    fn presence_and_the_envelope_are_off_by_default() {
        let settings = channel(r#"{ "presence": true, "envelope": true }"#).settings;
        assert!(settings.presence && settings.envelope);
        assert!(!channel("{}").settings.presence && !channel("{}").settings.envelope);
    }

    #[test]
    fn a_channel_with_a_fault_is_rejected_with_its_place_and_the_fix() {
        for (entry, fault) in [
            (r#"{ "path": "asks" }"#, "path: must be the path of a route of this module; did you mean \"ask\"?"),
            (
                r#"{ "path": "test" }"#,
                "path: must be a route without the middleware `test`: channels exist in every environment",
            ),
            (
                r#"{ "path": "say" }"#,
                "path: must be a route without the middleware `session`: only messages of clients reach such a route",
            ),
            (r#"{ "paht": "ask" }"#, "paht: unknown key; did you mean \"path\"?"),
            (r#"{ "presence": 1 }"#, "presence: must be true or false, found 1"),
            (r#"{ "on": ["publish"] }"#, "on: has no effect without `path`: add the route, or remove `on`"),
            (
                r#"{ "path": "ask", "on": [] }"#,
                "on: must not be empty: list what the route is asked about, or remove `path` and `on`",
            ),
            (
                r#"{ "path": "ask", "on": ["publish", "join"] }"#,
                "on[1]: `join` needs `\"presence\": true` in the same entry: add it",
            ),
            (
                r#"{ "path": "ask", "on": ["leave"], "presence": false }"#,
                "on[0]: `leave` needs `\"presence\": true` in the same entry: add it",
            ),
        ] {
            assert_eq!(faults(entry), [format!("channels.news.{fault}")], "{entry}");
        }
        let list = faults(r#"{ "path": "ask", "on": ["deliver", "publishOut"] }"#);
        assert!(list[0].starts_with("channels.news.on[1]: must be one of \"subscribe\", "), "{list:?}");
        let error = load("\n{ \"presence/chat\": {} }").unwrap_err().to_string();
        assert!(error.starts_with("/modules/chat/module.json:4:20: channels.presence/chat: must not begin"), "{error}");
        assert!(error.ends_with("declare the channel itself, with `\"presence\": true`"), "{error}");
    }
}
