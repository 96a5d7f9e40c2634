//! `module.json` as authors write it. The doc comments are the descriptions in
//! `schema/module.schema.json`, which `FANFARE_BLESS=1 cargo test` writes anew.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::channels::RawChannel;
use super::filters::RawFilters;
use super::hooks::RawHooks;
use super::one_or_many::{one_or_many, one_or_many_schema};
use super::payloads::{RawCallee, payload_schema};
use super::schedules::RawSchedule;
use super::sockets::{self, RawSocket};
use super::streams::RawStream;
use super::subscriptions::RawSubscription;
use crate::config::formats::{Command, FilePath, Label, MethodName, MiddlewareName, RoutePath, RouteRef};
use crate::config::{Capabilities, LimitsPatch, schema};

/// The name of the manifest in the module's folder.
pub const FILE_NAME: &str = "module.json";

/// The most routes of a module, and the most broadcasts, startups, schedules, subscriptions,
/// streams and channels.
pub const MOST: usize = 1024;

/// The manifest of a Fanfare module.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "the schema needs every field; the checks read some from the tree")]
pub struct RawManifest {
    /// The path or URL of the schema of this file, for editors. Default none.
    #[serde(rename = "$schema", default)]
    pub schema: Option<String>,
    /// The component file, relative to this folder and inside it, for example in `target/`.
    /// Required.
    #[schemars(with = "FilePath")]
    pub component: String,
    /// The routes of the module, at most 1024. Default none.
    #[serde(default)]
    #[schemars(extend("maxItems" = MOST))]
    pub routes: Vec<RawRoute>,
    /// The broadcasts of the module, by name, at most 1024. Each runs a route in every worker when
    /// it is emitted. Default none.
    #[serde(default)]
    #[schemars(extend("x-names" = "label", "maxProperties" = MOST))]
    pub broadcasts: BTreeMap<String, RawBroadcast>,
    /// The startups of the module, by name, at most 1024. A new instance runs their routes, in the
    /// order of the names, before it serves. Default none.
    #[serde(default)]
    #[schemars(extend("x-names" = "label", "maxProperties" = MOST))]
    pub startups: BTreeMap<String, RawStartup>,
    /// The schedules of the module, by name, at most 1024. Each runs a route at certain times.
    /// Default none.
    #[serde(default)]
    #[schemars(extend("x-names" = "label", "maxProperties" = MOST))]
    pub schedules: BTreeMap<String, RawSchedule>,
    /// The subscriptions of the module, by name, at most 1024. Each brings messages to a route or
    /// to live streams. Default none.
    #[serde(default)]
    #[schemars(extend("x-names" = "label", "maxProperties" = MOST))]
    pub subscriptions: BTreeMap<String, RawSubscription>,
    /// The hooks of the module: routes that the host calls because something happened. Default
    /// none.
    #[serde(default)]
    pub hooks: RawHooks,
    /// The live streams of the module, at most 1024: a key, or `prefix/*` for all keys that begin
    /// with `prefix/`. A module owns its name and the keys that begin with `<name>/`; another key
    /// needs the grant `sse`. Default none.
    #[serde(default)]
    #[schemars(extend("x-names" = "stream-pattern", "maxProperties" = MOST))]
    pub streams: BTreeMap<String, RawStream>,
    /// The channels of the module, at most 1024: a name, or `prefix/*` for all channels that begin
    /// with `prefix/`. A module owns its name and the channels that begin with `<name>/`; another
    /// channel needs the grant `channels`. Default none.
    #[serde(default)]
    #[schemars(extend("x-names" = "channel-pattern", "maxProperties" = MOST))]
    pub channels: BTreeMap<String, RawChannel>,
    /// The WebSockets of the module, by the pattern of their path below `/api/<module>/`, at most
    /// 64. A pattern is written like the path of a route: `live/{room}`. Default none.
    #[serde(default)]
    #[schemars(extend("maxProperties" = sockets::MOST))]
    pub sockets: BTreeMap<String, RawSocket>,
    /// The filters of the messages that clients send to the module: routes that run before and
    /// after the route of the message. Default none.
    #[serde(default)]
    pub filters: RawFilters,
    /// The routes that the module calls, by `[METHOD ]module/path`, and the broadcasts that it
    /// emits, by `broadcast module/name`, at most 1024. `fanfare check --callers` compares each
    /// with the module that has the route or the broadcast. Default none.
    #[serde(default)]
    #[schemars(extend("maxProperties" = MOST))]
    pub calls: BTreeMap<String, RawCallee>,
    /// How to build the component from source. Default none.
    #[serde(default)]
    pub build: Option<RawBuild>,
    /// Values that the module reads through the interface `config`. The operator can override them
    /// in `fanfare.json`. Default none.
    #[serde(default)]
    #[schemars(extend("x-free" = true))]
    pub config: Map<String, Value>,
    /// The capabilities that the module needs beyond its own routes, broadcasts, log and config.
    /// The operator grants them in `fanfare.json`. Default none.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// The limits of each instance, up to the operator's ceiling `limits.max`. Each limit has a
    /// default.
    #[serde(default)]
    pub limits: LimitsPatch,
    /// Whether an instance stays between calls (`resident`) or serves one call (`fresh`). Default
    /// `resident`.
    #[serde(default)]
    pub isolation: Isolation,
    /// Where the module answers requests through `wasi:http` in addition to `/api/<module>/`: `/`
    /// for all paths that nothing else serves. `http.mount` of `fanfare.json` must name the module.
    /// Default none.
    #[serde(default)]
    #[schemars(with = "Mount")]
    pub mount: Option<Mount>,
    /// The canary that a changed generation must pass before every worker serves it. Default none:
    /// every worker switches at once.
    #[serde(default)]
    pub rollout: Option<Rollout>,
}

