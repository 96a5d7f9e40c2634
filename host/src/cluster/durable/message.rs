//! A durable broadcast as the stream keeps it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::stored::{self, Header as _, Kind};
use crate::call::{Envelope, Origin, Payload, PeerBroadcast, Trace, VERSION};

/// The header of a parked broadcast that says why.
pub(super) const PARKED: &str = "Fanfare-Parked";

/// The header by which the stream notices what it has already.
pub(super) const ID: &str = "Nats-Msg-Id";

/// A broadcast of the stream.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) broadcast: PeerBroadcast,
    /// The start of the host that has emitted it.
    pub(super) boot: String,
    /// The node and the workers that run it, if it is a replay.
    pub(super) only: Option<Only>,
}

/// Where a replayed broadcast runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Only {
    pub(super) node: String,
    pub(super) workers: Vec<u32>,
}

/// Why a broadcast was parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parked {
    pub(super) module: String,
    pub(super) broadcast: String,
    pub(super) node: String,
    /// The workers that have not run it.
    pub(super) workers: Vec<u32>,
    /// Its place in the stream of broadcasts.
    pub(super) position: u64,
    pub(super) tries: u32,
    pub(super) reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    format: u32,
    module: String,
    name: String,
    kind: Kind,
    id: u64,
    boot: String,
    origin: Origin,
    depth: u32,
    trace: Trace,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subdomain: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    only: Option<Only>,
}

impl stored::Header for Header {
    const NAME: &'static str = "Fanfare-Broadcast";
    const FORMAT: u32 = 1;

    fn format(&self) -> u32 {
        self.format
    }
}

impl Kept {
    /// The id by which a stream notices a second one.
    pub(super) fn id(&self) -> String {
        format!("{}-{}", self.boot, self.broadcast.id)
    }

    /// The headers and the payload.
    pub(super) fn write(self) -> Result<(HeaderMap, Bytes), String> {
        let id = self.id();
        let PeerBroadcast { envelope, module, name, id: number, payload } = self.broadcast;
        let header = Header {
            format: Header::FORMAT,
            module,
            name,
            kind: Kind::of(&payload),
            id: number,
            boot: self.boot,
            origin: envelope.origin,
            depth: envelope.depth,
            trace: envelope.trace,
            subdomain: envelope.subdomain.as_deref().map(str::to_owned),
            only: self.only,
        };
        let mut headers = HeaderMap::new();
        headers.insert(ID, id);
        header.write(&mut headers)?;
        let bytes = match payload {
            Payload::None => Vec::new(),
            Payload::Text(text) => text.into_bytes(),
            Payload::Bytes(bytes) => bytes,
        };
        Ok((headers, bytes.into()))
    }

    pub(super) fn read(headers: &HeaderMap, payload: &[u8]) -> Result<Kept, String> {
        let header = Header::read(headers)?;
        let payload = header.kind.read(payload)?;
        let envelope = Envelope {
            version: VERSION,
            origin: header.origin,
            chain: Vec::new(),
            depth: header.depth,
            in_startup: false,
            left: Duration::ZERO,
            trace: header.trace,
            subdomain: header.subdomain.map(Arc::from),
        };
        let Header { module, name, id, boot, only, .. } = header;
        Ok(Kept { broadcast: PeerBroadcast { envelope, module, name, id, payload }, boot, only })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::IsolateId;

    fn kept(payload: Payload) -> Kept {
        let envelope = Envelope {
            version: VERSION,
            origin: Origin::Guest { module: "m".into(), isolate: IsolateId::Worker(1), node: Some("a-1".into()) },
            chain: Vec::new(),
            depth: 2,
            in_startup: false,
            left: Duration::ZERO,
            trace: Trace::parse("0123456789abcdef0123456789abcdef").unwrap(),
            subdomain: Some("acme\r\né".into()),
        };
        let broadcast = PeerBroadcast { envelope, module: "m".into(), name: "b".into(), id: 7, payload };
        Kept { broadcast, boot: "f00".into(), only: Some(Only { node: "a-1".into(), workers: vec![1] }) }
    }

    #[test]
    fn a_broadcast_survives_the_stream() {
        for payload in [Payload::None, Payload::Text("é".into()), Payload::Bytes(vec![0, 255])] {
            let kept = kept(payload);
            let (headers, bytes) = kept.clone().write().unwrap();
            assert_eq!(headers.get(ID).unwrap().as_str(), "f00-7");
            assert!(!headers.get(Header::NAME).unwrap().as_str().contains(['\r', '\n']));
            let read = Kept::read(&headers, &bytes).unwrap();
            assert_eq!((read.broadcast, read.boot, read.only), (kept.broadcast, kept.boot, kept.only));
        }
    }

    #[test]
    fn a_message_of_a_later_version_is_refused() {
        let (mut headers, bytes) = kept(Payload::None).write().unwrap();
        let text = headers.get(Header::NAME).unwrap().as_str().replace("\"format\":1", "\"format\":2");
        headers.insert(Header::NAME, text);
        assert_eq!(Kept::read(&headers, &bytes).unwrap_err(), "it has the format 2, and this version reads 1");
        assert!(Kept::read(&HeaderMap::new(), &bytes).unwrap_err().contains("no header Fanfare-Broadcast"));
    }
}
