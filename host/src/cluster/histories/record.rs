//! Messages of a channel as the stream keeps them: their payloads one after the other, and
//! everything else as JSON in a header. The stream outlives versions of the host, so the header has
//! a format of its own.

use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::call::{ChannelMessage, ChannelRecord, Payload};

/// The header with everything but the payloads.
const HISTORY: &str = "Fanfare-History";

/// The header without which a node could write beside another one.
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

/// The format of the header that this node writes, and the newest that it reads.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    format: u32,
    epoch: u64,
    /// The place of the previous record of the channel. Zero for the first one.
    before: u64,
    /// The number of the first message. The others have the following ones.
    first: u64,
    messages: Vec<Line>,
}

/// A message without its payload: its time, its session, the kind of its payload, and the bytes.
type Line = (u64, Option<String>, Kind, usize);

/// What a payload is.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    None,
    Text,
    Bytes,
}

/// Returns the headers and the payload. The stream accepts them if the last record of the channel
/// has the place `after`.
pub(super) fn write(record: &ChannelRecord, after: u64) -> Result<(HeaderMap, Bytes), String> {
    let line = |message: &ChannelMessage| -> Line {
        let kind = match message.payload {
            Payload::None => Kind::None,
            Payload::Text(_) => Kind::Text,
            Payload::Bytes(_) => Kind::Bytes,
        };
        (message.at, message.session.as_deref().map(str::to_owned), kind, message.payload.len())
    };
    let header = Header {
        format: FORMAT,
        epoch: record.epoch,
        before: after,
        first: record.messages.first().map_or(0, |message| message.offset),
        messages: record.messages.iter().map(line).collect(),
    };
    let mut headers = HeaderMap::new();
    headers.insert(HISTORY, serde_json::to_string(&header).map_err(|error| error.to_string())?);
    headers.insert(EXPECTED, after.to_string());
    let payloads: Vec<&[u8]> = record.messages.iter().map(|message| message.payload.as_bytes()).collect();
    Ok((headers, payloads.concat().into()))
}

/// Reads a record, and the place of the previous one.
pub(super) fn read(headers: &HeaderMap, mut payload: &[u8]) -> Result<(ChannelRecord, u64), String> {
    let text = headers.get(HISTORY).ok_or_else(|| format!("it has no header {HISTORY}"))?;
    let header: Header = serde_json::from_str(text.as_str()).map_err(|error| {
        format!("its header {HISTORY} cannot be read, which a later version may have written: {error}")
    })?;
    if header.format > FORMAT {
        return Err(format!("it has the format {}, and this version reads {FORMAT}", header.format));
    }
    let mut messages = Vec::with_capacity(header.messages.len());
    for (offset, (at, session, kind, length)) in (header.first..).zip(header.messages) {
        let (bytes, rest) = payload.split_at_checked(length).ok_or("it ends too early")?;
        payload = rest;
        let payload = match kind {
            Kind::None => Payload::None,
            Kind::Text => Payload::Text(String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())?),
            Kind::Bytes => Payload::Bytes(bytes.to_vec()),
        };
        messages.push(ChannelMessage { offset, at, session: session.map(Arc::from), payload });
    }
    Ok((ChannelRecord { epoch: header.epoch, messages }, header.before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> ChannelRecord {
        let message = |offset, session: Option<&str>, payload| {
            let session = session.map(Into::into);
            ChannelMessage { offset, at: 7, session, payload }
        };
        let messages = vec![
            message(3, None, "\"é\r\n\"".into()),
            message(4, Some("n/x"), Payload::Bytes(vec![0, 255])),
            message(5, None, Payload::None),
        ];
        ChannelRecord { epoch: u64::MAX, messages }
    }

    #[test]
    fn a_record_survives_the_stream() {
        let (headers, bytes) = write(&record(), 41).unwrap();
        assert_eq!(headers.get(EXPECTED).unwrap().as_str(), "41");
        assert!(!headers.get(HISTORY).unwrap().as_str().contains(['\r', '\n']));
        assert_eq!(read(&headers, &bytes).unwrap(), (record(), 41));
        assert!(read(&headers, &bytes[1..]).is_err());
    }

    #[test]
    fn a_record_of_a_later_version_is_refused() {
        let (mut headers, bytes) = write(&record(), 0).unwrap();
        let text = headers.get(HISTORY).unwrap().as_str().replace("\"format\":1", "\"format\":2");
        headers.insert(HISTORY, text);
        assert_eq!(read(&headers, &bytes).unwrap_err(), "it has the format 2, and this version reads 1");
        assert!(read(&HeaderMap::new(), &bytes).unwrap_err().contains("no header Fanfare-History"));
    }
}
