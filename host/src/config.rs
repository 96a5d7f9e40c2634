//! The settings of a host: reads `fanfare.json`, merges environment variables and flags into it,
//! and checks the result.
//!
//! Later sources override earlier ones: defaults, the file, `environments.<env>` in the file,
//! variables such as `FANFARE_HTTP_LISTEN`, flags. Objects merge, arrays and scalars replace,
//! `null` removes. [`Config::load`] returns either a valid value or every fault at once. Nothing
//! reads the process environment afterwards.

use std::collections::BTreeMap;
use std::path::Path;

use crate::document::{Faults, KeyPath, ValueOrigin};

pub use capabilities::{
    Capabilities, ChannelNames, DirAccess, Dirs, Endpoints, EventTypes, Modules, Origins, SecretNames, StoreNames,
    StreamKeys, Topics, Variables,
};
pub use cluster::{ClusterConfig, NatsSecrets, RouterConfig};
pub use durable::DurableConfig;
pub use events::{EventHistoryConfig, EventQueueConfig, EventsConfig};
pub use histories::HistoriesConfig;
pub use http::{CorsConfig, CorsRoutes, HttpConfig};
pub use hub::HubConfig;
pub use keyvalue::{KeyValueConfig, StoreConfig};
pub use limits::{Limits, LimitsPatch};
pub use module::{DirConfig, ModuleConfig, SecretConfig, SubdomainConfig};
pub use outgoing::OutgoingConfig;
pub use redis::{PublishQueue, RedisConfig, RedisConnection};
pub use schedules::{Missed, Overlap, ScheduleConfig, WhenAlone};
pub use sections::{
    AdminConfig, CallsConfig, EngineConfig, IsolateConfig, LimitsConfig, MasterConfig, NodeConfig, ShutdownConfig,
    SwapConfig,
};
pub use servers::{MAX_SERVERS, ServerType};
pub use settings::Config;
pub use sources::{FILE_NAME, Flags, Sources};
pub use sse::{HistoryConfig, QueueConfig, SseConfig, StreamAccess, history_schema};
pub use topology::{MAX_SERVER_SETTINGS, ServerConfig, is_loopback};
pub use websocket::{ChannelAccess, SocketListener, WebSocketConfig};
pub use websocket_auth::{AuthConfig, TokenAlgorithm, VerifyKey};

pub mod capabilities;
mod cluster;
pub mod cron;
mod domain;
mod durable;
pub mod endpoint;
mod events;
pub mod formats;
mod guest_options;
mod histories;
mod http;
mod hub;
mod keyvalue;
pub mod limits;
mod live;
pub mod load;
mod missing_modules;
pub mod module;
pub mod nats_address;
pub mod network;
pub mod origin;
mod outgoing;
pub mod redis;
pub mod redis_address;
mod relations;
mod routers;
mod schedules;
pub mod schema;
pub mod secret;
pub mod sections;
mod server_url;
mod servers;
pub mod settings;
mod sources;
pub mod sse;
mod topology;
pub mod unsupported;
pub mod variables;
pub mod websocket;
mod websocket_auth;

#[cfg(test)]
mod tests;

/// Whether an environment is for development: it has the page for developers, and a signal to
/// reboot kills at once.
pub fn is_development(environment: &str) -> bool {
    matches!(environment, "dev" | "development")
}

/// Whether an environment opens the routes that have the middleware `test`.
pub fn opens_test_routes(environment: &str) -> bool {
    matches!(environment, "development" | "test")
}

impl Config {
    /// Reads, merges and checks the sources. Returns all faults, not only the first.
    pub fn load(sources: Sources) -> Result<Config, Faults> {
        let (config, faults) = load::load_with_faults(&sources);
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    /// Loads like [`Config::load`], but returns a configuration in any case, for checks that
    /// continue after a fault. A section with a fault has its defaults. Never start a host with it.
    #[doc(hidden)]
    pub fn load_with_faults(sources: &Sources) -> (Config, Faults) {
        load::load_with_faults(sources)
    }

    /// Returns the defaults, for a host whose files are in `root`.
    pub fn defaults(root: &Path) -> Result<Config, Faults> {
        load::from_text(None, root, &Sources::default())
    }

    /// Loads `text` as if it were the `fanfare.json` in `root`, without variables or flags.
    pub fn from_text(text: &str, root: &Path) -> Result<Config, Faults> {
        load::from_text(Some(text), root, &Sources::default())
    }

    /// Returns the operator's section of a module, or an empty section if the file has none.
    pub fn module(&self, name: &str) -> ModuleConfig {
        self.modules.get(name).cloned().unwrap_or_default()
    }

    /// Whether this node serves a module: without `modules` in its entry of `cluster.servers`, it
    /// serves all.
    #[doc(hidden)]
    pub fn serves(&self, module: &str) -> bool {
        self.server.as_ref().is_none_or(|server| server.serves(module))
    }

    /// The folder for files that the nodes of one folder share: `stateDir`, or for a server of
    /// `cluster.servers` the folder above.
    #[doc(hidden)]
    pub fn shared_dir(&self) -> &Path {
        let above = self
            .server
            .as_ref()
            .and_then(|server| self.state_dir.parent().filter(|_| self.state_dir.ends_with(&server.id)));
        above.unwrap_or(&self.state_dir)
    }

    /// The variables of the process as they were when the settings were read.
    pub(crate) fn variables(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.sources.as_ref().map_or(&NONE, |sources| &sources.variables)
    }

    /// Returns the source of an effective value.
    #[doc(hidden)]
    pub fn origin(&self, path: &KeyPath) -> ValueOrigin {
        self.effective.nearest(path).origin.clone()
    }
}
