//! The section `keyvalue` of `fanfare.json`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::units::{MIB, Size};

/// The stores of the node, by name. A store that a module may use and that has no entry here has
/// the defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("x-names" = "connection"))]
pub struct KeyValueConfig(pub BTreeMap<String, StoreConfig>);

/// A store of keys and values in the memory of the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct StoreConfig {
    /// The memory for its entries, 4 KiB to 1 TiB. An entry counts with its key, its value, and 64
    /// bytes more. Default `16MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 4_096, "maximum" = 1u64 << 40))]
    pub size: u64,
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig { size: 16 * MIB }
    }
}

impl KeyValueConfig {
    /// The size of a store.
    pub fn size(&self, name: &str) -> u64 {
        self.0.get(name).map_or_else(|| StoreConfig::default().size, |store| store.size)
    }
}
