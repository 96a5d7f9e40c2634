//! The payloads that a manifest declares: what routes take and give, and what the module expects of
//! routes that it calls.
//!
//! The host does not check payloads, so a schema costs a call nothing. It does not read the files
//! with schemas either, so that a rollback needs only the retained files of its generation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::{JsonSchema, Schema as RawSchema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

use crate::call::RouteName;
use crate::document::json_schema::Schema;
use crate::document::{Fault, Faults, KeyPath, ValueOrigin, source};

/// The JSON Schema of a payload, as the manifest declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadSchema {
    Inline(Arc<Schema>),
    /// A file inside the module's folder, and the place that names it.
    File {
        file: PathBuf,
        key: KeyPath,
        origin: ValueOrigin,
    },
}

/// A route that the module calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callee {
    pub route: RouteName,
    /// What the module sends.
    pub takes: Option<PayloadSchema>,
    /// What the module expects as the reply.
    pub gives: Option<PayloadSchema>,
    pub origin: ValueOrigin,
}

/// A route that the module calls, with its payloads as the module knows them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Callee")]
#[expect(dead_code, reason = "the schema needs every field; the checks read them from the tree")]
pub struct RawCallee {
    /// What the module sends: a JSON Schema, or the path of a `.json` file with one. Default none:
    /// it is not compared.
    #[serde(default)]
    #[schemars(schema_with = "payload_schema")]
    pub takes: Option<Value>,
    /// What the module expects as the reply: a JSON Schema, or the path of a `.json` file with one.
    /// Default none: it is not compared.
    #[serde(default)]
    #[schemars(schema_with = "payload_schema")]
    pub gives: Option<Value>,
}

/// The schema of a key whose value is a JSON Schema or the path of a file with one.
pub(super) fn payload_schema(_: &mut SchemaGenerator) -> RawSchema {
    json_schema!({ "type": ["object", "string"], "x-free": true, "x-format": "schema-file" })
}

impl PayloadSchema {
    /// Returns the schema. Reads its file, which must be inside `dir` after links are followed.
    pub fn read(&self, dir: &Path) -> Result<Arc<Schema>, Faults> {
        let (file, key, origin) = match self {
            PayloadSchema::Inline(schema) => return Ok(schema.clone()),
            PayloadSchema::File { file, key, origin } => (file, key, origin),
        };
        let fault = |message: String| Faults::from(Fault::new(origin, key, message));
        let shown = source::shown(file);
        let unreadable = |error| fault(format!("{shown} cannot be read: {error}; create it, or name another file"));
        let real = file.canonicalize().map_err(unreadable)?;
        if !real.starts_with(dir.canonicalize().map_err(unreadable)?) {
            return Err(fault(format!("{shown} is a link out of the module's folder: replace it with the file")));
        }
        let text = source::read(file)?;
        let (node, faults) = source::parse(&text, &shown)?;
        if faults.is_empty() { Schema::parse(&node, &KeyPath::default()).map(Arc::new) } else { Err(faults) }
    }
}
