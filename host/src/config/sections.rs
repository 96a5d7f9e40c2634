//! The smaller sections of `fanfare.json`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::formats::{Address, NodeName, read_address};
use super::limits::{Limits, LimitsPatch};
use crate::document::units::{GIB, MIB, Size, Time};

/// The identity of this node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NodeConfig {
    /// The node's name, unique in a cluster. Default `node-1`.
    #[schemars(with = "NodeName")]
    pub id: String,
    /// The server type, shared by all nodes that do the same work. Default `node`.
    #[schemars(with = "NodeName")]
    pub server: String,
}

impl Default for NodeConfig {
    fn default() -> NodeConfig {
        NodeConfig { id: "node-1".to_owned(), server: "node".to_owned() }
    }
}

/// The operator's listener: readiness, metrics and control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AdminConfig {
    /// The IP address and port to listen on; `:8081` and `localhost:8081` mean
    /// `127.0.0.1:8081`. Port 0 picks a free one. Default `127.0.0.1:8081`.
    #[serde(deserialize_with = "read_address")]
    #[schemars(with = "Address")]
    pub listen: SocketAddr,
}

impl Default for AdminConfig {
    fn default() -> AdminConfig {
        AdminConfig { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8081)) }
    }
}

/// How the host compiles and runs WebAssembly.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EngineConfig {
    /// How long a handler may compute before it yields to other tasks on its thread, 1 ms to 1 s.
    /// Default `10ms`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 1_000))]
    pub tick: Duration,
    /// Memory that compiling one component may use, 64 MiB to 1 TiB. Default `4GiB`.
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
    /// The most core module instances in one instance of a component, 1 to 10000. Default 1000.
    #[schemars(extend("minimum" = 1, "maximum" = 10_000))]
    pub max_instances: u32,
    /// The most linear memories in one instance of a component, 1 to 10000. Each one reserves 4 GiB
    /// of address space. Default 64.
    #[schemars(extend("minimum" = 1, "maximum" = 10_000))]
    pub max_memories: u32,
    /// Memory that the host may use for one instance of a component, 64 KiB to 1 GiB. It holds
    /// globals, the initial tables, functions and modules; linear memories do not count. Default
    /// `16MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 65_536, "maximum" = 1u64 << 30))]
    pub max_instance_size: u64,
    /// Address space that the linear memories of all instances on this node may reserve together,
    /// 8 GiB to 120 TiB. Default `64TiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 8u64 << 30, "maximum" = 120u64 << 40))]
    pub address_space: u64,
    /// Instances of modules with `"isolation": "fresh"` that can run at the same time in memory
    /// that the host has mapped before, 0 to 4000. Each reserves 4 GiB of address space once a
    /// module needs the pool. Further instances take longer to start. Default 256.
    #[schemars(extend("minimum" = 0, "maximum" = 4_000))]
    pub pool: u32,
    /// Disk space for the cache of compiled components, 1 MiB to 1 TiB. Default `1GiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1u64 << 20, "maximum" = 1u64 << 40))]
    pub cache_size: u64,
    /// Disk space for the compiled functions of components of at least 1 MiB, 0 to 1 TiB. With
    /// them, a changed component compiles only its changed functions. 0 keeps none. Default
    /// `256MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 0, "maximum" = 1u64 << 40))]
    pub function_cache_size: u64,
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
            pool: 256,
            cache_size: GIB,
            function_cache_size: 256 * MIB,
        }
    }
}

/// How the host restarts instances that crash and notices threads that are blocked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct IsolateConfig {
    /// The delay before the second restart, 1 ms to 1 h. The first restart happens at once, and the
    /// delay doubles with each further one. Default `100ms`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub restart_backoff: Duration,
    /// The longest delay before a restart, `restartBackoff` to 1 h. Default `30s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub restart_backoff_max: Duration,
    /// Restarts allowed within `restartWindow` before the module is marked failed in that isolate,
    /// 0 to 10000. Default 10.
    #[schemars(extend("minimum" = 0, "maximum" = 10_000))]
    pub max_restarts: u32,
    /// The period over which restarts are counted, 1 ms to 24 h. Default `1m`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 86_400_000))]
    pub restart_window: Duration,
    /// How long an isolate's thread may stop responding before the host reports that host code
    /// blocks it, 10 ms to 1 h. Default `5s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 10, "maximum" = 3_600_000))]
    pub blocked_after: Duration,
    /// Calls that an instance may start before it yields to the other instances and connections on
    /// its thread, 1 to 65536. Default 64.
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

