//! Reads a schema, and finds all its faults.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{Field, Kind, Object, Schema, Type};
use crate::document::fault::{Fault, Faults, ValueOrigin};
use crate::document::shape::{did_you_mean, list};
use crate::document::tree::{Node, Path, Value, quoted};

const KINDS: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// Keywords that no type of a language expresses.
const BEYOND_TYPES: [&str; 9] =
    ["allOf", "anyOf", "oneOf", "not", "if", "prefixItems", "patternProperties", "$dynamicRef", "contains"];

impl Schema {
    /// Reads the schema `node`, which stands at `path`. Returns every fault at once.
    pub fn parse(node: &Node, path: &Path) -> Result<Schema, Faults> {
        let mut parser = Parser { defs: node.get("$defs"), path: path.clone(), faults: Faults::default() };
        let root = parser.schema(node);
        let mut defs = BTreeMap::new();
        if let Some(node) = parser.defs {
            parser.below("$defs", |parser| {
                for (name, node) in parser.members(node) {
                    parser.below(name, |parser| defs.insert(name.to_owned(), parser.schema(node)));
                }
            });
        }
        let schema = Schema { root, defs };
        for (name, of) in &schema.defs {
            if schema.resolved(of).is_none() {
                let message = format!("refers only to itself: give {} a `type`", quoted(name));
                parser.faults.push(Fault::new(&of.origin, path.key("$defs").key(name), message));
            }
        }
        if parser.faults.is_empty() { Ok(schema) } else { Err(parser.faults.sorted()) }
    }
}

struct Parser<'a> {
    defs: Option<&'a Node>,
    path: Path,
    faults: Faults,
}

impl<'a> Parser<'a> {
    fn below<T>(&mut self, key: &str, visit: impl FnOnce(&mut Self) -> T) -> T {
        let path = self.path.key(key);
        let above = std::mem::replace(&mut self.path, path);
        let result = visit(self);
        self.path = above;
        result
    }

    fn fault(&mut self, node: &Node, message: String) {
        self.faults.push(Fault::new(&node.origin, &self.path, message));
    }

    fn schema(&mut self, node: &'a Node) -> Type {
        let description = node.get("description").and_then(Node::as_text).map(str::to_owned);
        let mut of = Type { kind: Kind::Any(None), nullable: false, description, origin: node.origin.clone() };
        match &node.value {
            Value::Object(_) => {}
            Value::Bool(true) => return of,
            _ => {
                self.fault(node, format!("must be a JSON Schema, which is an object, found {node}"));
                return of;
            }
        }
        if let Some(inner) = nullable_branch(node) {
            let key = if node.get("anyOf").is_some() { "anyOf" } else { "oneOf" };
            let inner = self.below(key, |parser| parser.schema(inner));
            return Type { nullable: true, description: of.description.or(inner.description), ..inner };
        }
        if let Some(keyword) = BEYOND_TYPES.into_iter().find(|keyword| node.get(keyword).is_some()) {
            of.kind = Kind::Any(Some(keyword));
        } else if let Some(target) = node.get("$ref") {
            of.kind = self.below("$ref", |parser| parser.reference(target));
        } else if let Some(values) = node.get("enum") {
            (of.kind, of.nullable) = self.below("enum", |parser| parser.choice(values));
        } else if let Some(value) = node.get("const") {
            of.kind = if value.is_null() { Kind::Null } else { Kind::Choice(vec![value.to_json()]) };
        } else {
            let (kind, nullable) = self.below("type", |parser| parser.kind(node.get("type")));
            of.nullable = nullable;
            of.kind = match kind {
                Some("null") => Kind::Null,
                Some("boolean") => Kind::Boolean,
                Some("integer") => Kind::Integer,
                Some("number") => Kind::Number,
                Some("string") => Kind::Text,
                Some("array") => Kind::List(Box::new(self.items(node))),
                Some("object") => Kind::Object(self.object(node)),
                Some(_) => Kind::Any(Some("several types")),
                // JSON Schema applies these to objects and lists only.
                None if node.get("properties").or(node.get("items")).is_some() => {
                    Kind::Any(Some("`properties` or `items` without `type`"))
                }
                None => Kind::Any(None),
            };
        }
        of
    }

    /// The kind that `type` names, and whether it names `null` too. An empty kind means several.
    fn kind(&mut self, node: Option<&'a Node>) -> (Option<&'a str>, bool) {
        let Some(node) = node else { return (None, false) };
        let single = std::slice::from_ref(node);
        let items = if node.items().is_empty() { single } else { node.items() };
        let mut names = Vec::new();
        for item in items {
            match item.as_text() {
                Some(name) if KINDS.contains(&name) => names.push(name),
                found => {
                    let hint = found.map(|name| did_you_mean(name, &KINDS)).unwrap_or_default();
                    self.fault(item, format!("must be one of {}, found {item}{hint}", list(&KINDS)));
                }
            }
        }
        let nullable = names.len() > 1 && names.contains(&"null");
        names.retain(|name| !nullable || *name != "null");
        match names.as_slice() {
            [] => (None, nullable),
            [name] => (Some(*name), nullable),
            _ => (Some(""), nullable),
        }
    }

