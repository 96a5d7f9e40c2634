//! The packets of SocketCluster: reads those of clients, and writes those of the host. It knows no
//! connection and no state.
//!
//! A message is a packet as JSON, or a list of packets. Everything else is a raw message. Versions
//! 1 and 2 of the protocol have the same packets, but different pings.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::call::{Failure, Payload};

/// The most packets in one message.
pub const MAX_PACKETS: usize = 4_096;

/// The longest number of a call, in bytes. Clients count.
const MAX_CID: usize = 64;

/// The version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

/// A message of a client.
#[derive(Debug, PartialEq)]
pub enum Incoming {
    /// The answer to a ping.
    Pong,
    Packets(Vec<Packet>),
    /// It has more than [`MAX_PACKETS`].
    TooMany,
}

#[derive(Debug, PartialEq)]
pub enum Packet {
    Event(Event),
    /// The answer to an event of the host. `None` if the host cannot have asked for it.
    Answer(Option<Answer>),
    /// A message that is no packet.
    Raw(Payload),
}

#[derive(Debug, PartialEq)]
pub struct Event {
    pub name: Arc<str>,
    pub data: Payload,
    /// The client waits for an answer with this number.
    pub cid: Option<Cid>,
}

/// The number of a client's event, as JSON. Clients use numbers, but any text will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cid(Box<str>);

#[derive(Debug, PartialEq)]
pub struct Answer {
    pub rid: u64,
    pub result: Result<Payload, Failure>,
}

impl Version {
    /// The text of a ping, and that of the answer.
    pub fn ping(self) -> (&'static str, &'static str) {
        match self {
            Version::One => ("#1", "#2"),
            Version::Two => ("", ""),
        }
    }

    /// The name in `session.protocol`.
    pub fn protocol(self) -> &'static str {
        match self {
            Version::One => "socketcluster/1",
            Version::Two => "socketcluster/2",
        }
    }

    pub fn of(protocol: &str) -> Option<Version> {
        [Version::One, Version::Two].into_iter().find(|version| version.protocol() == protocol)
    }
}

impl Cid {
    #[cfg(test)]
    pub fn new(text: &str) -> Cid {
        Cid(text.into())
    }
}

/// Reads a message of a client.
pub fn parse(message: Payload, version: Version) -> Incoming {
    let text = match &message {
        Payload::Text(text) if *text == version.ping().1 => return Incoming::Pong,
        Payload::Text(text) => text.as_str(),
        Payload::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) => return Incoming::Packets(vec![Packet::Raw(message)]),
        },
        Payload::None => "",
    };
    match serde_json::from_str(text) {
        Ok(Parsed::One(fields)) => match fields.packet() {
            Some(packet) => Incoming::Packets(vec![packet]),
            None => Incoming::Packets(vec![Packet::Raw(message)]),
        },
        Ok(Parsed::Many(packets)) => Incoming::Packets(packets),
        Ok(Parsed::TooMany) => Incoming::TooMany,
        Err(_) => Incoming::Packets(vec![Packet::Raw(message)]),
    }
}

enum Parsed<'a> {
    One(Fields<'a>),
    Many(Vec<Packet>),
    TooMany,
}

impl<'de: 'a, 'a> Deserialize<'de> for Parsed<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Parsed<'a>, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Parsed<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a packet or a list of packets")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Parsed<'de>, A::Error> {
                Fields::read(map).map(Parsed::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Parsed<'de>, A::Error> {
                let mut packets = Vec::new();
                while let Some(packet) = list.next_element::<&RawValue>()? {
                    if packets.len() >= MAX_PACKETS {
                        while list.next_element::<IgnoredAny>()?.is_some() {}
                        return Ok(Parsed::TooMany);
                    }
                    let text = packet.get();
                    let fields = serde_json::Deserializer::from_str(text).deserialize_map(Object).ok();
                    let raw = || Packet::Raw(Payload::Text(text.to_owned()));
                    packets.push(fields.and_then(|fields| fields.packet()).unwrap_or_else(raw));
                }
                Ok(Parsed::Many(packets))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Visits an object only.
struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a packet")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Fields<'de>, A::Error> {
        Fields::read(map)
    }
}

/// The fields of a packet as JSON.
#[derive(Default)]
struct Fields<'a> {
    event: Option<&'a str>,
    data: Option<&'a str>,
    cid: Option<&'a str>,
    rid: Option<&'a str>,
    error: Option<&'a str>,
}

impl<'a> Fields<'a> {
    /// Of a name that is there twice, the last one counts, as in JavaScript.
    fn read<A: MapAccess<'a>>(mut map: A) -> Result<Fields<'a>, A::Error> {
        let mut fields = Fields::default();
        while let Some(field) = map.next_key_seed(Key)? {
            let value = map.next_value::<&'a RawValue>()?.get();
            match field {
                Field::Event => fields.event = Some(value),
                Field::Data => fields.data = Some(value),
                Field::Cid => fields.cid = Some(value),
                Field::Rid => fields.rid = Some(value),
                Field::Error => fields.error = Some(value),
                Field::Other => {}
            }
        }
        Ok(fields)
    }

