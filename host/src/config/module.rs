//! The operator's section of one module: `modules.<name>`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::capabilities::Capabilities;
use super::limits::LimitsPatch;
use super::schedules::ScheduleConfig;

/// The operator's settings for one module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ModuleConfig {
    /// The capabilities that the operator grants, out of those that `module.json` requests in
    /// `capabilities`. Default none.
    pub grants: Capabilities,
    /// Values that override the module's own `config`: objects merge, arrays and scalars replace,
    /// `null` removes. Default none.
    #[schemars(extend("x-free" = true))]
    pub config: Map<String, serde_json::Value>,
    /// Limits that replace those in `module.json`. They must not exceed `limits.max`.
    pub limits: LimitsPatch,
    /// Settings of the module's schedules, by the schedule's name, that replace those in
    /// `module.json`. Default none.
    #[schemars(extend("x-names" = "label"))]
    pub schedules: BTreeMap<String, ScheduleConfig>,
    /// Settings for calls under a subdomain, by the subdomain's name. Default none.
    #[schemars(extend("x-names" = "subdomain"))]
    pub subdomains: BTreeMap<String, SubdomainConfig>,
}

/// Settings for calls under one subdomain.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SubdomainConfig {
    /// Values that override the module's and the operator's `config`: objects merge, arrays and
    /// scalars replace, `null` removes. Default none.
    #[schemars(extend("x-free" = true))]
    pub config: Map<String, serde_json::Value>,
    /// The schedules that also run for this subdomain, by the schedule's name. Their settings
    /// replace those of the module and of the operator. Default none.
    #[schemars(extend("x-names" = "label"))]
    pub schedules: BTreeMap<String, ScheduleConfig>,
}
