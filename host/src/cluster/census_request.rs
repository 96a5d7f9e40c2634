//! What a node tells or asks another one about the members of channels.

use serde::{Deserialize, Serialize};

use crate::api::NodeInfo;
use crate::call::{CensusBatch, Payload};
use crate::dispatch::weight;

/// What a node tells or asks another one about the members of channels.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum CensusRequest {
    /// The steps of the batch are the payload.
    Batch {
        batch: CensusBatch,
        #[serde(skip)]
        steps: Payload,
    },
    /// The members of a channel after a session, of at most this many bytes.
    Page { channel: String, after: Option<String>, most: usize },
}

impl CensusRequest {
    pub(super) fn payload_mut(&mut self) -> Option<&mut Payload> {
        match self {
            CensusRequest::Batch { steps, .. } => Some(steps),
            CensusRequest::Page { .. } => None,
        }
    }
}

/// A number for what a node declares.
pub(super) fn number_of(node: &NodeInfo) -> u64 {
    let patterns = node.channels.values().flatten().map(|channel| channel.pattern.as_str());
    let texts = [node.id.as_str(), node.boot.as_str()].into_iter().chain(patterns);
    weight(texts.flat_map(|text| text.bytes().chain([0xff])))
}
