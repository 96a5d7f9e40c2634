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

use super::model::Manifest;
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

impl Manifest {
    /// The faults of the files with schemas.
    pub fn schema_faults(&self) -> Faults {
        let of_routes = self.routes.iter().flat_map(|route| [&route.takes, &route.gives]);
        let of_calls = self.calls.iter().flat_map(|callee| [&callee.takes, &callee.gives]);
        let mut faults = Faults::default();
        for schema in of_routes.chain(of_calls).flatten() {
            if let Err(wrong) = schema.read(&self.dir) {
                faults.extend(wrong);
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::document::json_schema::Kind;

    /// The faults of a manifest whose only route takes `takes`, in a folder with `price.json`.
    fn faults(takes: &str) -> String {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("shop");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("price.json"), r#"{ "type": "number" }"#).unwrap();
        fs::write(dir.join("wrong.json"), "{\n  \"type\": \"nubmer\" }").unwrap();
        fs::write(dir.join("large.json"), format!("{{}}{}", " ".repeat(1 << 20))).unwrap();
        fs::write(temp.path().join("outside.json"), "{}").unwrap();
        std::os::unix::fs::symlink(temp.path().join("outside.json"), dir.join("link.json")).unwrap();
        let route = format!(r#"{{ "path": "buy", "handler": "b", "takes": {takes} }}"#);
        let text = format!(r#"{{ "component": "a.wasm", "routes": [{route}] }}"#);
        match Manifest::from_text(&dir, &text) {
            Ok(manifest) => manifest.schema_faults().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_schema_is_inline_or_in_a_file() {
        for takes in [r#"{ "type": "object" }"#, r#""price.json""#, r#""./price.json""#] {
            assert_eq!(faults(takes), "", "{takes}");
        }
    }

    #[test]
    fn a_wrong_schema_is_named_with_its_place() {
        for (takes, fault) in [
            (r#"{ "type": "nubmer" }"#, "module.json:1:89: routes[0].takes.type: must be one of"),
            (
                "5",
                "module.json:1:77: routes[0].takes: must be a JSON Schema, or the path of a .json file with one, found 5",
            ),
            (r#""price.txt""#, "routes[0].takes: must be a JSON Schema, or the path of a .json file with one"),
            (r#""../outside.json""#, "routes[0].takes: must stay inside the module's folder"),
            (r#""/etc/outside.json""#, "routes[0].takes: must be relative to the module's folder"),
            (r#""link.json""#, "link.json is a link out of the module's folder: replace it with the file"),
            (r#""none.json""#, "none.json cannot be read: No such file or directory"),
            (r#""none.json""#, "module.json:1:77: routes[0].takes: "),
            (r#""wrong.json""#, "wrong.json:2:11: type: must be one of"),
            (r#""large.json""#, "large.json:1:1: must be at most 1MiB"),
        ] {
            let faults = faults(takes);
            assert!(faults.contains(fault), "{takes}: {faults}");
        }
    }

    #[test]
    fn calls_name_routes_of_modules() {
        let calls = |calls: &str| {
            let text = format!(r#"{{ "component": "a.wasm", "calls": {{ {calls} }} }}"#);
            Manifest::from_text(Path::new("/modules/cart"), &text).map_err(|error| error.to_string())
        };
        let manifest = calls(r#""GET shop/{name}": { "gives": { "type": "null" } }"#).unwrap();
        let [callee] = manifest.calls.as_slice() else { panic!("no call") };
        assert_eq!((callee.route.to_string().as_str(), &callee.takes), ("GET shop/{name}", &None));
        let gives = callee.gives.as_ref().unwrap().read(&manifest.dir).unwrap();
        assert_eq!(gives.root.kind, Kind::Null);
        let faults = calls(r#"".a": {}, "get shop/a": {}, "shop/a": { "takse": {} }"#).unwrap_err();
        for fault in ["`.a` has no module name", "`get` is not a method", "did you mean \"takes\"?"] {
            assert!(faults.contains(fault), "{faults}");
        }
    }
}
