//! The entries of streams.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use redis::Value;
use serde_json::{Map, json};

use crate::call::Payload;

/// An entry of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub id: String,
    /// `None` if the entry is too large.
    pub payload: Option<Payload>,
}

/// The entries in the answer to `XREADGROUP` for one stream. `most` is the largest payload.
pub fn of_streams(answer: Value, most: u64) -> Vec<Entry> {
    let streams: Vec<Value> = match answer {
        // RESP3: a map of streams.
        Value::Map(pairs) => pairs.into_iter().map(|(_, entries)| entries).collect(),
        // RESP2: pairs.
        Value::Array(pairs) => pairs.into_iter().filter_map(|pair| list(pair).into_iter().nth(1)).collect(),
        _ => Vec::new(),
    };
    streams.into_iter().flat_map(|entries| of_list(entries, most)).collect()
}

/// The entries in the answer to `XCLAIM`.
pub fn of_list(answer: Value, most: u64) -> Vec<Entry> {
    list(answer).into_iter().filter_map(|value| entry(value, most)).collect()
}

/// An entry. `None` for one that was deleted.
fn entry(value: Value, most: u64) -> Option<Entry> {
    let mut parts = list(value).into_iter();
    let id = text(&parts.next()?)?;
    let text = parts.next().and_then(object).map(|object| serde_json::Value::Object(object).to_string());
    Some(Entry { id, payload: text.filter(|text| text.len() as u64 <= most).map(Payload::Text) })
}

/// The fields of an entry. None if one is nil: the connection has replaced what is too large.
fn object(fields: Value) -> Option<Map<String, serde_json::Value>> {
    let Value::Array(fields) = fields else { return None };
    let mut object = Map::new();
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let (Value::BulkString(name), Value::BulkString(value)) = (name, value) else { return None };
        let value = match String::from_utf8(value) {
            Ok(text) => json!(text),
            Err(error) => json!({ "base64": STANDARD.encode(error.as_bytes()) }),
        };
        object.insert(String::from_utf8_lossy(&name).into_owned(), value);
    }
    Some(object)
}

/// An entry that is pending in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub id: String,
    pub consumer: String,
    /// How long ago it was delivered last, in milliseconds.
    pub idle: u64,
    pub deliveries: u64,
}

/// The entries in the answer to `XPENDING` with a range.
pub fn of_pending(answer: Value) -> Vec<Pending> {
    let pending = |value: Value| {
        let mut parts = list(value).into_iter();
        let (id, consumer) = (text(&parts.next()?)?, text(&parts.next()?)?);
        Some(Pending { id, consumer, idle: number(&parts.next()?)?, deliveries: number(&parts.next()?)? })
    };
    list(answer).into_iter().filter_map(pending).collect()
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &[u8]) -> Value {
        Value::BulkString(text.to_vec())
    }

    fn list_of(items: &[Value]) -> Value {
        Value::Array(items.to_vec())
    }

    #[test]
    fn the_fields_of_an_entry_are_a_json_object() {
        let fields = list_of(&[bulk(b"b"), bulk(b"1"), bulk(b"a"), bulk(b"\xff\xfe\xfd\xfc")]);
        let entry = list_of(&[bulk(b"7-0"), fields]);
        let expected = Entry { id: "7-0".into(), payload: Some(r#"{"b":"1","a":{"base64":"//79/A=="}}"#.into()) };
        let entries = list_of(&[entry]);
        let read = |answer| of_streams(answer, 100);
        assert_eq!(read(Value::Map(vec![(bulk(b"s"), entries.clone())])), std::slice::from_ref(&expected));
        assert_eq!(read(list_of(&[list_of(&[bulk(b"s"), entries])])), [expected]);
        assert_eq!(read(Value::Nil), []);
    }

    #[test]
    fn a_deleted_entry_is_skipped_and_a_large_one_has_no_payload() {
        let entry = |id: &[u8], fields: Value| list_of(&[bulk(id), fields]);
        let value = |value: Value| list_of(&[bulk(b"a"), value]);
        let entries = list_of(&[
            Value::Nil,
            entry(b"1-0", Value::Nil),
            entry(b"2-0", value(Value::Nil)),
            entry(b"3-0", value(bulk(b"12"))),
            entry(b"4-0", value(bulk(b"123"))),
        ]);
        let expected = [("1-0", None), ("2-0", None), ("3-0", Some(r#"{"a":"12"}"#.into())), ("4-0", None)];
        assert_eq!(of_list(entries, 10), expected.map(|(id, payload)| Entry { id: id.into(), payload }));
    }

    #[test]
    fn pending_entries_are_read() {
        let one = list_of(&[bulk(b"1-0"), bulk(b"me"), Value::Int(5), Value::Int(2)]);
        let expected = Pending { id: "1-0".into(), consumer: "me".into(), idle: 5, deliveries: 2 };
        assert_eq!(of_pending(list_of(&[one])), [expected]);
    }
}
