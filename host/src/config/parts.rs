//! The smaller sections.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::formats::{Address, NodeName};
use super::limits::{Limits, LimitsPatch};
use crate::document::units::{GIB, MIB, Size, Time};

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NodeConfig {
    /// Its own name. Default `node-1`.
    #[schemars(with = "NodeName")]
    pub id: String,
    /// The type it shares with others that do the same work. Default `node`.
    #[schemars(with = "NodeName")]
    pub server: String,
}

impl Default for NodeConfig {
    fn default() -> NodeConfig {
        NodeConfig { id: "node-1".to_owned(), server: "node".to_owned() }
    }
}

/// The operator's listener: readiness, metrics, control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AdminConfig {
    /// The address to listen on: IP address and port. Default `127.0.0.1:8081`.
    #[schemars(with = "Address")]
    pub listen: SocketAddr,
}

impl Default for AdminConfig {
    fn default() -> AdminConfig {
        AdminConfig { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)) }
    }
}

/// How WebAssembly is compiled and run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EngineConfig {
    /// The longest turn of a handler that computes before others get theirs, 1 ms to 1 s. Default `10ms`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 1_000))]
    pub tick: Duration,
    /// The memory that compiling one component may take, 64 MiB to 1 TiB. Default `4GiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 64u64 << 20, "maximum" = 1u64 << 40))]
    pub compile_memory: u64,
    /// How long compiling one component may take, 1 s to 1 h. Default `2m`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1_000, "maximum" = 3_600_000))]
    pub compile_timeout: Duration,
    /// The largest component file, 1 KiB to 1 GiB. Default `64MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1_024, "maximum" = 1u64 << 30))]
    pub max_component: u64,
    /// Instances of core modules that one instance of a component may make, 1 to 10000. Default 1000.
    #[schemars(extend("minimum" = 1, "maximum" = 10_000))]
    pub max_instances: u32,
    /// Linear memories of one instance of a component, each of which reserves 4 GiB of address space, 1 to 10000. Default 64.
    #[schemars(extend("minimum" = 1, "maximum" = 10_000))]
    pub max_memories: u32,
    /// The host's own memory for one instance of a component, besides its linear memories: globals, tables as they begin, functions
    /// and modules. 64 KiB to 1 GiB. Default `16MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 65_536, "maximum" = 1u64 << 30))]
    pub max_instance_size: u64,
    /// The address space that the memories of all instances of the node may reserve together, 8 GiB to 120 TiB. Default `64TiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 8u64 << 30, "maximum" = 120u64 << 40))]
    pub address_space: u64,
    /// The most that compiled components kept on disk may take together, 1 MiB to 1 TiB. Default `1GiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1u64 << 20, "maximum" = 1u64 << 40))]
    pub cache_size: u64,
}

impl Default for EngineConfig {
    fn default() -> EngineConfig {
        EngineConfig {
            tick: Duration::from_millis(10),
            compile_memory: 4 * GIB,
            compile_timeout: Duration::from_secs(120),
            max_component: 64 * MIB,
            max_instances: 1_000,
            max_memories: 64,
            max_instance_size: 16 * MIB,
            address_space: 64 * 1024 * GIB,
            cache_size: GIB,
        }
    }
}

/// What happens when an instance crashes, or its thread is blocked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct IsolateConfig {
    /// The wait before the second restart; it doubles with each one. The first comes at once. 1 ms to 1 h. Default `100ms`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub restart_backoff: Duration,
    /// The longest wait before a restart, at least `restartBackoff`, at most 1 h. Default `30s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub restart_backoff_max: Duration,
    /// How many restarts within `restartWindow` are borne before the module is given up on that isolate, 0 to 10000. Default 10.
    #[schemars(extend("minimum" = 0, "maximum" = 10_000))]
    pub max_restarts: u32,
    /// The time in which restarts are counted, 1 ms to 24 h. Default `1m`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 86_400_000))]
    pub restart_window: Duration,
    /// How long an isolate's thread may do nothing before it is reported as blocked by host code, 10 ms to 1 h. Default `5s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 10, "maximum" = 3_600_000))]
    pub blocked_after: Duration,
    /// Calls that an instance starts before its thread's other instances and connections get their turn, 1 to 65536. Default 64.
    #[schemars(extend("minimum" = 1, "maximum" = 65_536))]
    pub turn_calls: u32,
}

