use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// The data of a call or a reply. It is never serialised again between guests of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Payload {
    /// No payload, which differs from an empty one.
    #[default]
    None,
    /// Text, often JSON.
    Text(String),
    /// Bytes of any form.
    Bytes(Vec<u8>),
}

impl From<()> for Payload {
    fn from((): ()) -> Payload {
        Payload::None
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Payload {
        Payload::Text(text.to_owned())
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Payload {
        Payload::Text(text)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Payload::Bytes(bytes)
    }
}

/// By how many bytes an escape of JSON is longer than the control character.
fn escape_growth(byte: u8) -> usize {
    match byte {
        b'\n' | b'\r' | b'\t' | 8 | 12 => 1,
        0..=0x1f => 5,
        _ => 0,
    }
}

impl Payload {
    /// Returns a value as JSON text.
    ///
    /// ```
    /// let payload = fanfare::Payload::json(&[1, 2])?;
    /// assert_eq!(payload, fanfare::Payload::from("[1,2]"));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn json(value: &impl Serialize) -> Result<Payload, serde_json::Error> {
        serde_json::to_string(value).map(Payload::Text)
    }

    /// By how many bytes the content may grow when it is written into JSON: control characters
    /// become escapes, and bytes become Base64.
    pub(crate) fn json_growth(&self) -> usize {
        match self {
            Payload::None => 0,
            Payload::Text(text) => text.bytes().map(escape_growth).sum(),
            Payload::Bytes(bytes) => bytes.len().div_ceil(3).saturating_add(4),
        }
    }

    /// Returns the content as text. Invalid UTF-8 becomes replacement characters (U+FFFD).
    ///
    /// ```
    /// assert_eq!(fanfare::Payload::from(vec![b'a', 0xff]).to_text(), "a\u{fffd}");
    /// ```
    pub fn to_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }

    /// The size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Payload::None => 0,
            Payload::Text(text) => text.len(),
            Payload::Bytes(bytes) => bytes.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns `Text` if the bytes are UTF-8, else `Bytes`, or `None` if there are no bytes.
    pub fn guess(bytes: Vec<u8>) -> Payload {
        if bytes.is_empty() {
            return Payload::None;
        }
        match String::from_utf8(bytes) {
            Ok(text) => Payload::Text(text),
            Err(error) => Payload::Bytes(error.into_bytes()),
        }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Payload::None => Vec::new(),
            Payload::Text(text) => text.into_bytes(),
            Payload::Bytes(bytes) => bytes,
        }
    }

    /// The content as JSON: text that is JSON as it is, other text as a string, and no payload as
    /// null. `None` for bytes.
    pub(crate) fn into_json(self) -> Option<String> {
        match self {
            Payload::None => Some("null".to_owned()),
            Payload::Text(text) if serde_json::from_str::<IgnoredAny>(&text).is_ok() => Some(text),
            Payload::Text(text) => Some(serde_json::Value::String(text).to_string()),
            Payload::Bytes(_) => None,
        }
    }

    /// The content as bytes. Empty for `None`.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Payload::None => &[],
            Payload::Text(text) => text.as_bytes(),
            Payload::Bytes(bytes) => bytes,
        }
    }
}

/// Converts to JSON text.
impl From<serde_json::Value> for Payload {
    fn from(json: serde_json::Value) -> Payload {
        Payload::Text(json.to_string())
    }
}
