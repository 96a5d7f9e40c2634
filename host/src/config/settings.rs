//! `fanfare.json` as users write it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::formats::FilePath;
use super::http::HttpConfig;
use super::module::ModuleConfig;
use super::parts::{
    AdminConfig, CallsConfig, EngineConfig, IsolateConfig, LimitsConfig, NodeConfig, ShutdownConfig, SwapConfig,
};
use super::unserved;

/// The settings of a host. Every key is optional.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(extend("x-unserved" = unserved::CONFIG))]
pub struct Settings {
    /// Who this node is.
    pub node: NodeConfig,
    /// The folder of the modules, relative to the folder of this file. Default `modules`.
    #[schemars(with = "FilePath")]
    pub modules_dir: String,
    /// The folder for the host's own files, relative to the folder of this file. Default `.fanfare`.
    #[schemars(with = "FilePath")]
    pub state_dir: String,
    /// Threads that serve, 1 to 1024, or `auto`: as many as there are cores. Default `auto`.
    pub workers: Workers,
    /// The listener that clients reach.
    pub http: HttpConfig,
    /// The operator's listener.
    pub admin: AdminConfig,
    /// How WebAssembly is compiled and run.
    pub engine: EngineConfig,
    /// What happens when an instance crashes.
    pub isolate: IsolateConfig,
    /// How another generation of a module takes over.
    pub swap: SwapConfig,
    /// How the host stops.
    pub shutdown: ShutdownConfig,
    /// Calls that make calls.
    pub calls: CallsConfig,
    /// What modules may take at most.
    pub limits: LimitsConfig,
    /// The operator's section of each module, by the module's name.
    #[schemars(extend("x-names" = "module"))]
    pub modules: BTreeMap<String, ModuleConfig>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            node: NodeConfig::default(),
            modules_dir: "modules".to_owned(),
            state_dir: ".fanfare".to_owned(),
            workers: Workers::Auto,
            http: HttpConfig::default(),
            admin: AdminConfig::default(),
            engine: EngineConfig::default(),
            isolate: IsolateConfig::default(),
            swap: SwapConfig::default(),
            shutdown: ShutdownConfig::default(),
            calls: CallsConfig::default(),
            limits: LimitsConfig::default(),
            modules: BTreeMap::new(),
        }
    }
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