impl Default for IsolateConfig {
    fn default() -> IsolateConfig {
        IsolateConfig {
            restart_backoff: Duration::from_millis(100),
            restart_backoff_max: Duration::from_secs(30),
            max_restarts: 10,
            restart_window: Duration::from_secs(60),
            blocked_after: Duration::from_secs(5),
            turn_calls: 64,
        }
    }
}

/// How another generation of a module takes over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SwapConfig {
    /// Whether changes of `modulesDir` and of this file are taken up by themselves; else `fanfare reload` does. Default true.
    pub watch: bool,
    /// How often the folders are looked at although the system tells of no change: some file systems never do, and with many
    /// changes one after another it tells late. 50 ms to 1 h. Default `2s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 50, "maximum" = 3_600_000))]
    pub poll: Duration,
    /// How long nobody may have written to a module's files before they are read, 0 to 1 m. Default `50ms`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 60_000))]
    pub settle: Duration,
    /// How long a folder that is gone may take to come back before its module is let go, and a file that ends in the middle to
    /// become whole before it is refused. 0 to 1 m. Default `2s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 60_000))]
    pub removal: Duration,
    /// How long files may go on changing before a reload gives up waiting for them, 1 s to 1 h. Default `30s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1_000, "maximum" = 3_600_000))]
    pub patience: Duration,
    /// How long running calls may take to end before a `snapshot` is taken beside them, 0 to 1 h. Default `5s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 3_600_000))]
    pub quiesce: Duration,
    /// How long `save` and `load` of `snapshot` may take, each in all workers together, 1 ms to 1 h. Default `5s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub timeout: Duration,
    /// Bytes that one `save` may give, 1 B to 1 TiB. Default `64MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1, "maximum" = 1_099_511_627_776_u64))]
    pub state: u64,
}

impl Default for SwapConfig {
    fn default() -> SwapConfig {
        SwapConfig {
            watch: true,
            poll: Duration::from_secs(2),
            settle: Duration::from_millis(50),
            removal: Duration::from_secs(2),
            patience: Duration::from_secs(30),
            quiesce: Duration::from_secs(5),
            timeout: Duration::from_secs(5),
            state: 64 << 20,
        }
    }
}

/// How the host stops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long calls in flight may take to end after the first signal, 0 to 1 h. Default `10s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 3_600_000))]
    pub drain: Duration,
    /// How long the host still accepts connections and keeps idle ones open after the first signal, as a part of `drain`: a
    /// client that sends a request meanwhile gets its answer, and learns with it that the connection ends. 0 to 1 h. Default `1s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 3_600_000))]
    pub linger: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> ShutdownConfig {
        ShutdownConfig { drain: Duration::from_secs(10), linger: Duration::from_secs(1) }
    }
}

/// Calls that make calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CallsConfig {
    /// How deep calls may nest: rpc, gather and emit count. 1 to 256. Default 16.
    #[schemars(extend("minimum" = 1, "maximum" = 256))]
    pub max_depth: u32,
}

impl Default for CallsConfig {
    fn default() -> CallsConfig {
        CallsConfig { max_depth: 16 }
    }
}

/// What modules may take at most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// The operator's ceiling: a module that asks for more is refused.
    #[schemars(with = "LimitsPatch")]
    pub max: Limits,
}

impl Default for LimitsConfig {
    fn default() -> LimitsConfig {
        LimitsConfig { max: Limits::ceiling() }
    }
}
