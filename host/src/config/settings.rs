//! `fanfare.json` as users write it ([`Settings`]) and as the host uses it ([`Config`]).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::cluster::ClusterConfig;
use super::events::EventsConfig;
use super::formats::FilePath;
use super::http::HttpConfig;
use super::hub::HubConfig;
use super::keyvalue::KeyValueConfig;
use super::module::ModuleConfig;
use super::outgoing::OutgoingConfig;
use super::redis::RedisConfig;
use super::sections::{
    AdminConfig, CallsConfig, EngineConfig, IsolateConfig, LimitsConfig, MasterConfig, NodeConfig, ShutdownConfig,
    SwapConfig,
};
use super::sources::Sources;
use super::sse::SseConfig;
use super::topology::ServerConfig;
use super::websocket::WebSocketConfig;
use crate::document::{Fault, Node};

/// Generates [`Settings`] and [`Config`] from one list of sections. A change of a `live` section
/// takes effect without a restart.
macro_rules! sections {
    ($($(#[$doc:meta])* $name:ident: $section:ty $(, $live:ident)?;)*) => {
        /// The settings of a host. Every key is optional.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
        pub struct Settings {
            /// The folder that contains the modules, relative to the folder of this file. Default
            /// `modules`.
            #[schemars(with = "FilePath")]
            pub modules_dir: String,
            /// The folder for the host's own files, relative to the folder of this file. Default
            /// `.fanfare`. Each host needs one of its own.
            #[schemars(with = "FilePath")]
            pub state_dir: String,
            /// The number of worker threads, 1 to 1024, or `auto` for one per core. Default `auto`.
            pub workers: Workers,
            /// The number of broker threads, 0 to 1024. A broker runs the routes of channels, and
            /// the modules whose hook `masterMessage` is `in` `broker`. Default 1.
            #[schemars(extend("minimum" = 0, "maximum" = Workers::MAX))]
            pub brokers: u32,
            $($(#[$doc])* pub $name: $section,)*
            /// Options of this host, of any form. The embedding program and every module can read
            /// them (`master.options`). Default an empty object.
            #[schemars(extend("x-any" = true))]
            pub options: Value,
            /// The operator's settings for each module, by the module's name.
            #[schemars(extend("x-names" = "module"))]
            pub modules: BTreeMap<String, ModuleConfig>,
        }

        impl Default for Settings {
            fn default() -> Settings {
                Settings {
                    modules_dir: "modules".to_owned(),
                    state_dir: ".fanfare".to_owned(),
                    workers: Workers::Auto,
                    brokers: 1,
                    $($name: <$section>::default(),)*
                    options: Value::Object(Map::new()),
                    modules: BTreeMap::new(),
                }
            }
        }

        impl Settings {
            /// Reads each section separately, so that a fault in one does not hide those of
            /// another. A section that cannot be read gets its defaults.
            pub(super) fn read(tree: &Node) -> Settings {
                fn section<T: DeserializeOwned>(tree: &Node, key: &str, default: T) -> T {
                    tree.get(key).and_then(Node::read).unwrap_or(default)
                }
                let default = Settings::default();
                let modules = tree.get("modules").map(Node::members).unwrap_or_default();
                Settings {
                    modules_dir: section(tree, "modulesDir", default.modules_dir),
                    state_dir: section(tree, "stateDir", default.state_dir),
                    workers: section(tree, "workers", default.workers),
                    brokers: section(tree, "brokers", default.brokers),
                    $($name: section(tree, stringify!($name), default.$name),)*
                    options: section(tree, "options", default.options),
                    modules: modules.iter().filter_map(|module| Some((module.name.clone(), module.node.read()?))).collect(),
                }
            }
        }

        /// The checked settings of a host.
        #[derive(Debug, Clone)]
        pub struct Config {
            /// The folder of `fanfare.json`, or the current folder if there is no file. Absolute.
            /// Relative paths in the file start here.
            pub root: PathBuf,
            /// The file that was read. `None` if there was no file.
            pub file: Option<PathBuf>,
            /// The name of the `environments` section that applies. Default `development`.
            pub environment: String,
            /// The folder that contains the modules, absolute. Default `modules`.
            pub modules_dir: PathBuf,
            /// The folder for the host's own files, absolute. Default `.fanfare`.
            pub state_dir: PathBuf,
            /// The number of worker threads. Default one per core.
            pub workers: usize,
            /// The number of broker threads. Default 1.
            pub brokers: u32,
            $($(#[$doc])* pub $name: $section,)*
            /// Options of this host, of any form. The embedding program and every module can read
            /// them (`master.options`). Default an empty object.
            pub options: Value,
            /// The operator's settings for each module, by the module's name.
            pub modules: BTreeMap<String, ModuleConfig>,
            /// The servers of `cluster.servers`, in the order of the file.
            pub servers: Vec<ServerConfig>,
            /// The server of `cluster.servers` that this node is.
            pub server: Option<ServerConfig>,
            /// The sources that were read. `None` if the configuration was made from a text.
            pub sources: Option<Sources>,
            /// Likely mistakes that are not faults: a variable that matches no setting, an
            /// environment without a section.
            pub warnings: Vec<Fault>,
            /// Every effective value with its source.
            #[doc(hidden)]
            pub effective: Arc<Node>,
        }

        impl Config {
            /// The sections whose changes take effect without a restart.
            pub(super) const LIVE: &[&str] = &["modules", $($(sections!(@$live $name),)?)*];

            pub(super) fn new(settings: Settings, root: PathBuf, environment: String, effective: Node) -> Config {
                let relative = |dir: &str| root.join(dir).components().collect();
                Config {
                    file: None,
                    environment,
                    modules_dir: relative(&settings.modules_dir),
                    state_dir: relative(&settings.state_dir),
                    workers: settings.workers.count(),
                    brokers: settings.brokers,
                    $($name: settings.$name,)*
                    options: settings.options,
                    modules: settings.modules,
                    servers: Vec::new(),
                    server: None,
                    sources: None,
                    warnings: Vec::new(),
                    effective: Arc::new(effective),
                    root,
                }
            }

            /// Returns this configuration with the [`LIVE`](Self::LIVE) sections of `new`.
            pub(super) fn with_live_sections_of(&self, new: Config) -> Config {
                let mut live = self.clone();
                $($(sections!(@$live live.$name => new.$name);)?)*
                Config { file: new.file, modules: new.modules, effective: new.effective, warnings: new.warnings, ..live }
            }
        }
    };
    (@live $name:ident) => { stringify!($name) };
    (@live $place:expr => $value:expr) => { $place = $value };
}

sections! {
    /// The identity of this node.
    node: NodeConfig;
    /// The listener that clients reach.
    http: HttpConfig;
    /// Streams of server-sent events.
    sse: SseConfig;
    /// WebSockets.
    websocket: WebSocketConfig;
    /// The operator's listener.
    admin: AdminConfig;
    /// What all live streams of the node may use together.
    hub: HubConfig;
    /// The event service for other processes.
    events: EventsConfig;
    /// How the host compiles and runs WebAssembly.
    engine: EngineConfig;
    /// How the host restarts instances that crash and notices threads that are blocked.
    isolate: IsolateConfig;
    /// How a new generation of a module replaces the running one.
    swap: SwapConfig;
    /// How the host stops.
    shutdown: ShutdownConfig;
    /// The host as one object: the events that it raises, kills, and crashes.
    master: MasterConfig;
    /// The connections to Redis: one, which is named `default`, or several by their names.
    redis: RedisConfig;
    /// The cluster that this node joins.
    cluster: ClusterConfig;
    /// What modules may use to reach other servers.
    outgoing: OutgoingConfig;
    /// The stores of the node, by name.
    keyvalue: KeyValueConfig;
    /// Calls that guests make.
    calls: CallsConfig;
    /// The operator's ceiling for the limits of all modules.
    limits: LimitsConfig, live;
}

/// The number of worker threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Workers {
    /// One per core.
    Auto,
    #[serde(untagged)]
    Number(usize),
}

impl Workers {
    /// The most workers of a host.
    pub const MAX: usize = 1024;

    /// Resolves `auto` to the number of cores.
    pub fn count(self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from).min(Workers::MAX);
        match self {
            Workers::Auto => cores(),
            Workers::Number(count) => count,
        }
    }
}

impl JsonSchema for Workers {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Workers".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"], "pattern": "^auto$", "x-format": "workers",
            "minimum": 1, "maximum": Workers::MAX
        })
    }
}
