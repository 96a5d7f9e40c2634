//! Messages of a channel as the stream keeps them: their payloads one after the other.

use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::stored::{self, Header as _, Kind};
use crate::call::{ChannelMessage, ChannelRecord, RecordPlaces};

/// The header without which a node could write beside another one.
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    format: u32,
    epoch: u64,
    /// The place of the previous record of the channel. Zero for the first one.
    before: u64,
    /// How far each earlier record is before the following one, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<u64>,
    /// The number of the first message. The others have the following ones.
    first: u64,
    messages: Vec<Line>,
}

/// A message without its payload: its time, its session, the kind of its payload, and the bytes.
type Line = (u64, Option<String>, Kind, usize);

impl stored::Header for Header {
    const NAME: &'static str = "Fanfare-History";
    const FORMAT: u32 = 1;

    fn format(&self) -> u32 {
        self.format
    }
}

/// Returns the headers and the payload. The stream accepts them if `after` has the last record of
/// the channel.
pub(super) fn write(record: &ChannelRecord, after: &RecordPlaces) -> Result<(HeaderMap, Bytes), String> {
    let line = |message: &ChannelMessage| -> Line {
        (message.at, message.session.as_deref().map(str::to_owned), Kind::of(&message.payload), message.payload.len())
    };
    let header = Header {
        format: Header::FORMAT,
        epoch: record.epoch,
        before: after.last(),
        earlier: after
            .0
            .iter()
            .zip(after.0.iter().skip(1))
            .map(|(later, earlier)| later.saturating_sub(*earlier))
            .collect(),
        first: record.messages.first().map_or(0, |message| message.offset),
        messages: record.messages.iter().map(line).collect(),
    };
    let mut headers = HeaderMap::new();
    header.write(&mut headers)?;
    headers.insert(EXPECTED, after.last().to_string());
    let payloads: Vec<&[u8]> = record.messages.iter().map(|message| message.payload.as_bytes()).collect();
    Ok((headers, payloads.concat().into()))
}

/// Reads a record, and the places of the previous ones.
pub(super) fn read(headers: &HeaderMap, mut payload: &[u8]) -> Result<(ChannelRecord, RecordPlaces), String> {
    let header = Header::read(headers)?;
    let mut messages = Vec::with_capacity(header.messages.len());
    for (offset, (at, session, kind, length)) in (header.first..).zip(header.messages) {
        let (bytes, rest) = payload.split_at_checked(length).ok_or("it ends too early")?;
        payload = rest;
        let payload = kind.read(bytes)?;
        messages.push(ChannelMessage { offset, at, session: session.map(Arc::from), payload });
    }
    let mut place = header.before;
    let mut places: Vec<u64> = Some(place).filter(|place| *place > 0).into_iter().collect();
    for distance in header.earlier {
        place = place.saturating_sub(distance);
        places.push(place);
    }
    Ok((ChannelRecord { epoch: header.epoch, messages }, RecordPlaces(places)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Payload;

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
        for places in [vec![], vec![41], vec![41, 40, 7]] {
            let places = RecordPlaces(places);
            let (headers, bytes) = write(&record(), &places).unwrap();
            assert_eq!(headers.get(EXPECTED).unwrap().as_str(), places.last().to_string());
            assert!(!headers.get(Header::NAME).unwrap().as_str().contains(['\r', '\n']));
            assert_eq!(read(&headers, &bytes).unwrap(), (record(), places));
            assert!(read(&headers, &bytes[1..]).is_err());
        }
    }

    #[test]
    fn a_record_of_a_later_version_is_refused() {
        let (mut headers, bytes) = write(&record(), &RecordPlaces::default()).unwrap();
        let text = headers.get(Header::NAME).unwrap().as_str().replace("\"format\":1", "\"format\":2");
        headers.insert(Header::NAME, text);
        assert_eq!(read(&headers, &bytes).unwrap_err(), "it has the format 2, and this version reads 1");
        assert!(read(&HeaderMap::new(), &bytes).unwrap_err().contains("no header Fanfare-History"));
    }
}
