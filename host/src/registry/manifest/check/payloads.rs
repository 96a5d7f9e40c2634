//! Checks the payloads that a manifest declares.

use std::sync::Arc;

use super::Check;
use crate::call::RouteName;
use crate::config::formats;
use crate::document::Faults;
use crate::document::json_schema::Schema;
use crate::document::tree::{Node, Path as KeyPath, Value};
use crate::registry::manifest::model::Manifest;
use crate::registry::manifest::path;
use crate::registry::manifest::payloads::{Callee, PayloadSchema};

impl Check<'_> {
    /// Returns the schema under a key of the entry at `path`.
    pub(super) fn payload(&mut self, entry: &Node, path: &KeyPath, key: &str) -> Option<PayloadSchema> {
        let node = entry.get(key)?;
        let path = path.key(key);
        match &node.value {
            Value::Object(_) => match Schema::parse(node, &path) {
                Ok(schema) => Some(PayloadSchema::Inline(Arc::new(schema))),
                Err(faults) => {
                    self.faults.extend(faults);
                    None
                }
            },
            Value::Text(text) if formats::check("schema-file", text).is_ok() => match path::inside(self.dir, text) {
                Ok(file) => Some(PayloadSchema::File { file, key: path, origin: node.origin.clone() }),
                Err(rule) => {
                    self.fault(&node.origin, &path, rule.to_string());
                    None
                }
            },
            // The schema of the manifest reports other values.
            _ => None,
        }
    }

    /// Returns the routes that the module calls.
    pub(super) fn calls(&mut self) -> Vec<Callee> {
        let mut calls = Vec::new();
        for member in self.members("calls") {
            let path = KeyPath::of(&["calls", &member.name]);
            let (takes, gives) =
                (self.payload(&member.node, &path, "takes"), self.payload(&member.node, &path, "gives"));
            match RouteName::parse(&member.name) {
                Ok(route) => calls.push(Callee { route, takes, gives, origin: member.origin.clone() }),
                Err(error) => self.fault(&member.origin, &path, error.to_string()),
            }
        }
        calls
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
    use std::path::Path;

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
                "module.json:1:79: routes[0].takes: must be a JSON Schema, or the path of a .json file with one, found 5",
            ),
            (r#""price.txt""#, "routes[0].takes: must be a JSON Schema, or the path of a .json file with one"),
            (r#""../outside.json""#, "routes[0].takes: must stay inside the module's folder"),
            (r#""/etc/outside.json""#, "routes[0].takes: must be relative to the module's folder"),
            (r#""link.json""#, "link.json is a link out of the module's folder: replace it with the file"),
            (r#""none.json""#, "none.json cannot be read: No such file or directory"),
            (r#""none.json""#, "module.json:1:79: routes[0].takes: "),
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
