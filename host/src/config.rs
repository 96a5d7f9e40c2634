//! The settings of a host: `fanfare.json` read, merged with variables and flags, and checked.
//!
//! Order of values: defaults < file < `environments.<env>` in the file < variables such as
//! `FANFARE_HTTP_LISTEN` < flags. Objects merge, arrays and scalars replace, `null` removes.
//! [`Config::load`] gives either a wholly valid value or every fault at once. Nothing reads the
//! process environment afterwards.

use std::path::Path;

use crate::document::{Faults, KeyPath, Origin};

pub use capabilities::{Capabilities, Modules};
pub use http::{CorsConfig, HttpConfig};
pub use limits::{Limits, LimitsPatch};
pub use module::{ModuleConfig, SubdomainConfig};
pub use parts::{
    AdminConfig, CallsConfig, EngineConfig, IsolateConfig, LimitsConfig, NodeConfig, ShutdownConfig, SwapConfig,
};
pub use settings::Config;
pub use sources::{FILE_NAME, Flags, Sources};

pub mod capabilities;
pub mod formats;
pub mod http;
pub mod limits;
mod live;
pub mod load;
pub mod module;
pub mod parts;
pub mod schema;
pub mod settings;
mod sources;
pub mod unserved;
pub mod variables;

#[cfg(test)]
mod tests;

/// Whether routes with the middleware `test` are open in an environment.
pub fn opens_test_routes(environment: &str) -> bool {
    matches!(environment, "development" | "test")
}

impl Config {
    /// Reads, merges and checks. All faults are reported, not the first only.
    pub fn load(sources: Sources) -> Result<Config, Faults> {
        let (config, faults) = load::inspect(&sources);
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    /// For checks that go on in spite of faults: sections that have some hold their defaults. Never start a host with it.
    #[doc(hidden)]
    pub fn inspect(sources: &Sources) -> (Config, Faults) {
        load::inspect(sources)
    }

    /// The defaults, for a host whose files are in `root`.
    pub fn defaults(root: &Path) -> Result<Config, Faults> {
        load::from_text(None, root, &Sources::default())
    }

    /// From the text of a `fanfare.json` that would be in `root`, without variables or flags.
    pub fn from_text(text: &str, root: &Path) -> Result<Config, Faults> {
        load::from_text(Some(text), root, &Sources::default())
    }

    /// The operator's section of a module; an empty one when there is none.
    pub fn module(&self, name: &str) -> ModuleConfig {
        self.modules.get(name).cloned().unwrap_or_default()
    }

    /// Where an effective value comes from.
    #[doc(hidden)]
    pub fn origin(&self, path: &KeyPath) -> Origin {
        self.effective.nearest(path).origin.clone()
    }
}
