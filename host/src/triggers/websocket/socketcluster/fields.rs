//! The fields of an event about a channel.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

#[cfg(any(test, fuzzing))]
use super::packet::{self, Event, Incoming, Packet, Version};
#[cfg(any(test, fuzzing))]
use crate::call::Payload;
use crate::call::channel::{self, MOST_OF_PAGE};
use crate::call::text::line;
use crate::call::{ChannelPosition, stream_key};
#[cfg(any(test, fuzzing))]
use crate::triggers::websocket::channel_frames::message_json;

/// The fields of an event about a channel. A client may send only the name.
#[derive(Default, Deserialize)]
pub struct Fields<'a> {
    #[serde(borrow, default)]
    channel: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
    #[serde(rename = "waitForAuth", borrow, default)]
    wait_for_auth: Option<&'a RawValue>,
    #[serde(borrow, default)]
    after: Option<&'a RawValue>,
    #[serde(borrow, default)]
    limit: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    pub fn read(json: &'a str) -> Fields<'a> {
        let only_name = || Fields { channel: serde_json::from_str(json).ok().flatten(), ..Fields::default() };
        match json.starts_with('{') {
            true => serde_json::from_str(json).unwrap_or_default(),
            false => only_name(),
        }
    }

    /// The name of the channel, or what the client sent in its place.
    pub fn channel(&self) -> Result<Arc<str>, String> {
        let json = self.channel.map_or("undefined", RawValue::get);
        let name: Cow<'_, str> = match serde_json::from_str(json) {
            Ok(name) => name,
            Err(_) => return Err(shown(json)),
        };
        if channel::accepts(&name) { Ok(name.into()) } else { Err(shown(&name)) }
    }

    pub fn waits_for_auth(&self) -> bool {
        self.wait_for_auth.is_some_and(|json| json.get() == "true")
    }

    /// After which position a client wants messages. `Err` if it is not one.
    pub fn after(&self) -> Result<Option<ChannelPosition>, ()> {
        let Some(json) = self.after.map(RawValue::get).filter(|json| *json != "null") else { return Ok(None) };
        let text: Cow<'_, str> = serde_json::from_str(json).map_err(drop)?;
        ChannelPosition::parse(&text).map(Some).ok_or(())
    }

    pub fn limit(&self) -> usize {
        let limit = self.limit.and_then(|json| serde_json::from_str::<u64>(json.get()).ok());
        limit.map_or(MOST_OF_PAGE, |limit| usize::try_from(limit).unwrap_or(MOST_OF_PAGE).min(MOST_OF_PAGE))
    }
}

/// A text of a client in an error.
pub fn shown(text: &str) -> String {
    line(text, stream_key::MAX)
}

/// Reads the fields of each event about a channel. A message that the host sends with what it has
/// read must be read as the same one.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_channels(message: &Payload) {
    for version in [Version::One, Version::Two] {
        let Incoming::Packets(packets) = packet::parse(message.clone(), version) else { continue };
        for packet in packets {
            let Packet::Event(Event { data, .. }) = packet else { continue };
            let fields = Fields::read(std::str::from_utf8(data.as_bytes()).unwrap_or_default());
            assert!(fields.limit() <= MOST_OF_PAGE && !(fields.waits_for_auth() && fields.wait_for_auth.is_none()));
            let after = fields.after().ok().flatten();
            assert_eq!(after.and_then(|after| ChannelPosition::parse(&after.to_string())), after);
            let Ok(name) = fields.channel() else { continue };
            assert!(channel::is_channel(&name));
            let payload = packet::payload(fields.data.map(RawValue::get));
            let sent = message_json(&name, &payload, after);
            let again = Fields::read(&sent);
            assert_eq!(
                (again.channel().as_ref(), packet::payload(again.data.map(RawValue::get))),
                (Ok(&name), payload)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_named_by_a_text_or_a_field() {
        let channel = |json: &str| Fields::read(json).channel().map(|name| name.to_string());
        for json in [r#""room""#, r#"{"channel":"room","data":1}"#, r#"{"channel":"r\u006fom"}"#] {
            assert_eq!(channel(json), Ok("room".to_owned()), "{json}");
        }
        for (json, shown) in [
            ("", "undefined"),
            ("null", "undefined"),
            ("{}", "undefined"),
            ("{bad", "undefined"),
            ("5", "5"),
            ("[1]", "[1]"),
            (r#"{"channel":{"a":1}}"#, r#"{"a":1}"#),
            (r#"{"channel":""}"#, ""),
        ] {
            assert_eq!(channel(json), Err(shown.to_owned()), "{json}");
        }
        let of_size = |size: usize| channel(&format!("\"{}\"", "x".repeat(size)));
        assert!(of_size(256).is_ok() && of_size(257).is_err());
        assert!(channel("\"a\\n\"").is_err());
    }

    #[test]
    fn a_page_of_history_begins_after_a_position_and_is_bounded() {
        let fields = |json: &'static str| Fields::read(json);
        assert_eq!(fields(r#"{"after":"1f-12"}"#).after(), Ok(Some(ChannelPosition { epoch: 0x1f, offset: 12 })));
        assert_eq!((fields("{}").after(), fields(r#"{"after":null}"#).after()), (Ok(None), Ok(None)));
        assert!(fields(r#"{"after":12}"#).after().is_err() && fields(r#"{"after":"12"}"#).after().is_err());
        let limit = |json| fields(json).limit();
        assert_eq!((limit("{}"), limit(r#"{"limit":0}"#), limit(r#"{"limit":1000}"#)), (1_000, 0, 1_000));
        assert_eq!(
            (limit(r#"{"limit":1001}"#), limit(r#"{"limit":-1}"#), limit(r#"{"limit":"5"}"#)),
            (1_000, 1_000, 1_000)
        );
        assert!(fields(r#"{"waitForAuth":true}"#).waits_for_auth() && !fields(r#"{"waitForAuth":1}"#).waits_for_auth());
    }
}
