//! Compares two JSON Schemas: whether the receiver accepts every value of the sender.
//!
//! A type that can be any value fits to every other one, because there is nothing to compare.

use serde_json::Value;

use fanfare::ValueOrigin;
use fanfare::tooling::document::json_schema::{Kind, Object, Schema, Type};

/// A value of the sender that the receiver does not accept.
#[derive(Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Where in the payload, such as `.lines[].price`. Empty for the payload itself.
    pub path: String,
    /// What the sender sends there, and what the receiver accepts.
    pub sent: String,
    pub accepted: String,
    /// The places of both types.
    pub sender: ValueOrigin,
    pub receiver: ValueOrigin,
}

/// Returns where values of `sender` do not fit `receiver`.
pub fn misfits(sender: &Schema, receiver: &Schema) -> Vec<Misfit> {
    let mut comparison = Comparison { sender, receiver, seen: Vec::new(), found: Vec::new() };
    comparison.compare(&sender.root, &receiver.root, "");
    comparison.found
}

struct Comparison<'a> {
    sender: &'a Schema,
    receiver: &'a Schema,
    /// The pairs of named types that were compared. A type may contain itself.
    seen: Vec<(&'a str, &'a str)>,
    found: Vec<Misfit>,
}

impl<'a> Comparison<'a> {
    fn compare(&mut self, from: &'a Type, to: &'a Type, path: &str) {
        if let (Kind::Named(from), Kind::Named(to)) = (&from.kind, &to.kind) {
            if self.seen.contains(&(from, to)) {
                return;
            }
            self.seen.push((from, to));
        }
        let (Some(sent), Some(accepted)) = (self.sender.resolved(from), self.receiver.resolved(to)) else { return };
        let takes_null = to.nullable || accepted.nullable || accepted.kind == Kind::Null;
        let mut misfit = |sent: String, wanted: String| {
            let (sender, receiver) = (from.origin.clone(), to.origin.clone());
            self.found.push(Misfit { path: path.to_owned(), sent, accepted: wanted, sender, receiver });
        };
        match (&sent.kind, &accepted.kind) {
            (Kind::Any(_), _) | (_, Kind::Any(_)) => return,
            (Kind::Null, _) if takes_null => return,
            _ => {}
        }
        if (from.nullable || sent.nullable) && !takes_null {
            return misfit("`null` at times".to_owned(), format!("{} only", described(accepted)));
        }
        match (&sent.kind, &accepted.kind) {
            (Kind::Boolean, Kind::Boolean)
            | (Kind::Integer, Kind::Integer | Kind::Number)
            | (Kind::Number, Kind::Number)
            | (Kind::Text, Kind::Text) => {}
            (Kind::Choice(values), _) => {
                if let Some(value) = values.iter().find(|value| !accepts(&accepted.kind, value)) {
                    misfit(value.to_string(), described(accepted));
                }
            }
            (Kind::List(from), Kind::List(to)) => self.compare(from, to, &format!("{path}[]")),
            (Kind::Object(from), Kind::Object(to)) => self.objects((sent, from), (accepted, to), path),
            _ => misfit(described(sent), described(accepted)),
        }
    }

    fn objects(&mut self, (sent, from): (&'a Type, &'a Object), (accepted, to): (&'a Type, &'a Object), path: &str) {
        let at = |name: &str| format!("{path}.{name}");
        let misfit = |name: &str, sent_as: &str, wanted: &str, sender: &Type, receiver: &Type| Misfit {
            path: at(name),
            sent: sent_as.to_owned(),
            accepted: wanted.to_owned(),
            sender: sender.origin.clone(),
            receiver: receiver.origin.clone(),
        };
        for field in &to.fields {
            match from.fields.iter().find(|other| other.name == field.name) {
                Some(other) => {
                    if field.required && !other.required {
                        let found = misfit(&field.name, "nothing at times", "a value always", &other.of, &field.of);
                        self.found.push(found);
                    }
                    self.compare(&other.of, &field.of, &at(&field.name));
                }
                None if field.required => {
                    self.found.push(misfit(&field.name, "nothing", "a value always", sent, &field.of));
                }
                None => {
                    if let Some(others) = &from.others {
                        self.compare(others, &field.of, &at(&field.name));
                    }
                }
            }
        }
        for field in from.fields.iter().filter(|field| !to.fields.iter().any(|other| other.name == field.name)) {
            match &to.others {
                Some(others) => self.compare(&field.of, others, &at(&field.name)),
                None => self.found.push(misfit(&field.name, "a value", "nothing", &field.of, accepted)),
            }
        }
        match (&from.others, &to.others) {
            (Some(from), Some(to)) => self.compare(from, to, &at("*")),
            // Objects are open unless they say otherwise, which alone is no reason to send more.
            (Some(from), None) if from.kind != Kind::Any(None) => {
                self.found.push(misfit("*", "values with other names", "no other names", from, accepted));
            }
            _ => {}
        }
    }
}

/// Whether a type has a value.
fn accepts(kind: &Kind, value: &Value) -> bool {
    match kind {
        Kind::Choice(values) => values.contains(value),
        Kind::Text => value.is_string(),
        Kind::Boolean => value.is_boolean(),
        Kind::Number => value.is_number(),
        Kind::Integer => value.is_i64() || value.is_u64(),
        Kind::Object(_) => value.is_object(),
        Kind::List(_) => value.is_array(),
        Kind::Null => value.is_null(),
        Kind::Any(_) | Kind::Named(_) => true,
    }
}

