//! Environment variables for settings: `FANFARE_HTTP_LISTEN` sets `http.listen`.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use serde_json::Value as Json;

use super::schema;
use crate::document::shape::nearest;
use crate::document::tree::{Member, Node, Value};
use crate::document::{Fault, ValueOrigin};

/// The prefix of every variable of Fanfare.
pub const PREFIX: &str = "FANFARE_";

/// Variables that set no key. They choose the file and the environment, replace flags, name folders
/// of compilers, or control tests.
pub const OTHERS: &[&str] = &[
    "FANFARE_BLESS",
    "FANFARE_C_TOOLS",
    "FANFARE_CALLERS",
    "FANFARE_CHECK",
    "FANFARE_COLOR",
    "FANFARE_COMPONENT",
    "FANFARE_CONFIG",
    "FANFARE_DIR",
    "FANFARE_ENV",
    "FANFARE_FOLLOW",
    "FANFARE_FORCE",
    "FANFARE_FROM",
    "FANFARE_GATHER",
    "FANFARE_GO_TOOLS",
    "FANFARE_IMMEDIATE",
    "FANFARE_JSON",
    "FANFARE_LANG",
    "FANFARE_LOG",
    "FANFARE_LOG_FORMAT",
    "FANFARE_METHOD",
    "FANFARE_MODULE",
    "FANFARE_NATS_MONITOR",
    "FANFARE_NO_WAIT",
    "FANFARE_SCHEMA",
    "FANFARE_SERVICE",
    "FANFARE_STOP_ON_EOF",
    "FANFARE_STRICT",
    "FANFARE_SUBDOMAIN",
    "FANFARE_TAIL",
    "FANFARE_TARGET",
    "FANFARE_TEMPLATE",
    "FANFARE_TO",
    "FANFARE_TOKEN",
    "FANFARE_YES",
];

/// A key that a variable can set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub path: Vec<String>,
    /// The JSON types that the key accepts.
    types: Vec<String>,
}

/// Every variable that sets a key. Only scalars in fixed sections have one; arrays and maps have
/// none.
pub fn known() -> &'static BTreeMap<String, Key> {
    static KNOWN: LazyLock<BTreeMap<String, Key>> = LazyLock::new(|| {
        let mut known = BTreeMap::new();
        collect(schema::config(), &mut Vec::new(), &mut known);
        known
    });
    &KNOWN
}

fn collect(schema: &Json, path: &mut Vec<String>, known: &mut BTreeMap<String, Key>) {
    let target = schema.get("$ref").and_then(Json::as_str).and_then(|target| target.strip_prefix('#'));
    let schema = target.and_then(|target| schema::config().pointer(target)).unwrap_or(schema);
    for (name, property) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        if matches!(name.as_str(), "$schema" | "environments") {
            continue;
        }
        path.push(name.clone());
        let types: Vec<String> = match property.get("type") {
            Some(Json::Array(types)) => types.iter().filter_map(Json::as_str).map(str::to_owned).collect(),
            Some(Json::String(name)) => vec![name.clone()],
            _ => Vec::new(),
        };
        if types.iter().any(|name| matches!(name.as_str(), "string" | "integer" | "boolean")) {
            known.insert(variable(path), Key { path: path.clone(), types });
        } else {
            collect(property, path, known);
        }
        path.pop();
    }
}

/// Returns the variable for a key: `FANFARE_HTTP_MAX_BODY` for `http.maxBody`.
pub fn variable(path: &[String]) -> String {
    let mut name = String::from("FANFARE");
    for key in path {
        name.push('_');
        for c in key.chars() {
            if c.is_ascii_uppercase() {
                name.push('_');
            }
            name.push(c.to_ascii_uppercase());
        }
    }
    name
}

/// Returns the settings that the variables make, and a warning for each variable that matches no
/// setting. An empty variable counts as not set.
pub fn read(variables: &BTreeMap<String, String>) -> (Node, Vec<Fault>) {
    let mut tree = Node::object(&ValueOrigin::Default);
    let mut warnings = Vec::new();
    for (name, text) in variables.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        if OTHERS.contains(&name.as_str()) || name.starts_with("FANFARE_TEST_") {
            continue;
        }
        let origin = ValueOrigin::Variable(Arc::from(name.as_str()));
        match known().get(name) {
            Some(_) if text.is_empty() => {}
            Some(key) => insert(&mut tree, &key.path, Node::new(&origin, key.value(text)), &origin),
            None => warnings.push(Fault::new(&origin, "", unknown(name))),
        }
    }
    (tree, warnings)
}

