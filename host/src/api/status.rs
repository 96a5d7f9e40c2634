//! The status of a host.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    ChannelPatternStatus, ChannelsStatus, ClientsStatus, EventsStatus, FiltersStatus, RedisStatus, ScheduleStatus,
    SocketStatus, SubscriptionStatus,
};

/// The status of a node and its modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The setting `node.id`.
    pub node: String,
    /// The setting `node.server`.
    #[serde(default)]
    pub server: String,
    /// The name of the `environments` section that applies.
    pub environment: String,
    /// The folder of `fanfare.json`, which is that of the project: relative paths in the settings
    /// start here.
    #[serde(default)]
    pub root: String,
    /// The version of the host.
    #[serde(default)]
    pub version: String,
    /// The process id.
    #[serde(default)]
    pub pid: u32,
    /// The number of workers.
    #[serde(default)]
    pub workers: usize,
    /// Whether the host has tried to load every module once.
    #[serde(default)]
    pub ready: bool,
    /// The isolates whose thread is blocked by host code.
    #[serde(default)]
    pub blocked: Vec<String>,
    /// The load of each worker, each broker and the master.
    #[serde(default)]
    pub isolates: Vec<IsolateLoad>,
    /// The open HTTP connections.
    #[serde(default)]
    pub connections: Connections,
    /// The memory that connections use.
    #[serde(default)]
    pub buffered: Buffered,
    /// The file descriptors of the process.
    #[serde(default)]
    pub descriptors: Descriptors,
    /// The address space that the memories of instances reserve, in bytes.
    #[serde(default)]
    pub address_space: Usage,
    /// The memory mappings that the memories of instances use.
    #[serde(default)]
    pub mappings: Usage,
    /// Messages to the operator about the host as a whole.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The connections to Redis, sorted by name.
    #[serde(default)]
    pub redis: Vec<RedisStatus>,
    /// The event service.
    #[serde(default)]
    pub events: EventsStatus,
    /// The connected clients.
    #[serde(default)]
    pub clients: ClientsStatus,
    /// The channels of connected clients and modules.
    #[serde(default)]
    pub channels: ChannelsStatus,
    /// The schedules of the modules, as `GET /v1/schedules` lists them.
    #[serde(default)]
    pub schedules: Vec<ScheduleStatus>,
    /// The subscriptions of the modules, as `GET /v1/subscriptions` lists them.
    #[serde(default)]
    pub subscriptions: Vec<SubscriptionStatus>,
    /// The modules, sorted by name.
    pub modules: Vec<ModuleStatus>,
}

/// The load of a worker, a broker or the master.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IsolateLoad {
    /// The isolate, such as `worker-0`.
    pub isolate: String,
    /// The number of open connections of clients. Only workers have connections.
    #[serde(default)]
    pub clients: usize,
    /// The number of HTTP requests that modules have answered here per minute, measured over the
    /// last one to two `master.workerStatusInterval`.
    #[serde(default)]
    pub requests_per_minute: u64,
    /// The bytes of the linear memories of all instances, those that drain too.
    #[serde(default)]
    pub memory: u64,
}

/// The open HTTP connections and their limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connections {
    /// The number of open connections.
    pub open: usize,
    /// The limit: `configured`, or less if the process has too few file descriptors.
    pub max: usize,
    /// The setting `http.maxConnections`.
    pub configured: usize,
}

/// The memory that connections use for buffers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Buffered {
    /// The size in bytes.
    pub bytes: u64,
    /// The limit in bytes: the setting `http.maxBuffered`, or `http.maxBody` if that is larger.
    pub max: u64,
}

/// The file descriptors of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptors {
    /// The limit of the process (`ulimit -n`).
    pub max: u64,
    /// The number that connections of clients cannot use.
    pub reserved: usize,
}

/// The use of a resource that has a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// The amount in use.
    pub used: u64,
    /// The total amount.
    pub limit: u64,
}

impl Usage {
    /// The amount that is free.
    pub fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// The status of a module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleStatus {
    /// The name, which is that of its folder.
    pub name: String,
    /// `loading`, `waiting` (for its component) or `refused`. If the module serves, the worst state
    /// among its isolates.
    pub state: State,
    /// The digest of the generation that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Whether each instance runs one call at a time.
    #[serde(default)]
    pub serial: bool,
    /// The number of routes of the generation that serves.
    #[serde(default)]
    pub routes: usize,
    /// The interface through which the module answers all other requests, such as
    /// `wasi:http/handler@0.3.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasi_http: Option<String>,
    /// Whether it also answers requests outside `/api/`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mounted: bool,
    /// The WebSockets of the generation that serves, sorted by pattern.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<SocketStatus>,
    /// The channels of the generation that serves, sorted by pattern.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelPatternStatus>,
    /// The filters of the generation that serves.
    #[serde(default, skip_serializing_if = "FiltersStatus::is_empty")]
    pub filters: FiltersStatus,
    /// Why the module does not serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A message to the operator about a module that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The isolates where it is installed.
    #[serde(default)]
    pub isolates: Vec<IsolateStatus>,
}

/// The state of a module, or of a module in one isolate.
///
/// The states of a module in an isolate are ordered from good to bad.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// The host has not finished the first attempt to load the module.
    #[default]
    Loading,
    /// The module's component does not exist yet.
    Waiting,
    /// The host cannot load the module.
    Refused,
    /// The module accepts calls.
    Ready,
    /// The first instance is starting.
    Starting,
    /// An instance has ended, and the next one is starting.
    Restarting,
    /// Instances have crashed too often. The module stays unavailable there until a reload.
    Failed,
    /// A state that only another version of the host knows.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Loading => "loading",
            State::Waiting => "waiting",
            State::Refused => "refused",
            State::Ready => "ready",
            State::Starting => "starting",
            State::Restarting => "restarting",
            State::Failed => "failed",
            State::Unknown => "unknown",
        })
    }
}

/// The status of a module in one isolate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IsolateStatus {
    /// The isolate, such as `worker-0`.
    pub isolate: String,
    /// `starting`, `ready`, `restarting` or `failed`.
    pub state: State,
    /// The first digits of the digest of the generation that runs here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Why the module is not ready, or why the last instance of this generation ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When that instance ended, in milliseconds since 1970-01-01 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    /// The milliseconds until the next instance starts, while the module restarts after a crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts_in: Option<u64>,
    /// The number of restarts since the module was installed here.
    #[serde(default)]
    pub restarts: u64,
    /// The number of crashes of instances that serve one call, which no restart follows, since the
    /// module was installed here.
    #[serde(default)]
    pub crashes: u64,
    /// The number of instances that the host replaced because their memory had almost reached
    /// `limits.memory`, since the module was installed here.
    #[serde(default)]
    pub replaced: u64,
    /// The number of running calls.
    #[serde(default)]
    pub in_flight: u64,
    /// Whether a swap holds the calls.
    #[serde(default)]
    pub held: bool,
    /// The number of calls that wait to start.
    #[serde(default)]
    pub waiting: u64,
    /// The number of broadcasts that wait to start.
    #[serde(default)]
    pub waiting_broadcasts: u64,
    /// The number of leaked calls: those that still run `limits.abandonAfter` after their deadline.
    #[serde(default)]
    pub leaked: u64,
}