/// A route: a method and a path that calls can reach, and the handler that serves them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Route")]
pub struct RawRoute {
    /// The HTTP method: `get`, `post`, `put`, `patch` or `delete`, in any case. Default `post`.
    #[serde(default = "post")]
    #[schemars(with = "MethodName")]
    pub method: String,
    /// The path below `/api/<module>/`, without slashes at its ends, at most 64 segments and 4096
    /// bytes. `{name}` matches any one segment. The empty path is the root of the module. Required.
    #[schemars(with = "RoutePath")]
    pub path: String,
    /// The name of the handler, which the guest receives with each call: 1 to 128 characters
    /// without spaces. Required.
    #[schemars(with = "Label")]
    pub handler: String,
    /// The middlewares of the route: one, or a list. `inner` admits only calls from inside, and
    /// requests from outside get 403. `session` admits only messages of connected clients. `test`
    /// admits calls only in the environments `development` and `test`. Every other one is a route
    /// of a module, written as `[METHOD ]module/path[?query]`, or `/path` for an own route. At most
    /// 8 of them run before the handler, in this order and in the same worker. They have the
    /// middleware `inner` and no others, and those of other modules need the capability `rpc`.
    /// Default none.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(schema_with = "one_or_many_schema::<MiddlewareName>")]
    pub middlewares: Vec<String>,
    /// The payload that the handler accepts: a JSON Schema, or the path of a `.json` file with one,
    /// relative to this folder and inside it. `fanfare types` and `fanfare check --callers` use it;
    /// the host checks no payloads. Default none: any payload.
    #[serde(default)]
    #[schemars(schema_with = "payload_schema")]
    #[expect(dead_code, reason = "the checks read it from the tree, with its place")]
    pub takes: Option<Value>,
    /// The payload of the reply, like `takes`. Default none: any payload.
    #[serde(default)]
    #[schemars(schema_with = "payload_schema")]
    #[expect(dead_code, reason = "the checks read it from the tree, with its place")]
    pub gives: Option<Value>,
    /// The query that the handler reads, like `takes`: an object with strings, numbers and
    /// booleans. Default none: the functions of `fanfare types` send no query.
    #[serde(default)]
    #[schemars(schema_with = "payload_schema")]
    #[expect(dead_code, reason = "the checks read it from the tree, with its place")]
    pub query: Option<Value>,
}

fn post() -> String {
    "post".to_owned()
}

/// A middleware of the host, which decides who reaches the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Middleware {
    /// Admits only calls from inside. Requests from outside get 403.
    Inner,
    /// Admits only messages of connected clients. Other requests get 403.
    Session,
    /// Admits calls only in the environments `development` and `test`. Elsewhere requests get 403.
    Test,
    /// Admits scripts of the origins in `http.cors`. Needed only with `"routes": "named"` there.
    Cors,
}

