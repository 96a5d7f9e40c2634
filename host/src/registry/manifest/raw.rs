//! `module.json` as authors write it.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::config::formats::{Command, FilePath, Label, MethodName, RoutePath, RouteRef};
use crate::config::{Capabilities, LimitsPatch, schema, unsupported};

/// The name of the file.
pub const FILE_NAME: &str = "module.json";

/// The most routes of a module, and the most broadcasts and startups.
pub const MOST: usize = 1024;

/// What a module says about itself.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-unsupported" = unsupported::MODULE))]
#[expect(dead_code, reason = "the schema needs every field; the checks read some from the tree")]
pub struct RawManifest {
    /// The schema of this file, for editors. Default none.
    #[serde(rename = "$schema", default)]
    pub schema: Option<String>,
    /// The component file, relative to this folder and inside it; it may be in `target/`. Required.
    #[schemars(with = "FilePath")]
    pub component: String,
    /// What calls can reach, at most 1024. Default none.
    #[serde(default)]
    #[schemars(extend("maxItems" = MOST))]
    pub routes: Vec<RawRoute>,
    /// Routes that run in every worker when the broadcast is emitted, by the broadcast's name, at most 1024. Default none.
    #[serde(default)]
    #[schemars(extend("x-names" = "label", "maxProperties" = MOST))]
    pub broadcasts: BTreeMap<String, RawBroadcast>,
    /// Routes that a new instance runs before it serves, in the order of their names, at most 1024. Default none.
    #[serde(default)]
    #[schemars(extend("x-names" = "label", "maxProperties" = MOST))]
    pub startups: BTreeMap<String, RawStartup>,
    /// How it is built from source. Default not at all.
    #[serde(default)]
    pub build: Option<RawBuild>,
    /// Values for the module; the operator may lay others over them. Default none.
    #[serde(default)]
    #[schemars(extend("x-free" = true))]
    pub config: Map<String, Value>,
    /// What it asks to do beyond its own affairs; the operator grants it in `fanfare.json`. Default nothing.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// What its instances may take, up to the operator's ceiling.
    #[serde(default)]
    pub limits: LimitsPatch,
    /// Whether instances stay between calls. Default `resident`.
    #[serde(default)]
    pub isolation: Isolation,
    /// How a changed generation is tried out before every worker serves it. Default not at all.
    #[serde(default)]
    pub rollout: Option<Rollout>,
}

/// An entry that calls can reach.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Route")]
pub struct RawRoute {
    /// One of get, post, put, patch and delete, in any case. Default `post`.
    #[serde(default = "post")]
    #[schemars(with = "MethodName")]
    pub method: String,
    /// The path below the module, at most 64 segments and 4096 bytes, without slashes at its ends; `{name}` takes a whole segment;
    /// empty is the module's root. Required.
    #[schemars(with = "RoutePath")]
    pub path: String,
    /// The name that the guest gets, 1 to 128 characters without spaces. Required.
    #[schemars(with = "Label")]
    pub handler: String,
    /// What stands before the handler: a name, or a list of names. Default nothing.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(schema_with = "one_or_many_schema::<Middleware>")]
    pub middlewares: Vec<Middleware>,
}

fn post() -> String {
    "post".to_owned()
}

/// Accepts one item in place of a list.
fn one_or_many<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

/// A list of names; with `x-one`, one name stands for a list of one.
fn one_or_many_schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let items = generator.subschema_for::<T>();
    json_schema!({ "type": ["string", "array"], "items": items, "x-one": true })
}

/// What stands before a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline, extend("x-unsupported" = unsupported::MIDDLEWARES))]
pub enum Middleware {
    /// Only calls from inside: 403 from outside.
    Inner,
    /// Only in the environments development and test: 403 elsewhere.
    Test,
}

/// Whether instances stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Isolation {
    /// One instance for each isolate, kept between calls.
    #[default]
    Resident,
    /// A new instance for each call. Not together with broadcasts.
    Fresh,
}

/// A route that runs in every worker.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Broadcast")]
#[expect(dead_code, reason = "the schema needs every field; the checks read some from the tree")]
pub struct RawBroadcast {
    /// The route: `[METHOD ]path`. Without a method post is meant, else the only one there is. Required.
    #[schemars(with = "RouteRef")]
    pub path: String,
}

/// A route that a new instance runs before it serves.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Startup")]
#[expect(dead_code, reason = "the schema needs every field; the checks read some from the tree")]
pub struct RawStartup {
    /// Where it runs. Default `all`.
    #[serde(default, rename = "type")]
    pub place: Place,
    /// The route: `[METHOD ]path`. Without a method post is meant, else the only one there is. Required.
    #[schemars(with = "RouteRef")]
    pub path: String,
}

/// Where a startup runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Place {
    /// In every isolate that holds the module.
    #[default]
    All,
    /// In one: the lead worker, `worker-0`.
    Worker,
}

/// A trial in some workers, which ends by itself: every worker takes the generation up, or those go back.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Rollout {
    /// How many workers try it, 1 to 1024. With no more workers than these there is no trial. Default 1.
    #[schemars(extend("minimum" = 1, "maximum" = 1024))]
    pub canary: usize,
    /// For how long, 10 ms to 24 h. Default `30s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "crate::document::units::Time", extend("minimum" = 10, "maximum" = 86_400_000))]
    pub r#for: Duration,
    /// How many of their calls may crash, time out or end with a status of 500 and above, 0 to 1000000. Default 0.
    #[schemars(extend("minimum" = 0, "maximum" = 1_000_000))]
    pub max_failures: u64,
}

impl Default for Rollout {
    fn default() -> Rollout {
        Rollout { canary: 1, r#for: Duration::from_secs(30), max_failures: 0 }
    }
}

/// How the module is built.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Build")]
pub struct RawBuild {
    /// For the shell, in this folder. The host never runs it; `fanfare build` and `fanfare dev` do. Required.
    #[schemars(with = "Command")]
    pub command: String,
    /// Files and folders whose change asks for a build. Default none.
    #[serde(default)]
    #[schemars(with = "Vec<FilePath>")]
    pub watch: Vec<String>,
}

/// The schema of the file, with our own keywords in it.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| schema::of::<RawManifest>(FILE_NAME));
    &SCHEMA
}
