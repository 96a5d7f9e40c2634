//! Stubs for Rust: `fanfare_types.rs`.

use std::fmt::Write as _;

use super::HEAD;
use super::model::{Body, Broadcast, Definition, Field, Function, Module, Part, Shape};
use super::names::{Unique, Words, unreserved};

const RESERVED: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

const ALLOWED: &str = "#[allow(dead_code, unused_imports, clippy::all, clippy::pedantic)]";

/// `fanfare_types.rs`.
pub fn code(modules: &[Module]) -> String {
    let mut out = format!("// {HEAD}\n");
    for module in modules {
        let _ = writeln!(
            out,
            "\n/// The module `{}`.\n{ALLOWED}\npub mod {} {{\n    use fanfare_sdk::types::{{Isolate, Receipt, Target}};\n    use fanfare_sdk::{{CallError, IntoPayload, Json, Reply, broadcast, rpc}};",
            module.name,
            name(&module.words),
        );
        let types = Types(module);
        module.types.iter().for_each(|definition| types.define(&mut out, definition));
        module.functions.iter().for_each(|function| types.function(&mut out, function));
        if !module.broadcasts.is_empty() {
            out.push_str("\n    /// The broadcasts of the module.\n    pub mod broadcasts {\n");
            module.broadcasts.iter().for_each(|broadcast| types.broadcast(&mut out, broadcast));
            out.push_str("    }\n");
        }
        let has_query = module.functions.iter().any(|function| function.query.is_some());
        if has_query || module.functions.iter().any(|function| function.params().next().is_some()) {
            out.push_str(ENCODE);
        }
        if has_query {
            out.push_str(SEARCH);
        }
        out.push_str("}\n");
    }
    out
}

const ENCODE: &str = "
    /// Writes a segment of a path, or a part of a query.
    fn encode(part: impl std::fmt::Display) -> String {
        let encode = |byte: u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!(\"%{byte:02X}\"),
        };
        part.to_string().bytes().map(encode).collect()
    }
";

const SEARCH: &str = "
    /// Writes a query, without what has no value.
    fn search(query: &impl fanfare_sdk::serde::Serialize) -> String {
        use fanfare_sdk::serde_json::{Value, to_value};
        let mut text = String::new();
        let Ok(Value::Object(values)) = to_value(query) else { return text };
        for (name, value) in values {
            let value = match value {
                Value::Null => continue,
                Value::String(value) => value,
                value => value.to_string(),
            };
            text.push(if text.is_empty() { '?' } else { '&' });
            text += &format!(\"{}={}\", encode(name), encode(value));
        }
        text
    }
";

/// The types of a module.
struct Types<'a>(&'a Module);

