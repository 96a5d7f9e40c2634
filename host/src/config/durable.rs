//! The section `cluster.durable`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::units::{MIB, Size, Time};

/// The stream of durable broadcasts. The first node makes it; a node with other values changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DurableConfig {
    /// How long the stream keeps a broadcast, and how long a node may be away and still receive
    /// what it has missed, 1 m to 365 d. Default `24h`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 60_000, "maximum" = 31_536_000_000u64))]
    pub max_age: Duration,
    /// The most bytes of the stream, 64 KiB to 1 TiB. Beyond it, the oldest broadcasts are dropped.
    /// Default `256MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 65_536, "maximum" = 1u64 << 40))]
    pub max_bytes: u64,
    /// The broadcasts of this node that the stream has not acknowledged yet.
    pub queue: DurableQueue,
    /// How long a broadcast stays parked, 1 m to 365 d. Default `720h`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 60_000, "maximum" = 31_536_000_000u64))]
    pub parked_age: Duration,
    /// The most bytes of parked broadcasts, 64 KiB to 1 TiB. Beyond it, the oldest are dropped.
    /// Default `64MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 65_536, "maximum" = 1u64 << 40))]
    pub parked_bytes: u64,
}

/// What waits until the stream has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DurableQueue {
    /// The most broadcasts, 1 to 1000000. Default 4096.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub broadcasts: u32,
    /// The most bytes of their payloads and headers, 1 KiB to 1 TiB. Default `16MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1_024, "maximum" = 1u64 << 40))]
    pub bytes: u64,
}

impl Default for DurableConfig {
    fn default() -> DurableConfig {
        DurableConfig {
            max_age: Duration::from_secs(24 * 3_600),
            max_bytes: 256 * MIB,
            queue: DurableQueue::default(),
            parked_age: Duration::from_secs(30 * 24 * 3_600),
            parked_bytes: 64 * MIB,
        }
    }
}

impl Default for DurableQueue {
    fn default() -> DurableQueue {
        DurableQueue { broadcasts: 4_096, bytes: 16 * MIB }
    }
}
