//! The expectations in `*.test.json`, as they are written. `expect.rs` compares them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::given::Given;

/// The expected answer. All given keys must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Expect {
    /// The status, 100 to 599. Default: below 400, unless `code` is given.
    #[schemars(extend("minimum" = 100_u64, "maximum" = 599_u64))]
    pub status: Option<u16>,
    /// The whole body as JSON. The order of keys does not matter.
    pub json: Given,
    /// A part of the body as JSON: objects may have further keys, at any depth.
    pub has: Given,
    /// The whole body as text.
    pub text: Option<String>,
    /// A part of the body as text.
    pub contains: Option<String>,
    /// Headers of the answer. Each must be present with this value.
    #[schemars(extend("x-names" = "header"))]
    pub headers: BTreeMap<String, String>,
    /// Why the call failed: the problem document's `code`, such as `timeout` or a failure's name.
    pub code: Option<String>,
    /// The next events of streams that are open, by the name of the stream. Each must arrive within
    /// ten seconds, in this order, with no other one between them.
    pub events: BTreeMap<String, Vec<EventExpect>>,
    /// The names of streams that the host must have ended, after the events in `events`.
    pub ended: Vec<String>,
    /// The next messages of clients that are connected, by the name of the client. Each must arrive
    /// within ten seconds, in this order, with no other one between them.
    pub received: BTreeMap<String, Vec<MessageExpect>>,
    /// The close codes of clients whose connections the host must have closed, after the messages
    /// in `received`.
    pub closed: BTreeMap<String, u16>,
    /// The first events that the module emits to the event service in this case. Each must arrive
    /// within ten seconds, in this order, with no other one between them.
    pub emitted: Vec<EmittedExpect>,
    /// The first messages that the module publishes to brokers outside in this case, as in
    /// `emitted`. The test records them and sends none.
    pub published: Vec<PublishedExpect>,
}

/// An event that must arrive. All given keys must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EventExpect {
    /// The type. Default: any.
    pub event: Option<String>,
    /// The id, in which `*` stands for any text. Default: any, or none.
    pub id: Option<String>,
    /// The whole data as text. Default: any.
    pub data: Option<String>,
    /// A part of the data as text. Default: any.
    pub contains: Option<String>,
    /// The whole data as JSON. The order of keys does not matter. Default: any.
    pub json: Given,
    /// A part of the data as JSON: objects may have further keys, at any depth. Default: any.
    pub has: Given,
}

/// A message that a client must receive. All given keys must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MessageExpect {
    /// The whole message as text. Default: any.
    pub text: Option<String>,
    /// A part of the message as text. Default: any.
    pub contains: Option<String>,
    /// The whole message as JSON. The order of keys does not matter. Default: any.
    pub json: Given,
    /// A part of the message as JSON: objects may have further keys, at any depth. Default: any.
    pub has: Given,
}

/// An event that the module must emit. All given keys must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EmittedExpect {
    /// The type. Default: any.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// The whole value. The order of keys does not matter. Default: any.
    pub json: Given,
    /// A part of the value: objects may have further keys, at any depth. Default: any.
    pub has: Given,
}

/// A message that the module must publish to a broker outside. All given keys must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PublishedExpect {
    /// The connection: `redis`, or `redis.<name>`. Default: any.
    pub connection: Option<String>,
    /// The topic. Default: any.
    pub topic: Option<String>,
    /// The whole message as text. Default: any.
    pub text: Option<String>,
    /// A part of the message as text. Default: any.
    pub contains: Option<String>,
    /// The whole message as JSON. The order of keys does not matter. Default: any.
    pub json: Given,
    /// A part of the message as JSON: objects may have further keys, at any depth. Default: any.
    pub has: Given,
}
