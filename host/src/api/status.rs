//! The status of a host.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A node and its modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `node.id`.
    pub node: String,
    /// `node.server`.
    #[serde(default)]
    pub server: String,
    /// The section of `environments` that applies.
    pub environment: String,
    /// Of the host.
    #[serde(default)]
    pub version: String,
    /// The process.
    #[serde(default)]
    pub pid: u32,
    /// How many workers there are.
    #[serde(default)]
    pub workers: usize,
    /// Whether every module has had its first try.
    #[serde(default)]
    pub ready: bool,
    /// The isolates whose thread host code blocks.
    #[serde(default)]
    pub blocked: Vec<String>,
    /// Open HTTP connections.
    #[serde(default)]
    pub connections: Connections,
    /// Bytes that connections hold.
    #[serde(default)]
    pub buffered: Buffered,
    /// File descriptors of the process.
    #[serde(default)]
    pub descriptors: Descriptors,
    /// Bytes of address space for memories of instances.
    #[serde(default)]
    pub address_space: Room,
    /// Mappings of the process for memories of instances.
    #[serde(default)]
    pub mappings: Room,
    /// What the operator should know of the host itself.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Every module, by name.
    pub modules: Vec<ModuleStatus>,
}

/// HTTP connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connections {
    /// How many are open.
    pub open: usize,
    /// How many there may be: `configured`, or fewer where file descriptors do not suffice.
    pub max: usize,
    /// `http.maxConnections`.
    pub configured: usize,
}

/// Bytes that connections hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Buffered {
    /// As of now.
    pub bytes: u64,
    /// `http.maxBuffered`.
    pub max: u64,
}

/// File descriptors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptors {
    /// The process's limit.
    pub max: u64,
    /// Those that clients cannot take.
    pub reserved: usize,
}

/// A resource with a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Room {
    /// What is in use.
    pub used: u64,
    /// What there is.
    pub limit: u64,
}

impl Room {
    /// What is left.
    pub fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// A module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleStatus {
    /// The name of its folder.
    pub name: String,
    /// `loading`, `waiting`, `refused`, or the worst state in its isolates.
    pub state: State,
    /// The digest of the generation that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Whether an instance takes one call at a time.
    #[serde(default)]
    pub serial: bool,
    /// Why it does not serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the operator should know of it although it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The isolates that it is installed in.
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

/// A module in one isolate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IsolateStatus {
    /// Such as `worker-0`.
    pub isolate: String,
    /// `starting`, `ready`, `restarting` or `failed`.
    pub state: State,
    /// The beginning of the digest of the generation that runs there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Why it is not ready, or how its last instance ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Restarts since the module was installed there.
    #[serde(default)]
    pub restarts: u64,
    /// Calls that run.
    #[serde(default)]
    pub in_flight: u64,
    /// Whether a swap holds its calls.
    #[serde(default)]
    pub held: bool,
    /// Calls that have not started.
    #[serde(default)]
    pub waiting: u64,
    /// Broadcasts that have not started.
    #[serde(default)]
    pub waiting_broadcasts: u64,
    /// Calls that have not ended long after their deadline.
    #[serde(default)]
    pub leaked: u64,
}
