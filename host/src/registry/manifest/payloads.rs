//! The payloads that a manifest declares: what routes take and give, and what the module expects of
//! routes that it calls.
//!
//! The host does not check payloads, so a schema costs a call nothing. It does not read the files
//! with schemas either, so that a rollback needs only the retained files of its generation.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::{JsonSchema, Schema as RawSchema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

use crate::call::RouteName;
use crate::config::formats;
use crate::document::json_schema::{Kind, Schema, Type};
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

/// A route that the module calls, or a broadcast that it emits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callee {
    pub name: CalleeName,
    /// What the module sends.
    pub takes: Option<PayloadSchema>,
    /// What the module expects as the reply.
    pub gives: Option<PayloadSchema>,
    /// The query that the module sends.
    pub query: Option<PayloadSchema>,
    pub origin: ValueOrigin,
}

/// What a key of `calls` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CalleeName {
    Route(RouteName),
    Broadcast {
        /// `None` means the caller's own.
        module: Option<String>,
        name: String,
    },
}

/// Begins the key of a broadcast. No method has this name.
const BROADCAST: &str = "broadcast ";

impl CalleeName {
    /// Parses `[METHOD ]module/path` or `broadcast module/name`.
    pub fn parse(text: &str) -> Result<CalleeName, String> {
        let Some(broadcast) = text.strip_prefix(BROADCAST) else {
            return RouteName::parse(text).map(CalleeName::Route).map_err(|error| error.to_string());
        };
        match broadcast.split_once('/') {
            Some((module, name)) if formats::check("label", name).is_ok() => {
                let module = (!module.is_empty()).then(|| module.to_owned());
                Ok(CalleeName::Broadcast { module, name: name.to_owned() })
            }
            _ => Err("must be `broadcast module/name`, or `broadcast /name` for one of this module".to_owned()),
        }
    }

    /// The module that it names. `None` means the caller's own.
    pub fn module(&self) -> Option<&str> {
        match self {
            CalleeName::Route(route) => route.module.as_deref(),
            CalleeName::Broadcast { module, .. } => module.as_deref(),
        }
    }
}

/// Writes the text that [`CalleeName::parse`] reads.
impl fmt::Display for CalleeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CalleeName::Route(route) => route.fmt(f),
            CalleeName::Broadcast { module, name } => {
                write!(f, "{BROADCAST}{}/{name}", module.as_deref().unwrap_or_default())
            }
        }
    }
}

/// A route that the module calls, or a broadcast that it emits, with the payloads as the module
/// knows them.
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
    /// The query that the module sends to a route: a JSON Schema, or the path of a `.json` file
    /// with one. Default none: it is not compared.
    #[serde(default)]
    #[schemars(schema_with = "payload_schema")]
    pub query: Option<Value>,
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

/// Whether a query can have the form of a schema: an object whose values are texts.
pub(super) fn is_query(schema: &Schema) -> bool {
    let Some(Type { kind: Kind::Object(object), nullable: false, .. }) = schema.resolved(&schema.root) else {
        return false;
    };
    let values = object.fields.iter().map(|field| &field.of).chain(object.others.as_deref());
    values.into_iter().all(|value| match schema.resolved(value).map(|value| &value.kind) {
        Some(Kind::Any(_) | Kind::Boolean | Kind::Integer | Kind::Number | Kind::Text) => true,
        Some(Kind::Choice(values)) => !values.iter().any(|value| value.is_array() || value.is_object()),
        _ => false,
    })
}
