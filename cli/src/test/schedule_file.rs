//! The part of `*.test.json` about schedules.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::file::given;
use fanfare::tooling::config::formats::Label;

/// A schedule to run once, whether it is due or not. Schedules do not run by themselves in a test.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schedule {
    /// The name of the schedule in `module.json`. Required.
    #[schemars(with = "Label")]
    pub name: String,
    /// The payload. A string is sent unchanged, anything else as JSON. Default: the schedule's
    /// `data`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(extend("x-any" = true))]
    pub body: Option<Value>,
}
