//! What a node tells or asks another one about the members of channels.

use serde::{Deserialize, Serialize};

use crate::call::{CensusBatch, Payload};

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
