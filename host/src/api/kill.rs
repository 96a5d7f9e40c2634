//! The results of kills.

use serde::{Deserialize, Serialize};

/// How a kill ends the instances of an isolate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KillMode {
    /// The next instance of each module starts first and takes all new calls. Running calls have
    /// `master.processTermTimeout` to end.
    #[default]
    Graceful,
    /// Running calls end with the error `crashed` at once. Then the next instance of each module
    /// starts.
    Immediate,
}

/// The body of `POST /v1/workers/kill` and `POST /v1/brokers/kill`. No body means the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct KillRequest {
    /// The index of the worker or broker. Without it, all are killed, one after another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// Whether running calls end at once.
    pub immediate: bool,
}

impl KillRequest {
    /// How the kill ends the instances.
    pub fn mode(&self) -> KillMode {
        if self.immediate { KillMode::Immediate } else { KillMode::Graceful }
    }
}

/// An isolate whose instances were replaced by a kill.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KilledIsolate {
    /// The isolate, such as `worker-0`.
    pub isolate: String,
    /// The modules that have a new instance there, sorted by name.
    #[serde(default)]
    pub modules: Vec<KilledModule>,
}

/// A module whose instance was replaced by a kill.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KilledModule {
    /// The name of the module.
    pub module: String,
    /// The first digits of the digest of the generation that runs there, as before the kill.
    pub generation: String,
    /// The number of running calls that ended with the error `crashed`.
    #[serde(default)]
    pub crashed: usize,
}
