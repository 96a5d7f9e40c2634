//! The operator's section of one module: `modules.<name>`.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::capabilities::Capabilities;
use super::formats::{FilePath, VariableName};
use super::limits::LimitsPatch;
use super::schedules::ScheduleConfig;
use super::secret::Secret;

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
    /// The values of variables that the module reads (the capability `env`), by the variable's
    /// name. A variable without a value here has the value of the host's own variable. Default
    /// none.
    #[schemars(extend("x-names" = "variable"))]
    pub env: BTreeMap<String, String>,
    /// Where the secrets of the module are (the capability `secrets`), by the secret's name.
    /// Default none.
    #[schemars(extend("x-names" = "secret"))]
    pub secrets: BTreeMap<String, SecretConfig>,
    /// Where the folders of the module are (the capability `dirs`), by the path that it sees. A
    /// folder without an entry is the host's own, `dirs/<module>` and that path in `stateDir`.
    /// Default none.
    #[schemars(extend("x-names" = "guest-path"))]
    pub dirs: BTreeMap<String, DirConfig>,
    /// Settings for calls under a subdomain, by the subdomain's name. Default none.
    #[schemars(extend("x-names" = "subdomain"))]
    pub subdomains: BTreeMap<String, SubdomainConfig>,
}

/// Where a folder of a module is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DirConfig {
    /// The folder on the host, relative to the folder of this file. It must exist.
    #[schemars(with = "FilePath")]
    pub path: String,
}

/// Where a secret is: in a file or in a variable of the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SecretConfig {
    /// The file that contains the secret, relative to the folder of this file. A line break at its
    /// end does not count. Default none.
    #[schemars(with = "Option<FilePath>")]
    pub file: Option<String>,
    /// The variable of the host whose value is the secret. Not together with `file`. Default none.
    #[schemars(with = "Option<VariableName>")]
    pub variable: Option<String>,
    /// A value that stands for the secret where the real one must not be used.
    #[serde(skip)]
    stand_in: Option<String>,
}

impl SecretConfig {
    /// Reads the secret. Blocks while it reads a file. The error contains no part of the secret.
    pub fn read(&self, root: &Path, variables: &BTreeMap<String, String>) -> Result<String, String> {
        if let Some(value) = &self.stand_in {
            return Ok(value.clone());
        }
        let secret = Secret::new(self.file.as_deref(), self.variable.as_deref(), root, variables);
        let value = secret.read_lines()?.ok_or("set `file` or `variable`")?;
        Ok(value.strip_suffix('\n').map_or(value.as_str(), |line| line.strip_suffix('\r').unwrap_or(line)).to_owned())
    }
}

impl ModuleConfig {
    /// Grants everything, for tests and checks of a module: instead of the operator's secrets the
    /// module gets texts that stand for them, and its folders are the host's own.
    #[doc(hidden)]
    pub fn grant_for_test(&mut self, capabilities: &Capabilities) {
        self.grants = capabilities.clone();
        self.dirs.clear();
        let stand_in = |name: &String| {
            let value = SecretConfig { stand_in: Some(format!("test-{name}")), ..SecretConfig::default() };
            (name.clone(), value)
        };
        self.secrets = capabilities.secrets.0.iter().map(stand_in).collect();
    }
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
