//! The section `cluster.histories`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::units::{MIB, Size, Time};

/// The stream with the histories of channels. The first node makes it; a node with other values
/// changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HistoriesConfig {
    /// How long the stream keeps a message, 1 m to 365 d. A channel in which nobody has published
    /// for longer begins anew. Default `168h`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 60_000, "maximum" = 31_536_000_000u64))]
    pub max_age: Duration,
    /// The most bytes of the stream, 64 KiB to 1 TiB. Beyond it, the oldest messages are dropped.
    /// Default `256MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 65_536, "maximum" = 1u64 << 40))]
    pub max_bytes: u64,
    /// The most messages of each channel that the stream keeps, 1 to 1000000. A channel that moves
    /// has no more of them, whatever its own `count` is. Default 1000.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub max_messages: u32,
    /// The messages that wait on this node until the stream has them.
    pub queue: HistoriesQueue,
}

/// What waits until the stream has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HistoriesQueue {
    /// The most messages, 1 to 1000000. Default 4096.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub messages: u32,
    /// The most bytes of their payloads, 1 KiB to 1 TiB. Default `16MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1_024, "maximum" = 1u64 << 40))]
    pub bytes: u64,
}

impl Default for HistoriesConfig {
    fn default() -> HistoriesConfig {
        HistoriesConfig {
            max_age: Duration::from_secs(7 * 24 * 3_600),
            max_bytes: 256 * MIB,
            max_messages: 1_000,
            queue: HistoriesQueue::default(),
        }
    }
}

impl Default for HistoriesQueue {
    fn default() -> HistoriesQueue {
        HistoriesQueue { messages: 4_096, bytes: 16 * MIB }
    }
}