    fn reference(&mut self, node: &Node) -> Kind {
        let known: Vec<&str> =
            self.defs.map(Node::members).unwrap_or_default().iter().map(|member| member.name.as_str()).collect();
        let text = node.as_text().unwrap_or_default();
        match text.strip_prefix("#/$defs/") {
            Some(name) if known.contains(&name) => Kind::Named(name.to_owned()),
            Some(name) => {
                self.fault(node, format!("must name an entry of $defs, found {node}{}", did_you_mean(name, &known)));
                Kind::Any(None)
            }
            None => {
                self.fault(node, format!("must be \"#/$defs/<name>\", with $defs in the same schema, found {node}"));
                Kind::Any(None)
            }
        }
    }

    fn choice(&mut self, node: &Node) -> (Kind, bool) {
        let Value::List(items) = &node.value else {
            self.fault(node, format!("must be a list of values, found {node}"));
            return (Kind::Any(None), false);
        };
        if items.is_empty() {
            self.fault(node, "must have at least one value".to_owned());
        }
        let values: Vec<Json> = items.iter().filter(|item| !item.is_null()).map(Node::to_json).collect();
        let nullable = values.len() < items.len();
        if values.is_empty() { (Kind::Null, false) } else { (Kind::Choice(values), nullable) }
    }

    fn items(&mut self, node: &'a Node) -> Type {
        self.optional(node, "items").unwrap_or_else(|| any(&node.origin))
    }

    /// The schema under a key, if it has one.
    fn optional(&mut self, node: &'a Node, key: &str) -> Option<Type> {
        let node = node.get(key)?;
        Some(self.below(key, |parser| parser.schema(node)))
    }

    fn object(&mut self, node: &'a Node) -> Object {
        let required = self.required(node);
        let mut fields = Vec::new();
        if let Some(properties) = node.get("properties") {
            self.below("properties", |parser| {
                for (name, node) in parser.members(properties) {
                    let of = parser.below(name, |parser| parser.schema(node));
                    fields.push(Field { name: name.to_owned(), required: required.contains(&name), of });
                }
            });
        }
        // A name that is only required can have any value.
        for name in required {
            if !fields.iter().any(|field| field.name == name) {
                fields.push(Field { name: name.to_owned(), required: true, of: any(&node.origin) });
            }
        }
        let is_closed = node.get("additionalProperties").is_some_and(|others| others.value == Value::Bool(false));
        let others = if is_closed {
            None
        } else {
            Some(Box::new(self.optional(node, "additionalProperties").unwrap_or_else(|| any(&node.origin))))
        };
        Object { fields, others }
    }

