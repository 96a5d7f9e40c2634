//! Stubs for Python: `fanfare_types.py`.

use std::fmt::Write as _;

use super::model::{Body, Broadcast, Definition, Function, Module, Part, Shape};
use super::names::unreserved;
use super::{HEAD, text};

/// Names that a function or a parameter cannot have, and those of built-in types, which a function
/// would hide.
const RESERVED: &[&str] = &[
    "and",
    "as",
    "assert",
    "async",
    "await",
    "bool",
    "break",
    "broadcasts",
    "class",
    "continue",
    "def",
    "del",
    "dict",
    "elif",
    "else",
    "except",
    "finally",
    "float",
    "for",
    "from",
    "global",
    "if",
    "import",
    "in",
    "int",
    "is",
    "lambda",
    "list",
    "nonlocal",
    "not",
    "or",
    "pass",
    "payload",
    "query",
    "raise",
    "return",
    "staticmethod",
    "str",
    "subdomain",
    "timeout",
    "to",
    "try",
    "tuple",
    "while",
    "with",
    "yield",
];

const IMPORTS: &str = r#"from __future__ import annotations

import json as _json
from collections.abc import Mapping as _Mapping
from typing import Any as _Any
from typing import Literal as _Literal
from typing import NotRequired as _NotRequired
from typing import Optional as _Optional
from typing import TypeAlias as _TypeAlias
from typing import TypedDict as _TypedDict
from typing import cast as _cast
from urllib.parse import quote as _quote
from urllib.parse import urlencode as _urlencode

from fanfare import CallError as _CallError
from fanfare import broadcast as _broadcast
from fanfare import rpc as _rpc
from fanfare.types import Entry as _Entry
from fanfare.types import Receipt as _Receipt
from fanfare.types import Reply as _Reply
from fanfare.types import Target as _Target


def _value(entry: _Entry) -> _Any:
    return entry.error if entry.error is not None else entry.result().json


def _search(query: _Mapping[str, object]) -> str:
    texts = {
        name: _json.dumps(value) if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }
    return "?" + _urlencode(texts, quote_via=_quote, safe="") if texts else ""
"#;

/// `fanfare_types.py`.
pub fn code(modules: &[Module]) -> String {
    let mut out = format!("\"\"\"{HEAD}\"\"\"\n\n# ruff: noqa\n{IMPORTS}");
    for module in modules {
        let types = Types(module);
        for definition in &module.types {
            out.push_str(&types.definition(definition));
        }
        let _ =
            writeln!(out, "\n\nclass {}:\n    \"\"\"The module `{}`.\"\"\"", name(&module.words.snake()), module.name);
        for function in &module.functions {
            types.function(&mut out, function);
        }
        if !module.broadcasts.is_empty() {
            out.push_str("\n    class broadcasts:\n");
        }
        for broadcast in &module.broadcasts {
            types.broadcast(&mut out, broadcast);
        }
    }
    out
}

/// The types of a module.
struct Types<'a>(&'a Module);