/// How a new generation of a module replaces the running one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SwapConfig {
    /// Whether the host reloads by itself when `modulesDir` or this file changes. If false, only
    /// `fanfare reload` loads changes. Default true.
    pub watch: bool,
    /// How often the host scans the folders without a notification from the system, 50 ms to 1 h.
    /// Some file systems send no notifications, and many changes in a row delay them. Default `2s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 50, "maximum" = 3_600_000))]
    pub poll: Duration,
    /// How long a module's files must stay unchanged before the host reads them, 0 to 1 m. Default
    /// `50ms`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 60_000))]
    pub settle: Duration,
    /// How long the host waits for a removed folder to reappear before it removes the module, and
    /// for an incomplete file to become complete before it rejects the reload, 0 to 1 m. Default
    /// `2s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 60_000))]
    pub removal: Duration,
    /// How long a reload waits for files that keep changing before it fails, 1 s to 1 h. Default
    /// `30s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1_000, "maximum" = 3_600_000))]
    pub patience: Duration,
    /// How long a swap waits for running calls to end before it saves state with `snapshot` while
    /// they still run, 0 to 1 h. Default `5s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 3_600_000))]
    pub quiesce: Duration,
    /// The time limit of `snapshot`, 1 ms to 1 h: once for `save` in all workers together, and once
    /// for `load`. Default `5s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub timeout: Duration,
    /// How long responses of `wasi:http` components may stream from a replaced instance until the
    /// host aborts them, 0 to 24 h. A third swap waits for them. Default `1m`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 86_400_000))]
    pub linger: Duration,
    /// The largest state that one `save` may return, 1 byte to 1 TiB. Default `64MiB`.
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
            linger: Duration::from_secs(60),
            state: 64 << 20,
        }
    }
}

/// How the host stops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long the host waits for running calls to end after the first signal, 0 to 1 h. It then
    /// drops them. Default `10s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 3_600_000))]
    pub drain: Duration,
    /// How long the host still accepts connections and keeps idle ones open after the first signal,
    /// 0 to 1 h. This time is part of `drain`. A client that sends a request during it receives the
    /// response and the notice that the connection closes. Default `1s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 3_600_000))]
    pub linger: Duration,
    /// How long the hook `stop` of a module may run in an isolate before the module's last instance
    /// ends there, 0 to 1 h. While the host stops, this time is part of `drain`. With 0 no hook
    /// `stop` runs. Default `5s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 3_600_000))]
    pub hook: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> ShutdownConfig {
        let (drain, linger, hook) = (Duration::from_secs(10), Duration::from_secs(1), Duration::from_secs(5));
        ShutdownConfig { drain, linger, hook }
    }
}

/// The host as one object: the events that it raises, kills, and crashes. The keys and their
/// defaults are those of SocketCluster's master.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MasterConfig {
    /// Whether the host raises the event `fail` when something fails, such as an instance that
    /// crashes. Default true.
    pub propagate_errors: bool,
    /// Whether the host raises the event `warning`. Default true.
    pub propagate_warnings: bool,
    /// How long the sender of a message to an isolate, or of a guest's message to the master, waits
    /// for the reply, 1 ms to 1 h. Default `10s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub ipc_ack_timeout: Duration,
    /// How long running calls may take to end in a graceful kill before they end as `crashed`, 0 to
    /// 1 h. Default `10s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 3_600_000))]
    pub process_term_timeout: Duration,
    /// How often the host measures the requests and the memory of each worker, 100 ms to 1 h.
    /// Default `10s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 100, "maximum" = 3_600_000))]
    pub worker_status_interval: Duration,
    /// The host kills a worker gracefully when the linear memories of its instances have more bytes
    /// together, 64 KiB to 1 TiB. Default null: it kills none.
    #[serde(with = "crate::document::units::optional_size")]
    #[schemars(with = "Option<Size>", extend("minimum" = 65_536, "maximum" = 1u64 << 40))]
    pub kill_worker_memory_threshold: Option<u64>,
    /// Whether the host starts the next instance of a module that crashed in an isolate. If false,
    /// the module stays `failed` there until it is reloaded or the isolate is killed. Default true.
    pub reboot_worker_on_crash: bool,
    /// Whether an error that a guest does not handle, such as a trap or a failed startup, counts as
    /// a crash. The instance of that module ends in any case, and no other one does. If false, the
    /// next instance always starts, with backoff, whatever `isolate.maxRestarts` and
    /// `rebootWorkerOnCrash` say. Default true.
    pub crash_worker_on_error: bool,
    /// Whether SIGUSR2 kills all workers, one after another: at once in the environments `dev` and
    /// `development`, gracefully in others. If false, `fanfare` ignores the signal. Default true.
    pub reboot_on_signal: bool,
}

impl Default for MasterConfig {
    fn default() -> MasterConfig {
        MasterConfig {
            propagate_errors: true,
            propagate_warnings: true,
            ipc_ack_timeout: Duration::from_secs(10),
            process_term_timeout: Duration::from_secs(10),
            worker_status_interval: Duration::from_secs(10),
            kill_worker_memory_threshold: None,
            reboot_worker_on_crash: true,
            crash_worker_on_error: true,
            reboot_on_signal: true,
        }
    }
}

/// Calls that guests make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CallsConfig {
    /// How deep calls may nest, 1 to 256. Every rpc, gather and emit adds a level. Default 16.
    #[schemars(extend("minimum" = 1, "maximum" = 256))]
    pub max_depth: u32,
}

impl Default for CallsConfig {
    fn default() -> CallsConfig {
        CallsConfig { max_depth: 16 }
    }
}

/// The operator's ceiling for the limits of all modules.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// The highest value of each limit. The host rejects a module that asks for more.
    #[schemars(with = "LimitsPatch")]
    pub max: Limits,
}

impl Default for LimitsConfig {
    fn default() -> LimitsConfig {
        LimitsConfig { max: Limits::ceiling() }
    }
}
