//! The section `hub` of `fanfare.json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::units::{MIB, Size};

/// What all live streams of the node may use together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HubConfig {
    /// Memory for the messages that the histories of all topics keep, 64 KiB to 1 TiB. Beyond it,
    /// the oldest messages of the largest history are dropped. Default `256MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 65_536, "maximum" = 1u64 << 40))]
    pub history: u64,
    /// The most topics, such as stream keys, that have a history or readers, 1 to 10000000. Beyond
    /// it, further topics have no history, and the host rejects their readers. Default 100000.
    #[schemars(extend("minimum" = 1, "maximum" = 10_000_000))]
    pub topics: u32,
    /// Memory for the messages that wait for clients and are in no history, 64 KiB to 1 TiB. While
    /// they use more, the host closes the streams of clients that do not read. Default `256MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 65_536, "maximum" = 1u64 << 40))]
    pub queued: u64,
}

impl Default for HubConfig {
    fn default() -> HubConfig {
        HubConfig { history: 256 * MIB, topics: 100_000, queued: 256 * MIB }
    }
}
