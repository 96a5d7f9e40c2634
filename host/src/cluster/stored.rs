//! What streams of the cluster keep: payloads as they are, and everything else as JSON in a header.
//! A stream outlives versions of the host, so each such header has a format of its own.

use async_nats::{HeaderMap, header::HeaderName, header::HeaderValue};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::call::Payload;

/// What a payload is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Kind {
    None,
    Text,
    Bytes,
}

impl Kind {
    pub(super) fn of(payload: &Payload) -> Kind {
        match payload {
            Payload::None => Kind::None,
            Payload::Text(_) => Kind::Text,
            Payload::Bytes(_) => Kind::Bytes,
        }
    }

    /// The payload that these bytes are.
    pub(super) fn read(self, bytes: &[u8]) -> Result<Payload, String> {
        Ok(match self {
            Kind::None => Payload::None,
            Kind::Text => Payload::Text(String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())?),
            Kind::Bytes => Payload::Bytes(bytes.to_vec()),
        })
    }
}

/// A header as JSON.
pub(super) trait Header: Serialize + DeserializeOwned {
    const NAME: &'static str;

    /// The format that this node writes, and the newest that it reads.
    const FORMAT: u32;

    fn format(&self) -> u32;

    fn write(&self, headers: &mut HeaderMap) -> Result<(), String> {
        headers.insert(Self::NAME, serde_json::to_string(self).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn read(headers: &HeaderMap) -> Result<Self, String> {
        let name = Self::NAME;
        let text = headers.get(name).ok_or_else(|| format!("it has no header {name}"))?;
        let header: Self = serde_json::from_str(text.as_str()).map_err(|error| {
            format!("its header {name} cannot be read, which a later version may have written: {error}")
        })?;
        let (format, newest) = (header.format(), Self::FORMAT);
        if format > newest {
            return Err(format!("it has the format {format}, and this version reads {newest}"));
        }
        Ok(header)
    }
}

/// The bytes of a message as NATS counts them.
pub(super) fn size(headers: &HeaderMap, payload: &[u8]) -> usize {
    let header = |(name, values): (&HeaderName, &Vec<HeaderValue>)| {
        let name: &[u8] = name.as_ref();
        values.iter().map(|value| name.len() + value.as_str().len() + 4).sum::<usize>()
    };
    // The line `NATS/1.0`, and the empty one at the end.
    12 + headers.iter().map(header).sum::<usize>() + payload.len()
}
