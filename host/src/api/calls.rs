//! The results of the operator's calls and broadcasts.

use serde::{Deserialize, Serialize};

use super::Problem;
use crate::call::{self, Payload};

/// The confirmation that a broadcast was queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The id of the broadcast.
    pub id: u64,
    /// The position in the module's order of broadcasts on this node, from 1.
    pub seq: u64,
    /// The number of workers that it was queued in.
    pub accepted: u32,
    /// The workers that it skipped.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
}

/// An isolate that a broadcast skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// The isolate, such as `worker-0`.
    pub isolate: String,
    /// The isolate's node. Omitted for this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Why the broadcast skipped it.
    pub reason: String,
}

/// The reply of a handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers, as names and values.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The payload as text. Bytes that are not UTF-8 become replacement characters, because this
    /// document is for people.
    #[serde(default)]
    pub payload: Option<String>,
}

/// The result from one isolate of a group: a reply or an error.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatherEntry {
    /// The isolate, such as `worker-0`.
    pub isolate: String,
    /// The isolate's node. Omitted for this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The reply of the handler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
    /// The error, if there is no reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

impl From<call::Receipt> for Receipt {
    fn from(receipt: call::Receipt) -> Receipt {
        let call::Receipt { id, seq, accepted, skipped, .. } = receipt;
        let skipped = skipped.into_iter().map(|call::Skipped { isolate, node, reason }| Skipped {
            isolate: isolate.to_string(),
            node,
            reason,
        });
        Receipt { id, seq, accepted, skipped: skipped.collect() }
    }
}

impl From<call::Reply> for Reply {
    fn from(reply: call::Reply) -> Reply {
        let status = reply.effective_status();
        let payload = match reply.payload {
            Payload::None => None,
            Payload::Text(text) => Some(text),
            Payload::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        };
        Reply { status, headers: reply.headers, payload }
    }
}

impl From<call::GatherEntry> for GatherEntry {
    fn from(entry: call::GatherEntry) -> GatherEntry {
        let (reply, error) = match entry.outcome {
            Ok(reply) => (Some(reply.into()), None),
            Err(error) => (None, Some(call::Problem::from(error).document())),
        };
        GatherEntry { isolate: entry.isolate.to_string(), node: entry.node, reply, error }
    }
}