impl Types<'_> {
    fn define(&self, out: &mut String, definition: &Definition) {
        let Definition { name: words, docs: lines, body } = definition;
        let derive = |more: &str| {
            format!(
                "    #[derive(Clone, Debug, PartialEq{more}, fanfare_sdk::serde::Deserialize, fanfare_sdk::serde::Serialize)]\n    #[serde(crate = \"fanfare_sdk::serde\")]\n"
            )
        };
        let _ = write!(out, "\n{}", docs("    ", lines));
        let name = words.pascal();
        match body {
            Body::Fields(fields) => {
                let _ = writeln!(out, "{}    pub struct {name} {{", derive(""));
                let mut names = Unique::default();
                fields.iter().for_each(|field| self.field(out, &mut names, words, field));
                out.push_str("    }\n");
            }
            Body::Texts(texts) => {
                let _ = writeln!(out, "{}    pub enum {name} {{", derive(", Eq"));
                let mut names = Unique::default();
                for value in texts {
                    let variant = names.name(unreserved(Words::of(value).pascal(), &["Self"]));
                    let _ = writeln!(out, "        #[serde(rename = {})]\n        {variant},", text(value));
                }
                out.push_str("    }\n");
            }
            Body::Alias(of) => _ = writeln!(out, "    pub type {name} = {};", self.shape(of, None)),
        }
    }

    fn field(&self, out: &mut String, names: &mut Unique, within: &Words, field: &Field) {
        let name = names.name(name(&Words::of(&field.name)));
        let of = self.shape(&field.shape, Some(within));
        out.push_str(&docs("        ", &field.docs));
        let rename = format!("rename = {}", text(&field.name));
        if field.required {
            let _ = writeln!(out, "        #[serde({rename})]\n        pub {name}: {of},");
        } else {
            let of = if matches!(field.shape, Shape::Nullable(_)) { of } else { format!("Option<{of}>") };
            let _ = writeln!(
                out,
                "        #[serde({rename}, default, skip_serializing_if = \"Option::is_none\")]\n        pub {name}: {of},"
            );
        }
    }

    fn function(&self, out: &mut String, function: &Function) {
        let Function { words, route, docs: lines, takes, gives, query } = function;
        let declared = function.params().map(|param| format!("{}: impl std::fmt::Display, ", parameter(param)));
        let given = function.params().map(|param| format!("{}, ", parameter(param)));
        let typed = query.as_ref().map(|query| format!("query: &{}, ", self.shape(query, None)));
        let declared: String = declared.chain(typed).collect();
        let given: String = given.chain(query.as_ref().map(|_| "query, ".to_owned())).collect();
        let payload = self.payload(takes.as_ref());
        let sent = sent(takes.as_ref());
        let (of, result) = match gives {
            Some(gives) => (self.shape(gives, None), "Ok(reply.json()?)"),
            None => ("Reply".to_owned(), "Ok(reply)"),
        };
        let parts = route.iter().map(|part| match part {
            Part::Text(literal) => text(literal),
            Part::Param(param) => format!("&encode({})", parameter(param)),
        });
        let parts: Vec<String> = parts.chain(query.as_ref().map(|_| "&search(query)".to_owned())).collect();
        let (parts, name, at) = (parts.join(", "), name(words), name(&words.and(&Words::of("at"))));
        let _ = writeln!(
            out,
            "
{}    pub async fn {name}({declared}payload: {payload}) -> Result<{of}, CallError> {{
        {at}(rpc::to(Target::Any), {given}payload).await
    }}

    /// Like [`{name}`], in another place or with options: `rpc::to(Target::Worker(0))`.
    pub async fn {at}(at: rpc::To<Target>, {declared}payload: {payload}) -> Result<{of}, CallError> {{
        let reply = at.call(&[{parts}].concat(), {sent}).await?;
        {result}
    }}",
            docs("    ", lines),
        );
    }

    fn broadcast(&self, out: &mut String, broadcast: &Broadcast) {
        let payload = self.payload(broadcast.takes.as_ref());
        let sent = sent(broadcast.takes.as_ref());
        let (of, answer) = match &broadcast.gives {
            Some(gives) => (self.shape(gives, None), "entry.outcome.and_then(|reply| Ok(reply.json()?))"),
            None => ("Reply".to_owned(), "entry.outcome"),
        };
        let named = format!("broadcast::named({}).of({})", text(&broadcast.name), text(&self.0.name));
        let _ = writeln!(
            out,
            "{}        pub mod {} {{
            use super::super::*;

            /// Queues the broadcast in every worker, or in none.
            pub fn emit(payload: {payload}) -> Result<Receipt, CallError> {{
                emit_with(|broadcast| broadcast, payload)
            }}

            /// Like [`emit`], with options: `|broadcast| broadcast.subdomain(\"acme\")`.
            pub fn emit_with(
                options: impl FnOnce(broadcast::Emit) -> broadcast::Emit,
                payload: {payload},
            ) -> Result<Receipt, CallError> {{
                options({named}).emit({sent})
            }}

            /// Emits the broadcast, and waits for all workers.
            pub async fn gather(payload: {payload}) -> Result<Vec<(Isolate, Result<{of}, CallError>)>, CallError> {{
                gather_with(|broadcast| broadcast, payload).await
            }}

            /// Like [`gather`], with options: `|broadcast| broadcast.timeout(timeout)`.
            pub async fn gather_with(
                options: impl FnOnce(broadcast::Emit) -> broadcast::Emit,
                payload: {payload},
            ) -> Result<Vec<(Isolate, Result<{of}, CallError>)>, CallError> {{
                let entries = options({named}).gather({sent}).await?;
                Ok(entries.into_iter().map(|entry| (entry.isolate, {answer})).collect())
            }}
        }}",
            docs("        ", &broadcast.docs),
            name(&broadcast.words),
        );
    }

    fn payload(&self, takes: Option<&Shape>) -> String {
        takes.map_or("impl IntoPayload".to_owned(), |takes| format!("&{}", self.shape(takes, None)))
    }

    /// The type of a value, in the definition `within` if there is one.
    fn shape(&self, of: &Shape, within: Option<&Words>) -> String {
        match of {
            Shape::Any | Shape::Literal(_) => "fanfare_sdk::serde_json::Value".to_owned(),
            Shape::Null => "()".to_owned(),
            Shape::Boolean => "bool".to_owned(),
            Shape::Integer => "i64".to_owned(),
            Shape::Number => "f64".to_owned(),
            Shape::Text => "String".to_owned(),
            // A list has its items elsewhere, so that a type may contain itself there.
            Shape::List(item) => format!("Vec<{}>", self.shape(item, None)),
            Shape::Map(value) => format!("std::collections::BTreeMap<String, {}>", self.shape(value, None)),
            Shape::Nullable(of) => format!("Option<{}>", self.shape(of, within)),
            Shape::Named(words) if within.is_some_and(|within| self.contains(words, within, &mut Vec::new())) => {
                format!("Box<{}>", words.pascal())
            }
            Shape::Named(words) => words.pascal(),
        }
    }

    /// Whether a type is `inner` or contains it other than in a list or a map.
    fn contains<'b>(&'b self, outer: &'b Words, inner: &Words, seen: &mut Vec<&'b Words>) -> bool {
        if outer == inner {
            return true;
        }
        if seen.contains(&outer) {
            return false;
        }
        seen.push(outer);
        let definition = self.0.types.iter().find(|definition| definition.name == *outer);
        let parts: Vec<&Shape> = match definition.map(|definition| &definition.body) {
            Some(Body::Fields(fields)) => fields.iter().map(|field| &field.shape).collect(),
            Some(Body::Alias(of)) => vec![of],
            _ => Vec::new(),
        };
        let named = parts.into_iter().filter_map(Shape::name);
        named.into_iter().any(|name| self.contains(name, inner, seen))
    }
}

fn name(words: &Words) -> String {
    unreserved(words.snake(), RESERVED)
}

/// The name of a parameter of a path, which differs from those that functions have themselves.
fn parameter(words: &Words) -> String {
    unreserved(name(words), &["at", "payload", "query"])
}

/// A text literal.
fn text(value: &str) -> String {
    format!("{value:?}")
}

fn sent(takes: Option<&Shape>) -> &'static str {
    if takes.is_some() { "Json(payload)" } else { "payload" }
}

fn docs(indent: &str, lines: &[String]) -> String {
    lines.iter().map(|line| format!("{indent}/// {line}\n")).collect()
}
