//! Checks the payloads that a manifest declares.

use std::sync::Arc;

use super::Check;
use crate::config::formats;
use crate::document::json_schema::Schema;
use crate::document::tree::{Node, Path as KeyPath, Value};
use crate::document::{Fault, Faults};
use crate::registry::manifest::model::Manifest;
use crate::registry::manifest::path;
use crate::registry::manifest::payloads::{Callee, CalleeName, PayloadSchema, is_query};

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

    /// Returns what the module calls.
    pub(super) fn calls(&mut self) -> Vec<Callee> {
        let mut calls = Vec::new();
        for member in self.members("calls") {
            let path = KeyPath::of(&["calls", &member.name]);
            let [takes, gives, query] = ["takes", "gives", "query"].map(|key| self.payload(&member.node, &path, key));
            let name = CalleeName::parse(&member.name);
            if let (Ok(CalleeName::Broadcast { .. }), Some(node)) = (&name, member.node.get("query")) {
                self.fault(&node.origin, &path.key("query"), "must be absent: a broadcast has no query".to_owned());
            }
            match name {
                Ok(name) => calls.push(Callee { name, takes, gives, query, origin: member.origin.clone() }),
                Err(rule) => self.fault(&member.origin, &path, rule),
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
        let of_routes = self
            .routes
            .iter()
            .enumerate()
            .filter_map(|(index, route)| Some((KeyPath::of(&["routes"]).index(index), route.query.as_ref()?)));
        let of_calls = self
            .calls
            .iter()
            .filter_map(|callee| Some((KeyPath::of(&["calls", &callee.name.to_string()]), callee.query.as_ref()?)));
        for (place, query) in of_routes.chain(of_calls) {
            let key = place.key("query");
            match query.read(&self.dir) {
                Ok(schema) if is_query(&schema) => {}
                Ok(_) => {
                    let rule = "must be an object whose values are strings, numbers or booleans";
                    faults.push(Fault::new(&self.source.nearest(&key).origin, key, rule));
                }
                Err(wrong) => faults.extend(wrong),
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
        fs::write(dir.join("twice.json"), r#"{ "type": "number", "type": "string" }"#).unwrap();
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
            (r#""twice.json""#, "twice.json:1:"),
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
        assert_eq!((callee.name.to_string().as_str(), &callee.takes), ("GET shop/{name}", &None));
        let gives = callee.gives.as_ref().unwrap().read(&manifest.dir).unwrap();
        assert_eq!(gives.root.kind, Kind::Null);
        let faults = calls(r#"".a": {}, "get shop/a": {}, "shop/a": { "takse": {} }"#).unwrap_err();
        for fault in ["`.a` has no module name", "`get` is not a method", "did you mean \"takes\"?"] {
            assert!(faults.contains(fault), "{faults}");
        }
    }

    #[test]
    fn calls_name_broadcasts_of_modules() {
        let calls = |calls: &str| {
            let text = format!(r#"{{ "component": "a.wasm", "calls": {{ {calls} }} }}"#);
            Manifest::from_text(Path::new("/modules/cart"), &text).map_err(|error| error.to_string())
        };
        let manifest = calls(r#""broadcast shop/rate/new": {}, "broadcast /own": {}"#).unwrap();
        let names: Vec<_> = manifest.calls.iter().map(|callee| callee.name.clone()).collect();
        let broadcast = |module: Option<&str>, name: &str| CalleeName::Broadcast {
            module: module.map(str::to_owned),
            name: name.to_owned(),
        };
        assert_eq!(names, [broadcast(Some("shop"), "rate/new"), broadcast(None, "own")]);
        let texts: Vec<_> = names.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["broadcast shop/rate/new", "broadcast /own"]);
        for wrong in ["broadcast shop", "broadcast shop/", "broadcast shop/a b"] {
            let faults = calls(&format!(r#""{wrong}": {{}}"#)).unwrap_err();
            assert!(faults.contains("must be `broadcast module/name`"), "{wrong}: {faults}");
        }
        let faults = calls(r#""broadcast shop/a": { "query": { "type": "object" } }"#).unwrap_err();
        assert!(faults.contains("[\"broadcast shop/a\"].query: must be absent: a broadcast has no query"), "{faults}");
    }

    #[test]
    fn a_query_is_an_object_with_plain_values() {
        let faults = |query: &str| {
            let call = format!(r#""calls": {{ "shop/a": {{ "query": {query} }} }}"#);
            let route = format!(r#""routes": [{{ "path": "b", "handler": "b", "query": {query} }}]"#);
            let text = format!(r#"{{ "component": "a.wasm", {call}, {route} }}"#);
            Manifest::from_text(Path::new("/modules/cart"), &text).unwrap().schema_faults().to_string()
        };
        let of = |value: &str| format!(r#"{{ "type": "object", "properties": {{ "x": {value} }} }}"#);
        for value in [r#"{ "type": "string" }"#, r#"{ "type": ["integer", "null"] }"#, r#"{ "enum": ["a", 1] }"#, "{}"]
        {
            assert_eq!(faults(&of(value)), "", "{value}");
        }
        let named = |of: &str| {
            let properties = r##""properties": { "x": { "$ref": "#/$defs/x" } }"##;
            faults(&format!(r#"{{ "type": "object", {properties}, "$defs": {{ "x": {{ "type": "{of}" }} }} }}"#))
        };
        assert!(named("string").is_empty() && !named("array").is_empty());
        let (list, object) = (r#"{ "type": "array" }"#, r#"{ "type": "object" }"#);
        for query in [list, r#"{ "type": "string" }"#, &of(list), &of(object), r#"{ "type": ["object", "null"] }"#] {
            let faults = faults(query);
            for place in ["routes[0].query", "calls.shop/a.query"] {
                let fault = format!("{place}: must be an object whose values are strings, numbers or booleans");
                assert!(faults.contains(&fault), "{query}: {faults}");
            }
        }
        assert!(!faults(r#"{ "type": "object", "additionalProperties": { "type": "array" } }"#).is_empty());
    }
}
