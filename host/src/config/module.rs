//! The operator's section of one module: `modules.<name>`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::capabilities::Capabilities;
use super::limits::LimitsPatch;

/// What the operator says about one module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ModuleConfig {
    /// What it may do beyond its own affairs, of what it asks for in `capabilities`. Default nothing.
    pub grants: Capabilities,
    /// Values laid over the module's own `config`: objects merge, arrays and scalars replace, `null` removes.
    #[schemars(extend("x-free" = true))]
    pub config: Map<String, serde_json::Value>,
    /// Limits in place of those in `module.json`. They too stay below `limits.max`.
    pub limits: LimitsPatch,
    /// Values for calls that come under a subdomain, by its name.
    #[schemars(extend("x-names" = "subdomain"))]
    pub subdomains: BTreeMap<String, SubdomainConfig>,
}

/// What holds under one subdomain.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SubdomainConfig {
    /// Values laid over the module's and the operator's `config`.
    #[schemars(extend("x-free" = true))]
    pub config: Map<String, serde_json::Value>,
}