    fn packet(&self) -> Option<Packet> {
        if let Some(name) = self.event.and_then(|name| serde_json::from_str::<Cow<'_, str>>(name).ok()) {
            let cid = self.cid.filter(|cid| is_cid(cid)).map(|cid| Cid(cid.into()));
            return Some(Packet::Event(Event { name: name.into(), data: payload(self.data), cid }));
        }
        let rid = self.rid?;
        let result = match self.error {
            Some(error) if error != "null" => Err(failure(error)),
            _ => Ok(payload(self.data)),
        };
        Some(Packet::Answer(rid.parse().ok().map(|rid| Answer { rid, result })))
    }
}

enum Field {
    Event,
    Data,
    Cid,
    Rid,
    Error,
    Other,
}

/// Reads the name of a field without a copy.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Field, E> {
        Ok(match name {
            "event" => Field::Event,
            "data" => Field::Data,
            "cid" => Field::Cid,
            "rid" => Field::Rid,
            "error" => Field::Error,
            _ => Field::Other,
        })
    }
}

/// Whether a client waits for an answer: its number is a number or a text.
fn is_cid(json: &str) -> bool {
    json.len() <= MAX_CID && json.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

/// Bytes that SocketCluster has put into JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Binary<'a> {
    base64: bool,
    #[serde(borrow)]
    data: Cow<'a, str>,
}

/// The data of a packet. A value that stands for bytes becomes bytes, unless it is inside another
/// value.
pub fn payload(json: Option<&str>) -> Payload {
    let Some(json) = json else { return Payload::None };
    if json.starts_with('{')
        && let Ok(Binary { base64: true, data }) = serde_json::from_str(json)
        && let Ok(bytes) = STANDARD.decode(&*data)
    {
        return Payload::Bytes(bytes);
    }
    Payload::Text(json.to_owned())
}

/// The error of a client: an object with a message, or a text.
fn failure(json: &str) -> Failure {
    let error: Value = serde_json::from_str(json).unwrap_or_default();
    let text = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
    let message = text("message").or_else(|| error.as_str().map(str::to_owned)).unwrap_or_default();
    let failure = Failure { name: text("name").unwrap_or_else(|| "Error".to_owned()), message, ..Failure::default() };
    Failure { data: Payload::Text(json.to_owned()), ..failure.shortened() }
}

/// Writes an event. A client answers one that has a `cid`.
pub fn event(name: &str, data: &Payload, cid: Option<u64>) -> String {
    let mut json = String::with_capacity(name.len() + data.len() + 48);
    json.push_str("{\"event\":");
    push_text(&mut json, name);
    push_data(&mut json, data);
    if let Some(cid) = cid {
        json.push_str(",\"cid\":");
        json.push_str(&cid.to_string());
    }
    json.push('}');
    json
}

/// Writes the answer to an event of a client.
pub fn answer(cid: &Cid, data: &Payload) -> String {
    let mut json = String::with_capacity(data.len() + 32);
    json.push_str("{\"rid\":");
    json.push_str(&cid.0);
    push_data(&mut json, data);
    json.push('}');
    json
}

/// Writes an answer whose data is JSON.
pub fn answer_json(cid: &Cid, json: &str) -> String {
    format!("{{\"rid\":{},\"data\":{json}}}", cid.0)
}

/// Writes the answer to an event that has failed.
pub fn error(cid: &Cid, error: &Value, data: &Payload) -> String {
    let mut json = format!("{{\"rid\":{},\"error\":{error}", cid.0);
    push_data(&mut json, data);
    json.push('}');
    json
}

/// Appends a text as JSON.
pub fn push_text(json: &mut String, text: &str) {
    json.push_str(&Value::from(text).to_string());
}

/// Appends the field `data`, unless there is no payload. A text that is JSON is that value.
pub fn push_data(json: &mut String, data: &Payload) {
    match data {
        Payload::None => {}
        Payload::Bytes(bytes) => {
            json.push_str(",\"data\":{\"base64\":true,\"data\":\"");
            STANDARD.encode_string(bytes, json);
            json.push_str("\"}");
        }
        Payload::Text(text) => {
            json.push_str(",\"data\":");
            match serde_json::from_str::<&RawValue>(text) {
                Ok(value) => json.push_str(value.get()),
                Err(_) => push_text(json, text),
            }
        }
    }
}

/// Reads a message in both versions, and checks that events are the same after they were written.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_packets(message: &Payload) {
    for version in [Version::One, Version::Two] {
        let Incoming::Packets(packets) = parse(message.clone(), version) else { continue };
        for packet in packets {
            let Packet::Event(Event { name, data, .. }) = packet else { continue };
            let again = parse(Payload::Text(event(&name, &data, None)), version);
            assert_eq!(again, Incoming::Packets(vec![Packet::Event(Event { name, data, cid: None })]));
        }
    }
}

#[cfg(test)]
mod tests;
