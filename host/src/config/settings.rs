//! `fanfare.json` as users write it, and as the host holds it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::formats::FilePath;
use super::http::HttpConfig;
use super::module::ModuleConfig;
use super::parts::{
    AdminConfig, CallsConfig, EngineConfig, IsolateConfig, LimitsConfig, NodeConfig, ShutdownConfig, SwapConfig,
};
use super::sources::Sources;
use super::unserved;
use crate::document::{Fault, Node};

/// Writes [`Settings`] and [`Config`] from one list of sections. A section that is `live` takes
/// effect while the host runs.
macro_rules! sections {
    ($($(#[$doc:meta])* $name:ident: $section:ty $(, $live:ident)?;)*) => {
        /// The settings of a host. Every key is optional.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
        #[schemars(extend("x-unserved" = unserved::CONFIG))]
        pub struct Settings {
            /// The folder of the modules, relative to the folder of this file. Default `modules`.
            #[schemars(with = "FilePath")]
            pub modules_dir: String,
            /// The folder for the host's own files, relative to the folder of this file. Default `.fanfare`.
            #[schemars(with = "FilePath")]
            pub state_dir: String,
            /// Threads that serve, 1 to 1024, or `auto`: as many as there are cores. Default `auto`.
            pub workers: Workers,
            $($(#[$doc])* pub $name: $section,)*
            /// The operator's section of each module, by the module's name.
            #[schemars(extend("x-names" = "module"))]
            pub modules: BTreeMap<String, ModuleConfig>,
        }

        impl Default for Settings {
            fn default() -> Settings {
                Settings {
                    modules_dir: "modules".to_owned(),
                    state_dir: ".fanfare".to_owned(),
                    workers: Workers::Auto,
                    $($name: <$section>::default(),)*
                    modules: BTreeMap::new(),
                }
            }
        }

        impl Settings {
            /// Reads each section by itself, so that a fault in one does not hide those of another.
            /// A section that cannot be read has its defaults.
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
                    $($name: section(tree, stringify!($name), default.$name),)*
                    modules: modules.iter().filter_map(|module| Some((module.name.clone(), module.node.read()?))).collect(),
                }
            }
        }

        /// The settings a host starts with, checked.
        #[derive(Debug, Clone)]
        pub struct Config {
            /// The folder of `fanfare.json`, or the current one when there is no file. Absolute; relative paths start here.
            pub root: PathBuf,
            /// The file that was read, if there is one.
            pub file: Option<PathBuf>,
            /// Which `environments` section applies. Default `development`.
            pub environment: String,
            /// The folder of the modules, absolute. Default `modules`.
            pub modules_dir: PathBuf,
            /// The folder for the host's own files, absolute. Default `.fanfare`.
            pub state_dir: PathBuf,
            /// Threads that serve. Default as many as there are cores.
            pub workers: usize,
            $($(#[$doc])* pub $name: $section,)*
            /// The operator's section of each module, by the module's name.
            pub modules: BTreeMap<String, ModuleConfig>,
            /// Where all of this was read from. `None` when it was made from a text.
            pub sources: Option<Sources>,
            /// What is doubtful but no fault: variables that name no key, an environment without a section.
            pub warnings: Vec<Fault>,
            /// Every effective value with the place it comes from.
            #[doc(hidden)]
            pub effective: Arc<Node>,
        }

        impl Config {
            /// The parts that take effect while the host runs.
            pub(super) const LIVE: &[&str] = &["modules", $($(sections!(@$live $name),)?)*];

            pub(super) fn new(settings: Settings, root: PathBuf, environment: String, effective: Node) -> Config {
                let relative = |dir: &str| root.join(dir).components().collect();
                Config {
                    file: None,
                    environment,
                    modules_dir: relative(&settings.modules_dir),
                    state_dir: relative(&settings.state_dir),
                    workers: settings.workers.count(),
                    $($name: settings.$name,)*
                    modules: settings.modules,
                    sources: None,
                    warnings: Vec::new(),
                    effective: Arc::new(effective),
                    root,
                }
            }

            /// This configuration with what `new` has in its [`LIVE`](Self::LIVE) parts.
            pub(super) fn with_live_parts_of(&self, new: Config) -> Config {
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
    /// Who this node is.
    node: NodeConfig;
    /// The listener that clients reach.
    http: HttpConfig;
    /// The operator's listener.
    admin: AdminConfig;
    /// How WebAssembly is compiled and run.
    engine: EngineConfig;
    /// What happens when an instance crashes.
    isolate: IsolateConfig;
    /// How another generation of a module takes over.
    swap: SwapConfig;
    /// How the host stops.
    shutdown: ShutdownConfig;
    /// Calls that make calls.
    calls: CallsConfig;
    /// What modules may take at most.
    limits: LimitsConfig, live;
}

/// How many threads serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Workers {
    /// As many as there are cores.
    Auto,
    #[serde(untagged)]
    Number(usize),
}

impl Workers {
    /// The most workers of a host.
    pub const MOST: usize = 1024;

    /// The number itself.
    pub fn count(self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from).min(Workers::MOST);
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
            "minimum": 1, "maximum": Workers::MOST
        })
    }
}
