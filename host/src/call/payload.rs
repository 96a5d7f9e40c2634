use serde::{Deserialize, Serialize};

/// The data of a call or a reply. It is never serialised again between guests of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Payload {
    #[default]
    None,
    Text(String),
    Bytes(Vec<u8>),
}

impl Payload {
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

    /// The content as bytes. Empty for `None`.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Payload::None => &[],
            Payload::Text(text) => text.as_bytes(),
            Payload::Bytes(bytes) => bytes,
        }
    }
}