fn described(of: &Type) -> String {
    let kind = match &of.kind {
        Kind::Any(_) | Kind::Named(_) => "any value".to_owned(),
        Kind::Null => "`null`".to_owned(),
        Kind::Boolean => "a boolean".to_owned(),
        Kind::Integer => "an integer".to_owned(),
        Kind::Number => "a number".to_owned(),
        Kind::Text => "a string".to_owned(),
        Kind::List(_) => "an array".to_owned(),
        Kind::Object(_) => "an object".to_owned(),
        Kind::Choice(values) => {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            values.join(" or ")
        }
    };
    if of.nullable { format!("{kind} or `null`") } else { kind }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use fanfare::tooling::{KeyPath, Manifest};

    fn schema(text: &str) -> Schema {
        let manifest = format!(r#"{{ "component": "a.wasm", "config": {text} }}"#);
        let manifest = Manifest::from_text(Path::new("/modules/a"), &manifest).unwrap();
        Schema::parse(manifest.source.get("config").unwrap(), &KeyPath::default()).unwrap()
    }

    /// `path: sent, accepted` of each misfit.
    fn compare(sender: &str, receiver: &str) -> Vec<String> {
        let found = misfits(&schema(sender), &schema(receiver));
        found.iter().map(|misfit| format!("{}: {}, {}", misfit.path, misfit.sent, misfit.accepted)).collect()
    }

    fn object(properties: &str, required: &str, more: &str) -> String {
        format!(r#"{{ "type": "object", "properties": {{ {properties} }}, "required": [{required}] {more} }}"#)
    }

    /// A schema that is an entry of its `$defs`.
    fn named(of: &str) -> String {
        format!(r##"{{ "$ref": "#/$defs/a", "$defs": {{ "a": {of} }} }}"##)
    }

    #[test]
    fn a_narrower_type_fits_a_wider_one() {
        let (text, number) = (r#"{ "type": "string" }"#, r#"{ "type": "number" }"#);
        let (integer, maybe) = (r#"{ "type": "integer" }"#, r#"{ "type": ["integer", "null"] }"#);
        let (one, two) = (r#"{ "const": "a" }"#, r#"{ "enum": ["a", "b"] }"#);
        for (sender, receiver, misfit) in [
            (integer, number, ""),
            (number, integer, ": a number, an integer"),
            (text, number, ": a string, a number"),
            (integer, maybe, ""),
            (r#"{ "type": "null" }"#, maybe, ""),
            (maybe, integer, ": `null` at times, an integer only"),
            (one, two, ""),
            (two, one, ": \"b\", \"a\""),
            (two, text, ""),
            (text, two, ": a string, \"a\" or \"b\""),
            (two, number, ": \"a\", a number"),
            (r#"{ "type": "null" }"#, r#"{ "type": "null" }"#, ""),
            (text, maybe, ": a string, an integer or `null`"),
            (r#"{ "const": 1.5 }"#, integer, ": 1.5, an integer"),
            (maybe, &named(maybe), ""),
            (&named(maybe), integer, ": `null` at times, an integer only"),
            ("{}", number, ""),
            (number, "{}", ""),
            (
                r#"{ "type": "array", "items": { "type": "string" } }"#,
                r#"{ "type": "array", "items": { "type": "integer" } }"#,
                "[]: a string, an integer",
            ),
        ] {
            assert_eq!(compare(sender, receiver).join("; "), misfit, "{sender} to {receiver}");
        }
    }

    #[test]
    fn objects_fit_by_their_properties() {
        let (a, ab) = (r#""a": { "type": "string" }"#, r#""a": { "type": "string" }, "b": { "type": "integer" }"#);
        let closed = r#", "additionalProperties": false"#;
        for (sender, receiver, misfit) in [
            (object(ab, r#""a", "b""#, ""), object(a, r#""a""#, ""), ""),
            (object(ab, r#""a", "b""#, ""), object(a, r#""a""#, closed), ".b: a value, nothing"),
            (object(a, r#""a""#, ""), object(ab, r#""a""#, ""), ""),
            (object(a, r#""a""#, ""), object(ab, r#""a", "b""#, ""), ".b: nothing, a value always"),
            (object(a, "", ""), object(a, r#""a""#, ""), ".a: nothing at times, a value always"),
            (object(a, "", ""), object(a, "", closed), ""),
            (
                object("", "", r#", "additionalProperties": { "type": "string" }"#),
                object("", "", closed),
                ".*: values with other names, no other names",
            ),
            (
                object("", "", r#", "additionalProperties": { "type": "string" }"#),
                object(r#""b": { "type": "integer" }"#, "", ""),
                ".b: a string, an integer",
            ),
            (
                object(a, "", ""),
                object("", "", r#", "additionalProperties": { "type": "integer" }"#),
                ".a: a string, an integer",
            ),
            (
                object("", "", r#", "additionalProperties": { "type": "string" }"#),
                object("", "", r#", "additionalProperties": { "type": "integer" }"#),
                ".*: a string, an integer",
            ),
        ] {
            assert_eq!(compare(&sender, &receiver).join("; "), misfit, "{sender} to {receiver}");
        }
    }

    #[test]
    fn types_that_contain_themselves_are_compared_once() {
        let tree = |value: &str| {
            let tree = object(
                &format!(r##""value": {{ "type": "{value}" }}, "next": {{ "$ref": "#/$defs/tree" }}"##),
                r#""value""#,
                "",
            );
            format!(r##"{{ "$ref": "#/$defs/tree", "$defs": {{ "tree": {tree} }} }}"##)
        };
        assert!(compare(&tree("string"), &tree("string")).is_empty());
        assert_eq!(compare(&tree("string"), &tree("number")), [".value: a string, a number"]);
    }
}