impl Types<'_> {
    fn definition(&self, Definition { name, docs, body }: &Definition) -> String {
        let name = self.named(&name.pascal());
        let comments: String = docs.iter().map(|line| format!("#: {line}\n")).collect();
        let body = match body {
            Body::Fields(fields) => {
                let mut out = format!("{name} = _TypedDict(\n    {},\n    {{\n", text(&name));
                for field in fields {
                    let of = self.shape(&field.shape);
                    let of = if field.required { of } else { format!("_NotRequired[{of}]") };
                    field.docs.iter().for_each(|line| _ = writeln!(out, "        #: {line}"));
                    let _ = writeln!(out, "        {}: {},", text(&field.name), text(&of));
                }
                out + "    },\n)\n"
            }
            Body::Texts(texts) => {
                let texts: Vec<String> = texts.iter().map(|value| text(value)).collect();
                format!("{name}: _TypeAlias = _Literal[{}]\n", texts.join(", "))
            }
            Body::Alias(of) => format!("{name}: _TypeAlias = {}\n", text(&self.shape(of))),
        };
        format!("\n{comments}{body}")
    }

    fn function(&self, out: &mut String, function: &Function) {
        let gives = function.gives.as_ref().map(|gives| self.shape(gives));
        let params = function.params().map(|words| format!("{}: str | int, ", name(&words.snake())));
        let query = function.query.as_ref().map(|query| format!("query: {}, ", self.shape(query)));
        let params: String = params.chain(query).collect();
        let (route, sent) = (route(function), sent(function.takes.as_ref()));
        let _ = writeln!(
            out,
            "
    @staticmethod
    async def {}(
        {params}payload: {},
        *,
        to: _Target = _rpc.ANY,
        timeout: float | None = None,
        subdomain: str | None = None,
    ) -> {}:
{}        reply = await _rpc.call({route}, {sent}, to=to, timeout=timeout, subdomain=subdomain)
        return {}",
            name(&function.words.snake()),
            self.payload(function.takes.as_ref()),
            gives.as_deref().unwrap_or("_Reply"),
            docs("        ", &function.docs),
            gives.as_ref().map_or("reply".to_owned(), |gives| format!("_cast({}, reply.json)", text(gives))),
        );
    }

    fn broadcast(&self, out: &mut String, broadcast: &Broadcast) {
        let payload = self.payload(broadcast.takes.as_ref());
        let sent = sent(broadcast.takes.as_ref());
        let arguments =
            format!("({}, {sent}, module={}, subdomain=subdomain", text(&broadcast.name), text(&self.0.name));
        let (of, answers) = match &broadcast.gives {
            Some(gives) => (format!("{} | _CallError", self.shape(gives)), "[_value(entry) for entry in entries]"),
            None => ("_Entry".to_owned(), "entries"),
        };
        let _ = writeln!(
            out,
            "
        class {}:
{}
            @staticmethod
            def emit(payload: {payload}, *, subdomain: str | None = None) -> _Receipt:
                return _broadcast.emit{arguments})

            @staticmethod
            async def gather(
                payload: {payload}, *, subdomain: str | None = None, timeout: float | None = None
            ) -> list[{of}]:
                entries = await _broadcast.gather{arguments}, timeout=timeout)
                return {answers}",
            name(&broadcast.words.snake()),
            docs("            ", &broadcast.docs),
        );
    }

    fn payload(&self, takes: Option<&Shape>) -> String {
        takes.map_or("_Any = None".to_owned(), |takes| self.shape(takes))
    }

    /// The name of a type, which is global in the file.
    fn named(&self, name: &str) -> String {
        format!("{}_{name}", self.0.words.pascal())
    }

    fn shape(&self, of: &Shape) -> String {
        match of {
            Shape::Any => "_Any".to_owned(),
            Shape::Null => "None".to_owned(),
            Shape::Boolean => "bool".to_owned(),
            Shape::Integer => "int".to_owned(),
            Shape::Number => "float".to_owned(),
            Shape::Text => "str".to_owned(),
            Shape::List(item) => format!("list[{}]", self.shape(item)),
            Shape::Map(value) => format!("dict[str, {}]", self.shape(value)),
            Shape::Nullable(of) => format!("_Optional[{}]", self.shape(of)),
            Shape::Literal(values) => literal(values),
            Shape::Named(words) => self.named(&words.pascal()),
        }
    }
}

/// Python has literal types for texts, integers and booleans.
fn literal(values: &[serde_json::Value]) -> String {
    let mut literals = Vec::new();
    for value in values {
        literals.push(match value {
            serde_json::Value::Bool(true) => "True".to_owned(),
            serde_json::Value::Bool(false) => "False".to_owned(),
            serde_json::Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
            serde_json::Value::String(value) => text(value),
            _ => return "_Any".to_owned(),
        });
    }
    format!("_Literal[{}]", literals.join(", "))
}

fn name(snake: &str) -> String {
    unreserved(snake.to_owned(), RESERVED)
}

fn route(function: &Function) -> String {
    let parts = function.route.iter().map(|part| match part {
        Part::Text(literal) => text(literal),
        Part::Param(words) => format!("_quote(str({}), safe=\"\")", name(&words.snake())),
    });
    let parts: Vec<String> = parts.chain(function.query.as_ref().map(|_| "_search(query)".to_owned())).collect();
    parts.join(" + ")
}

/// The SDK sends a text as it is, so that the stub writes the JSON.
fn sent(takes: Option<&Shape>) -> &'static str {
    if takes.is_some() { "_json.dumps(payload)" } else { "payload" }
}

fn docs(indent: &str, lines: &[String]) -> String {
    // The text would end there, or begin an escape.
    let lines: Vec<String> = lines.iter().map(|line| line.replace('\\', "\\\\").replace('"', "'")).collect();
    format!("{indent}\"\"\"{}\"\"\"\n", lines.join(&format!("\n{indent}")))
}