impl Middleware {
    /// The middleware of this name. `None` for a route.
    pub fn of(name: &str) -> Option<Middleware> {
        match name {
            "inner" => Some(Middleware::Inner),
            "session" => Some(Middleware::Session),
            "test" => Some(Middleware::Test),
            "cors" => Some(Middleware::Cors),
            _ => None,
        }
    }
}

/// Whether instances stay between calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Isolation {
    /// One instance per isolate, which stays between calls.
    #[default]
    Resident,
    /// A new instance for each call. Not possible together with broadcasts.
    Fresh,
}

/// Where a module answers requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Mount {
    /// On all paths.
    #[serde(rename = "/")]
    Root,
}

/// A broadcast: a route that runs in every worker.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Broadcast")]
#[expect(dead_code, reason = "the schema needs every field; the checks read some from the tree")]
pub struct RawBroadcast {
    /// The route, as `[METHOD ]path`. Without a method it is the `post` route with that path, or
    /// else the only route with that path. Required.
    #[schemars(with = "RouteRef")]
    pub path: String,
    /// How it reaches the workers: `direct`, at most once, or `durable`, through a stream of the
    /// NATS servers of `cluster.nats`, so that a node that is away receives it later. Default
    /// `direct`.
    #[serde(default)]
    pub delivery: Delivery,
    /// How often a worker runs a durable broadcast that fails, before it is parked, 1 to 100.
    /// Default 5.
    #[serde(default)]
    #[schemars(with = "u32", extend("minimum" = 1, "maximum" = 100))]
    pub attempts: Option<u32>,
    /// The pause after the first failure of a durable broadcast, 10 ms to 1 m. It doubles with each
    /// further failure, up to 1 m. Default `1s`.
    #[serde(default, with = "crate::document::units::optional_duration")]
    #[schemars(with = "crate::document::units::Time", extend("minimum" = 10, "maximum" = 60_000))]
    pub backoff: Option<Duration>,
}

/// How a broadcast reaches the workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum Delivery {
    /// At most once, at once.
    #[default]
    Direct,
    /// Through a stream that keeps it.
    Durable,
}

/// A startup: a route that a new instance runs before it serves.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Startup")]
#[expect(dead_code, reason = "the schema needs every field; the checks read some from the tree")]
pub struct RawStartup {
    /// The isolates that run it: `all`, or `worker` for the lead worker only. Default `all`.
    #[serde(default, rename = "type")]
    pub place: StartupPlace,
    /// The route, as `[METHOD ]path`. Without a method it is the `post` route with that path, or
    /// else the only route with that path. Required.
    #[schemars(with = "RouteRef")]
    pub path: String,
}

/// The isolates that run a startup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum StartupPlace {
    /// Every isolate that has the module installed.
    #[default]
    All,
    /// Only the lead worker, `worker-0`.
    Worker,
}

/// A canary: a changed generation first serves in some workers. Then either every worker switches
/// to it, or those workers go back to the previous one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(inline)]
pub struct Rollout {
    /// The number of workers in the canary, 1 to 1024. A node with no more workers than this runs
    /// no canary. Default 1.
    #[schemars(extend("minimum" = 1, "maximum" = 1024))]
    pub canary: usize,
    /// The duration of the canary, 10 ms to 24 h. Default `30s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "crate::document::units::Time", extend("minimum" = 10, "maximum" = 86_400_000))]
    pub r#for: Duration,
    /// The number of calls in the canary that may crash, time out or end with a status of 500 or
    /// above, 0 to 1000000. One more ends the canary, and the previous generation serves again.
    /// Default 0.
    #[schemars(extend("minimum" = 0, "maximum" = 1_000_000))]
    pub max_failures: u64,
}

impl Default for Rollout {
    fn default() -> Rollout {
        Rollout { canary: 1, r#for: Duration::from_secs(30), max_failures: 0 }
    }
}

/// How to build the component from source.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Build")]
pub struct RawBuild {
    /// The shell command, which runs in this folder. `fanfare build` and `fanfare dev` run it; the
    /// host never does. Required.
    #[schemars(with = "Command")]
    pub command: String,
    /// The files and folders whose change makes `fanfare dev` build again, relative to this folder
    /// and inside it. Default none.
    #[serde(default)]
    #[schemars(with = "Vec<FilePath>")]
    pub watch: Vec<String>,
}

/// Returns the schema of the file, including the keywords `x-..` that only this host reads.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| schema::of::<RawManifest>(FILE_NAME));
    &SCHEMA
}