    fn required(&mut self, node: &'a Node) -> Vec<&'a str> {
        let Some(node) = node.get("required") else { return Vec::new() };
        self.below("required", |parser| {
            if !matches!(node.value, Value::List(_)) {
                parser.fault(node, format!("must be a list of names, found {node}"));
            }
            let mut names = Vec::new();
            for item in node.items() {
                match item.as_text() {
                    Some(name) => names.push(name),
                    None => parser.fault(item, format!("must be the name of a property, found {item}")),
                }
            }
            names
        })
    }

    /// The names and schemas in an object.
    fn members(&mut self, node: &'a Node) -> Vec<(&'a str, &'a Node)> {
        if !matches!(node.value, Value::Object(_)) {
            self.fault(node, format!("must be an object with a schema for each name, found {node}"));
        }
        node.members().iter().map(|member| (member.name.as_str(), &member.node)).collect()
    }
}

/// The other one of two branches, if one is `{ "type": "null" }`.
fn nullable_branch(node: &Node) -> Option<&Node> {
    let branches = node.get("anyOf").or(node.get("oneOf"))?.items();
    let is_null = |node: &Node| node.get("type").and_then(Node::as_text) == Some("null");
    match branches {
        [one, null] | [null, one] if is_null(null) && !is_null(one) => Some(one),
        _ => None,
    }
}

fn any(origin: &ValueOrigin) -> Type {
    Type { kind: Kind::Any(None), nullable: false, description: None, origin: origin.clone() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::document::source;

    fn parse(text: &str) -> Result<Schema, String> {
        let (node, _) = source::parse(text, &Arc::from("a.json")).unwrap();
        Schema::parse(&node, &Path::default()).map_err(|faults| faults.to_string())
    }

    fn kind(text: &str) -> (Kind, bool) {
        let root = parse(text).unwrap().root;
        (root.kind, root.nullable)
    }

    #[test]
    fn types_of_the_subset_are_read() {
        for (text, expected) in [
            (r"{}", (Kind::Any(None), false)),
            (r#"{ "type": "null" }"#, (Kind::Null, false)),
            (r#"{ "type": "string", "minLength": 1 }"#, (Kind::Text, false)),
            (r#"{ "type": ["integer", "null"] }"#, (Kind::Integer, true)),
            (r#"{ "anyOf": [{ "type": "null" }, { "type": "boolean" }] }"#, (Kind::Boolean, true)),
            (r#"{ "type": ["string", "number"] }"#, (Kind::Any(Some("several types")), false)),
            (r#"{ "oneOf": [{ "type": "string" }] }"#, (Kind::Any(Some("oneOf")), false)),
            (r#"{ "enum": ["a", null, 1] }"#, (Kind::Choice(vec!["a".into(), 1.into()]), true)),
            (r#"{ "const": "a" }"#, (Kind::Choice(vec!["a".into()]), false)),
            (r#"{ "const": null }"#, (Kind::Null, false)),
            (r#"{ "enum": [null] }"#, (Kind::Null, false)),
            (r#"{ "type": ["null"] }"#, (Kind::Null, false)),
            (r#"{ "type": ["string", "null", "number"] }"#, (Kind::Any(Some("several types")), true)),
            (r#"{ "oneOf": [{ "type": "boolean" }, { "type": "null" }] }"#, (Kind::Boolean, true)),
            (r#"{ "properties": {} }"#, (Kind::Any(Some("`properties` or `items` without `type`")), false)),
            (r##"{ "$ref": "#/$defs/a", "$defs": { "a": { "type": "string" } } }"##, (Kind::Named("a".into()), false)),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }

    #[test]
    fn what_no_type_expresses_is_any_value_with_the_keyword() {
        for keyword in BEYOND_TYPES {
            assert_eq!(kind(&format!(r#"{{ "type": "string", "{keyword}": [] }}"#)).0, Kind::Any(Some(keyword)));
        }
    }

    #[test]
    fn lists_have_items_of_one_type() {
        let item = |text: &str| match kind(text).0 {
            Kind::List(item) => item.kind,
            other => panic!("{other:?}"),
        };
        assert_eq!(item(r#"{ "type": "array", "items": { "type": "string" } }"#), Kind::Text);
        for any in [r#"{ "type": "array", "items": true }"#, r#"{ "type": "array" }"#] {
            assert_eq!(item(any), Kind::Any(None), "{any}");
        }
    }

    #[test]
    fn names_are_followed_to_their_end() {
        let text = r##"{ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "type": "null" } } }"##;
        let schema = parse(text).unwrap();
        assert_eq!(schema.resolved(&schema.root).unwrap().kind, Kind::Null);
    }

    #[test]
    fn a_value_that_may_be_null_has_the_description_of_the_other_branch() {
        let described = |own: &str| {
            let inner = r#"{ "type": "string", "description": "inner" }"#;
            parse(&format!(r#"{{ {own} "anyOf": [{inner}, {{ "type": "null" }}] }}"#)).unwrap().root.description
        };
        assert_eq!(described("").as_deref(), Some("inner"));
        assert_eq!(described(r#""description": "own","#).as_deref(), Some("own"));
    }

    #[test]
    fn objects_have_fields_and_others() {
        let text = r#"{ "type": "object", "properties": { "a": { "type": "number" }, "b": {} }, "required": ["a", "c"],
            "additionalProperties": false }"#;
        let (Kind::Object(object), false) = kind(text) else { panic!("no object") };
        let fields: Vec<_> = object.fields.iter().map(|field| (field.name.as_str(), field.required)).collect();
        assert_eq!((fields, object.others), (vec![("a", true), ("b", false), ("c", true)], None));
        let map = kind(r#"{ "type": "object", "additionalProperties": { "type": "string" } }"#).0;
        let Kind::Object(Object { others: Some(others), .. }) = map else { panic!("no map") };
        assert_eq!(others.kind, Kind::Text);
    }

    #[test]
    fn a_fault_names_the_place_and_the_fix() {
        for (text, fault) in [
            (r#"{ "type": "strnig" }"#, "a.json:1:11: type: must be one of"),
            (r#"{ "type": "strnig" }"#, "did you mean \"string\"?"),
            (
                r#"{ "type": "object", "properties": [] }"#,
                "1:35: properties: must be an object with a schema for each name",
            ),
            (r#"{ "type": "object", "properties": { "a": 1 } }"#, "properties.a: must be a JSON Schema"),
            (r#"{ "type": "object", "required": "a" }"#, "required: must be a list of names, found \"a\""),
            (r#"{ "type": "object", "required": [1] }"#, "required: must be the name of a property, found 1"),
            (r#"{ "enum": "a" }"#, "enum: must be a list of values, found \"a\""),
            (r#"{ "enum": [] }"#, "enum: must have at least one value"),
            (r##"{ "$ref": "#/$defs/prise", "$defs": { "price": {} } }"##, "did you mean \"price\"?"),
            (r#"{ "$ref": "other.json" }"#, "$ref: must be \"#/$defs/<name>\""),
            (r##"{ "$defs": { "a": { "$ref": "#/$defs/a" } } }"##, "$defs.a: refers only to itself"),
        ] {
            let faults = parse(text).unwrap_err();
            assert!(faults.contains(fault), "{text}: {faults}");
        }
    }
}
