//! The part of `*.test.json` about events, subscriptions, and messages to brokers outside.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::file::given;
use fanfare::tooling::config::formats::Label;

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
    #[serde(default, deserialize_with = "given")]
    #[schemars(extend("x-any" = true))]
    pub body: Option<Value>,
}

/// An event that the module must emit. All given keys must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EmittedExpect {
    /// The type. Default: any.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// The whole value. The order of keys does not matter. Default: any.
    #[serde(deserialize_with = "given")]
    #[schemars(extend("x-any" = true))]
    pub json: Option<Value>,
    /// A part of the value: objects may have further keys, at any depth. Default: any.
    #[serde(deserialize_with = "given")]
    #[schemars(extend("x-any" = true))]
    pub has: Option<Value>,
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
    #[serde(deserialize_with = "given")]
    #[schemars(extend("x-any" = true))]
    pub json: Option<Value>,
    /// A part of the message as JSON: objects may have further keys, at any depth. Default: any.
    #[serde(deserialize_with = "given")]
    #[schemars(extend("x-any" = true))]
    pub has: Option<Value>,
}
