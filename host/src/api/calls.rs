//! What calls and broadcasts of the operator return.

use serde::{Deserialize, Serialize};

use super::Problem;
use crate::call::{self, Payload};

/// A broadcast that was queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Names this broadcast.
    pub id: u64,
    /// Its place in the module's order on this node, from 1.
    pub seq: u64,
    /// How many workers it was queued for.
    pub accepted: u32,
    /// The workers that were left out.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
}

/// A place that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// Such as `worker-0`.
    pub isolate: String,
    /// The node that it is on, when that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Why it was left out.
    pub reason: String,
}

/// What a handler replied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    /// As in HTTP.
    pub status: u16,
    /// Names and values.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Text. Bytes that are not UTF-8 are shown with replacement characters: this is for people.
    #[serde(default)]
    pub payload: Option<String>,
}

/// What one of several places answered: a reply or an error.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Such as `worker-0`.
    pub isolate: String,
    /// The node that it is on, when that is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What its handler replied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
    /// Why there is no reply.
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

impl From<call::Entry> for Entry {
    fn from(entry: call::Entry) -> Entry {
        let (reply, error) = match entry.outcome {
            Ok(reply) => (Some(reply.into()), None),
            Err(error) => (None, Some(call::Problem::from(error).document())),
        };
        Entry { isolate: entry.isolate.to_string(), node: entry.node, reply, error }
    }
}
