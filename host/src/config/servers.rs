//! The form of `cluster.servers`: the servers that make up a cluster, by server type.
//!
//! A type is a list of entries, or an object with what its entries share and the list `servers`. An
//! entry with a range of ports stands for several servers. `topology.rs` reads them.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value as Json, json};

use super::formats::{ModuleName, NodeName};

/// The most servers of a cluster.
pub const MAX_SERVERS: usize = 1_000;

/// The servers of a type, as the file has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServerType(Json);

impl JsonSchema for ServerType {
    fn schema_name() -> Cow<'static, str> {
        "ServerType".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let shared = SharedKeys::json_schema(generator).to_value();
        let entry = generator.subschema_for::<ServerEntry>();
        json_schema!({
            "type": ["array", "object"],
            "description": "The servers of a type: a list of entries, or an object with the list `servers`, and beside it the keys that all of them have.",
            "items": entry,
            "maxItems": MAX_SERVERS,
            "properties": shared.get("properties").cloned().unwrap_or_default(),
            "additionalProperties": { "x-any": true },
        })
    }
}

/// The keys of a type whose servers are in `servers`.
#[derive(Debug, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "it describes the keys for the schema")]
struct SharedKeys {
    /// The entries of this type. They override the keys that are beside this list.
    #[schemars(extend("maxItems" = 1_000))]
    servers: Vec<ServerEntry>,
    /// The machine of all servers of this type, unless an entry names another one.
    host: Option<String>,
    /// Whether clients connect to the servers of this type.
    frontend: Option<bool>,
    /// The modules that these servers serve. By default, all modules of `modulesDir`.
    #[schemars(with = "Vec<ModuleName>", extend("x-one" = true))]
    modules: Vec<String>,
    /// More arguments for `fanfare serve`, for `fanfare cluster up`.
    #[schemars(extend("x-one" = true))]
    args: Vec<String>,
    /// Keys of this file that have other values on these servers.
    #[schemars(extend("x-any" = true))]
    overrides: Json,
}

/// An entry of `cluster.servers`: a server, or several with a range of ports.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("additionalProperties" = json!({ "x-any": true })))]
pub(super) struct ServerEntry {
    /// The id of the server. With a range of ports, a number follows it: `idStart`, and so on.
    #[schemars(with = "NodeName")]
    pub(super) id: String,
    /// The machine: an IP address or a name. `fanfare cluster up` starts the servers of its own
    /// machine. Default `127.0.0.1`.
    #[serde(default = "this_machine")]
    pub(super) host: String,
    /// The port of the admin listener, or a range `[first, last]`, which stands for a server for
    /// each of its ports.
    pub(super) port: Ports,
    /// The number of the first server of a range. Default 0.
    #[serde(default)]
    #[schemars(extend("maximum" = 1_000_000_000))]
    pub(super) id_start: u32,
    /// Whether clients connect to it. Default false: it opens no port for clients.
    #[serde(default)]
    pub(super) frontend: bool,
    /// The port for clients. In a range, that of the first server.
    #[serde(default)]
    #[schemars(extend("minimum" = 1, "maximum" = 65_535))]
    pub(super) client_port: Option<u16>,
    /// The modules that it serves: a name, or a list. By default, all modules of `modulesDir`.
    #[serde(default, deserialize_with = "one_or_more")]
    #[schemars(with = "Option<Vec<ModuleName>>", extend("x-one" = true))]
    pub(super) modules: Option<Vec<String>>,
    /// More arguments for `fanfare serve`, for `fanfare cluster up`.
    #[serde(default, deserialize_with = "one_or_more")]
    #[schemars(with = "Option<Vec<String>>", extend("x-one" = true))]
    pub(super) args: Option<Vec<String>>,
    /// Keys of this file that have other values on this server, such as `workers`.
    #[serde(default)]
    #[schemars(extend("x-any" = true))]
    #[expect(dead_code, reason = "the tree has it, with the places of its values")]
    pub(super) overrides: Json,
    /// Other keys, for the modules.
    #[serde(flatten)]
    #[schemars(skip)]
    pub(super) other: Map<String, Json>,
}

/// The keys of an entry that the host knows.
pub(super) const KNOWN: &[&str] =
    &["id", "host", "port", "idStart", "frontend", "clientPort", "modules", "args", "overrides", "servers"];

pub(super) fn this_machine() -> String {
    Ipv4Addr::LOCALHOST.to_string()
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Texts {
        One(String),
        More(Vec<String>),
    }
    Ok(Option::<Texts>::deserialize(deserializer)?.map(|texts| match texts {
        Texts::One(text) => vec![text],
        Texts::More(texts) => texts,
    }))
}

/// A port, or a range of ports.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
pub(super) enum Ports {
    One(u16),
    Range(u16, u16),
}

impl JsonSchema for Ports {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Ports".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "array"], "minimum": 1, "maximum": 65_535, "minItems": 2, "maxItems": 2,
            "items": { "type": "integer", "minimum": 1, "maximum": 65_535 },
        })
    }
}