impl Key {
    /// Converts the text to a JSON type that the key accepts.
    pub fn value(&self, text: &str) -> Value {
        let accepts = |name: &str| self.types.iter().any(|accepted| accepted == name);
        match (text, text.parse::<u64>()) {
            ("true", _) if accepts("boolean") => Value::Bool(true),
            ("false", _) if accepts("boolean") => Value::Bool(false),
            (_, Ok(number)) if accepts("integer") => Value::Number(number.into()),
            _ => Value::Text(text.to_owned()),
        }
    }
}

fn unknown(name: &str) -> String {
    let short = |name| str::strip_prefix(name, PREFIX).unwrap_or(name);
    let names: Vec<&str> = known().keys().map(String::as_str).chain(OTHERS.iter().copied()).map(short).collect();
    let near = nearest(short(name), &names).map(|near| format!("; did you mean {PREFIX}{near}?"));
    format!("matches no setting and is ignored{}", near.unwrap_or_default())
}

/// Sets the value at a path of keys, and creates the objects along the path.
pub fn insert(tree: &mut Node, path: &[String], value: Node, origin: &ValueOrigin) {
    let Some((first, rest)) = path.split_first() else {
        *tree = value;
        return;
    };
    let Value::Object(members) = &mut tree.value else { return };
    let index = members.iter().position(|member| member.name == *first).unwrap_or_else(|| {
        members.push(Member { name: first.clone(), origin: origin.clone(), node: Node::object(origin) });
        members.len() - 1
    });
    if let Some(member) = members.get_mut(index) {
        insert(&mut member.node, rest, value, origin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_of_a_key_is_its_path_in_capitals() {
        let known = known();
        for name in [
            "FANFARE_HTTP_LISTEN",
            "FANFARE_HTTP_MAX_BODY",
            "FANFARE_HTTP_CORS_MAX_AGE",
            "FANFARE_HTTP_DOMAIN",
            "FANFARE_WORKERS",
            "FANFARE_BROKERS",
            "FANFARE_MODULES_DIR",
            "FANFARE_LIMITS_MAX_HOSTCALL_FUEL",
            "FANFARE_NODE_ID",
            "FANFARE_HTTP_CORS_CREDENTIALS",
        ] {
            assert!(known.contains_key(name), "{name} in {:?}", known.keys());
        }
        assert!(!known.contains_key("FANFARE_HTTP_CORS_ORIGINS"), "arrays have no variable");
        assert!(!known.contains_key("FANFARE_MODULES"), "maps have no variable");
        assert!(OTHERS.iter().all(|name| !known.contains_key(*name)), "a variable has one meaning only");
    }

    #[test]
    fn a_variable_that_matches_no_setting_causes_a_warning() {
        let given = [
            ("FANFARE_HTTP_LISTEM", "x"),
            ("FANFARE_ENV", "x"),
            ("FANFARE_TEST_X", "x"),
            ("PATH", "x"),
            ("FANFARE_QQQQ", "1"),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let (tree, warnings) = read(&given);
        assert!(tree.members().is_empty());
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "FANFARE_HTTP_LISTEM: matches no setting and is ignored; did you mean FANFARE_HTTP_LISTEN?",
                "FANFARE_QQQQ: matches no setting and is ignored",
            ]
        );
    }

    #[test]
    fn the_text_of_a_variable_becomes_a_type_that_the_key_accepts() {
        let given = [
            ("FANFARE_WORKERS", "3"),
            ("FANFARE_NODE_ID", "7"),
            ("FANFARE_HTTP_CORS_CREDENTIALS", "true"),
            ("FANFARE_HTTP_MAX_BODY", "1KiB"),
            ("FANFARE_STATE_DIR", ""),
        ];
        let (tree, warnings) = read(&given.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert!(warnings.is_empty());
        let want = serde_json::json!({"http": {"cors": {"credentials": true}, "maxBody": "1KiB"}, "node": {"id": "7"}, "workers": 3});
        assert_eq!(tree.to_json(), want);
    }
}
