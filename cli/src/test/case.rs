//! The cases of `*.test.json`: their steps and expectations, as they are written.

use std::collections::BTreeMap;

use http::Method;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::expected::Expect;
use super::given::Given;
use fanfare::ValueOrigin;
use fanfare::tooling::config::formats::{self, Label, MethodName};

/// One step, which is a call, a broadcast, a schedule, a stream, an event, a message for a
/// subscription, a client or a message of a client, and the expected answer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// What the case shows, for people. Required.
    pub name: String,
    /// A call of a route. A case has exactly one step.
    #[serde(default)]
    pub call: Option<Call>,
    /// A broadcast to every worker. A case has exactly one step.
    #[serde(default)]
    pub broadcast: Option<Broadcast>,
    /// A schedule to run. A case has exactly one step.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// A live stream to open. A case has exactly one step.
    #[serde(default)]
    pub stream: Option<Stream>,
    /// An event to emit, as a process outside does. The case does not wait for the handlers of
    /// subscriptions. A case has exactly one step.
    #[serde(default)]
    pub emit: Option<Emit>,
    /// A message for a subscription. The answer has a status and a code, but no body. A case has
    /// exactly one step.
    #[serde(default)]
    pub receive: Option<Receive>,
    /// A client to connect. The answer is that to its request, with the status 101. A case has
    /// exactly one step.
    #[serde(default)]
    pub client: Option<Client>,
    /// A message of a connected client. Only an event has an answer. A case has exactly one step.
    #[serde(default)]
    pub message: Option<Message>,
    /// The expected answer. For a broadcast or a schedule of the type `all`, that of every worker.
    /// Default: a status below 400.
    #[serde(default)]
    pub expect: Expect,
    #[serde(skip)]
    pub place: ValueOrigin,
}

/// A call of a route.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Call {
    /// One of get, post, put, patch and delete in any case. Default: post or the route's only one.
    #[serde(default)]
    #[schemars(with = "Option<MethodName>")]
    pub method: Option<String>,
    /// The path below the module, with its query. An empty path is the module's root. Required.
    pub path: String,
    /// Headers of the request. Only for calls from `http`. Default none.
    #[serde(default)]
    #[schemars(extend("x-names" = "header"))]
    pub headers: BTreeMap<String, String>,
    /// The body. A string is sent unchanged as `text/plain`, anything else as JSON. Default none.
    #[serde(default)]
    pub body: Given,
    /// The caller. Default `http`.
    #[serde(default)]
    pub from: From,
}

/// The caller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum From {
    /// A client, which cannot reach `inner` routes.
    #[default]
    Http,
    /// Another module or the operator, which can reach every route.
    Inside,
}

/// A broadcast of the module.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Broadcast {
    /// The name of the broadcast in `module.json`. Required.
    #[schemars(with = "Label")]
    pub name: String,
    /// The payload. A string is sent unchanged, anything else as JSON. Default none.
    #[serde(default)]
    pub body: Given,
}

/// A schedule to run once, whether it is due or not. Schedules do not run by themselves in a test.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schedule {
    /// The name of the schedule in `module.json`. Required.
    #[schemars(with = "Label")]
    pub name: String,
    /// The payload. A string is sent unchanged, anything else as JSON. Default: the schedule's
    /// `data`.
    #[serde(default)]
    pub body: Given,
}

/// A stream that the test opens as a client does. It stays open for the next cases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Stream {
    /// The key. Default none: the stream of the clients without a key.
    pub key: Option<String>,
    /// The name of the stream in `expect.events`, `resume` and `close`. Default: the key.
    #[serde(rename = "as")]
    pub name: Option<String>,
    /// The id after which it resumes, as `Last-Event-ID`. Default none.
    pub last_event_id: Option<String>,
    /// Headers of the request. Default none.
    #[schemars(extend("x-names" = "header"))]
    pub headers: BTreeMap<String, String>,
    /// Opens the stream of this name again, with its key and headers, after the last id that it
    /// received. Default none.
    pub resume: Option<String>,
    /// Closes the stream of this name, as a client that leaves. `resume` can open it again. Default
    /// none.
    pub close: Option<String>,
}

/// An event that the test emits, as a process outside does.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Emit {
    /// The type. Default `message`.
    #[serde(rename = "type", default)]
    pub event_type: Option<String>,
    /// The value. Default `null`.
    #[serde(default)]
    #[schemars(extend("x-any" = true))]
    pub value: Value,
}

/// A message for a subscription of the module. The case waits until its handler has ended.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Receive {
    /// The name of the subscription in `module.json`. Required.
    #[schemars(with = "Label")]
    pub name: String,
    /// The topic: the type of the event, or the channel or stream of Redis. Required.
    pub topic: String,
    /// The position of the event, or the id of the entry in its Redis stream. Default none.
    #[serde(default)]
    pub id: Option<String>,
    /// The message. A string is sent unchanged, anything else as JSON. Default none.
    #[serde(default)]
    pub body: Given,
}

/// A client that the test connects, or disconnects. It stays connected for the next cases.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Client {
    /// The path of the socket below `/api/<module>/`, with its query: `live/7`. Default none.
    pub socket: Option<String>,
    /// Connects a client of SocketCluster instead, which speaks this version of the protocol.
    /// Default none.
    #[schemars(extend("minimum" = 1_u64, "maximum" = 2_u64))]
    pub protocol: Option<u8>,
    /// The data of its handshake, for the hook `connect`. Only with `protocol`. Default none.
    pub data: Given,
    /// The name of the client in `message`, `close`, `expect.received` and `expect.closed`.
    /// Default: the path of the socket. Required with `protocol`.
    #[serde(rename = "as")]
    pub name: Option<String>,
    /// The sub-protocols that it offers. Default none.
    pub protocols: Vec<String>,
    /// Headers of the request. Default none.
    #[schemars(extend("x-names" = "header"))]
    pub headers: BTreeMap<String, String>,
    /// Disconnects the client of this name. Default none.
    pub close: Option<String>,
}

/// A message of a client that is connected. Without `event`, the case does not wait for its
/// handler: expect the messages that arrive, with `received`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Message {
    /// The name of the client. Required.
    pub client: String,
    /// The name of the event that a client of SocketCluster sends. The case waits for its answer.
    /// Default none: a message without a name.
    #[serde(default)]
    pub event: Option<String>,
    /// The message, or the data of the event. A string is sent unchanged, anything else as JSON.
    /// Default: an empty text, or no data.
    #[serde(default)]
    pub body: Given,
}

impl Client {
    /// The name of the client in later cases.
    pub fn name(&self) -> &str {
        [&self.close, &self.name, &self.socket].into_iter().flatten().next().map(String::as_str).unwrap_or_default()
    }
}

impl Stream {
    /// The name of the stream in later cases.
    pub fn name(&self) -> &str {
        let names = [&self.resume, &self.close, &self.name, &self.key];
        names.into_iter().flatten().next().map(String::as_str).unwrap_or_default()
    }
}

impl Call {
    pub fn method(&self) -> Option<Method> {
        self.method.as_deref().and_then(formats::method)
    }
}

/// The body as it is sent.
pub fn body(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
