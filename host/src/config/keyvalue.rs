//! The section `keyvalue` of `fanfare.json`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::formats::{ConnectionName, KeyPrefix};
use crate::document::units::{MIB, Size};

/// The stores of the node, by name. A store that a module may use and that has no entry here has
/// the defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("x-names" = "connection"))]
pub struct KeyValueConfig(pub BTreeMap<String, StoreConfig>);

/// A store of keys and values: in the memory of the node, or on a Redis server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct StoreConfig {
    /// The memory for its entries, 4 KiB to 1 TiB. An entry counts with its key, its value, and 64
    /// bytes more. A store on a Redis server has no size. Default `16MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 4_096, "maximum" = 1u64 << 40))]
    pub size: u64,
    /// The connection of `redis` whose server has the entries. Default null: the entries are in the
    /// memory of the node.
    #[schemars(with = "Option<ConnectionName>")]
    pub redis: Option<String>,
    /// What the host puts in front of each key on the Redis server, at most 256 bytes. Default
    /// null: the name of the store and a colon, such as `cache:`.
    #[schemars(with = "Option<KeyPrefix>")]
    pub prefix: Option<String>,
}

impl Default for StoreConfig {
    fn default() -> StoreConfig {
        StoreConfig { size: 16 * MIB, redis: None, prefix: None }
    }
}

impl StoreConfig {
    /// What is in front of each key of this store on a Redis server.
    pub fn prefix(&self, name: &str) -> String {
        self.prefix.clone().unwrap_or_else(|| format!("{name}:"))
    }
}

impl KeyValueConfig {
    /// The size of a store.
    pub fn size(&self, name: &str) -> u64 {
        self.0.get(name).map_or_else(|| StoreConfig::default().size, |store| store.size)
    }
}
