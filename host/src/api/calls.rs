//! The JSON results of the calls and broadcasts that an operator requests at the admin listener.

use serde::{Deserialize, Serialize};

use super::Problem;
use crate::call::{self, Payload};

/// The host returns a receipt after it has queued a broadcast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The id of the broadcast. Unique on this node until the host restarts.
    pub id: u64,
    /// The sequence number of this broadcast among the broadcasts of its module on this node. The
    /// first one since the node started has 1.
    pub seq: u64,
    /// The number of workers that put the broadcast into the module's mailbox.
    pub accepted: u32,
    /// The workers that did not queue the broadcast. Worker 0 of another node stands for the node,
    /// which the broadcast could not be sent to.
    #[serde(default)]
    pub skipped: Vec<Skipped>,
    /// The number of other nodes that the broadcast was sent to. Absent without other nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u32>,
    /// The place of a durable broadcast in the stream. Absent for other broadcasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
}

/// A worker that did not queue a broadcast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Skipped {
    /// The name of the isolate, such as `worker-0`.
    pub isolate: String,
    /// The id of the node that runs the isolate. Absent when that is the node that answers the
    /// operator's request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The reason, as text for people.
    pub reason: String,
}

/// A message that was queued in an isolate, and whose sender does not wait for the reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queued {
    /// The name of the isolate, such as `worker-0`.
    pub isolate: String,
    /// The module that receives the message.
    pub module: String,
}

/// A handler's reply, as JSON for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply {
    /// The HTTP status that the handler set. If it set none: 200, or 204 without a payload.
    pub status: u16,
    /// The names and values of the header fields, in the handler's order. A name can repeat.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The payload as text, or `None` when the handler returned no payload. Invalid UTF-8 becomes
    /// replacement characters (U+FFFD).
    #[serde(default)]
    pub payload: Option<String>,
}

/// The result from one isolate, when a call goes to a group of isolates or a broadcast gathers
/// replies: either a reply or an error.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatherEntry {
    /// The name of the isolate, such as `worker-0`.
    pub isolate: String,
    /// The id of the node that runs the isolate. Absent when that is the node that answers the
    /// operator's request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The handler's reply. Absent when `error` is present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
    /// The error. Absent when `reply` is present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}

impl From<call::Receipt> for Receipt {
    fn from(receipt: call::Receipt) -> Receipt {
        let call::Receipt { id, seq, accepted, skipped, extra } = receipt;
        let value = |wanted: &str| extra.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
        let nodes = value("nodes").and_then(|count| count.parse().ok());
        let position = value("position").and_then(|position| position.parse().ok());
        let skipped = skipped.into_iter().map(|call::Skipped { isolate, node, reason }| Skipped {
            isolate: isolate.to_string(),
            node,
            reason,
        });
        Receipt { id, seq, accepted, skipped: skipped.collect(), nodes, position }
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
            Err(error) => (None, Some(call::Problem::from(error).into_document())),
        };
        GatherEntry { isolate: entry.isolate.to_string(), node: entry.node, reply, error }
    }
}
