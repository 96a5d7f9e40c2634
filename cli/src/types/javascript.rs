//! Stubs for JavaScript and TypeScript: `fanfare-types.js` and its types.

use std::fmt::Write as _;

use super::model::{Body, Broadcast, Definition, Function, Module, Part, Shape};
use super::names::unreserved;
use super::{HEAD, text};

/// Names that a function or a parameter cannot have.
const RESERVED: &[&str] = &[
    "arguments",
    "await",
    "break",
    "broadcasts",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "eval",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "implements",
    "import",
    "in",
    "instanceof",
    "interface",
    "let",
    "new",
    "null",
    "options",
    "package",
    "payload",
    "private",
    "protected",
    "public",
    "query",
    "return",
    "static",
    "super",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "typeof",
    "var",
    "void",
    "while",
    "with",
    "yield",
];

/// Names that the files use themselves.
const IMPORTED: &[&str] = &["answer", "broadcast", "rpc", "search"];

/// The types of `fanfare-types.js`.
pub fn types(modules: &[Module]) -> String {
    let mut out = format!("// {HEAD}\n\n{TYPES}");
    for module in modules {
        let _ =
            writeln!(out, "\n/** The module `{}`. */\nexport declare namespace {} {{", module.name, namespace(module));
        for definition in &module.types {
            define(&mut out, definition);
        }
        for function in &module.functions {
            let _ = writeln!(
                out,
                "{}    function {}({}{}payload{}, options?: CallOptions): Promise<{}>;",
                docs("    ", &function.docs),
                name(&function.words.camel()),
                params(function).map(|name| format!("{name}: string | number, ")).collect::<String>(),
                function.query.as_ref().map_or_else(String::new, |query| format!("query: {}, ", shape(query))),
                payload(function.takes.as_ref()),
                function.gives.as_ref().map_or("Reply".to_owned(), shape),
            );
        }
        if !module.broadcasts.is_empty() {
            out.push_str("    namespace broadcasts {\n");
            module.broadcasts.iter().for_each(|broadcast| declare(&mut out, broadcast));
            out.push_str("    }\n");
        }
        out.push_str("}\n");
    }
    out
}

const TYPES: &str = r#"import type { broadcast, CallError, Entry, Receipt, Reply, rpc, Sendable } from "fanfare";

/** Where a call goes, and how long it waits. */
export type CallOptions = rpc.Options & { to?: rpc.Place };

/** The options of a broadcast. */
export type EmitOptions = Omit<broadcast.Options, "module">;

/** The answer of one worker. */
export type Answer<T> = { isolate: string; node: string | undefined } & (
    { value: T; error?: undefined } | { value?: undefined; error: CallError }
);
"#;

/// `fanfare-types.js`.
pub fn code(modules: &[Module]) -> String {
    let mut out = format!("// {HEAD}\n\nimport {{ broadcast, rpc }} from \"fanfare\";\n\n{CODE}");
    for module in modules {
        let _ = writeln!(out, "\nexport const {} = {{", namespace(module));
        for function in &module.functions {
            let query = function.query.as_ref().map(|_| "query, ".to_owned());
            let params: String = params(function).map(|name| format!("{name}, ")).chain(query).collect();
            let sent = sent(function.takes.as_ref());
            let call = format!("rpc.call({}, {sent}, options)", route(function));
            let call = if function.gives.is_some() { format!("(await {call}).json") } else { call };
            let _ = writeln!(out, "    {}: async ({params}payload, options) => {call},", name(&function.words.camel()));
        }
        if !module.broadcasts.is_empty() {
            out.push_str("    broadcasts: {\n");
        }
        for broadcast in &module.broadcasts {
            let sent = sent(broadcast.takes.as_ref());
            let arguments =
                format!("({}, {sent}, {{ ...options, module: {} }})", text(&broadcast.name), text(&module.name));
            let gather = format!("broadcast.gather{arguments}");
            let gather = if broadcast.gives.is_some() { format!("(await {gather}).map(answer)") } else { gather };
            let _ = writeln!(
                out,
                "        {}: {{\n            emit: (payload, options) => broadcast.emit{arguments},\n            gather: async (payload, options) => {gather},\n        }},",
                name(&broadcast.words.camel()),
            );
        }
        if !module.broadcasts.is_empty() {
            out.push_str("    },\n");
        }
        out.push_str("};\n");
    }
    out
}

const CODE: &str = "function answer({ isolate, node, reply, error }) {
    return error ? { isolate, node, error } : { isolate, node, value: reply.json };
}

function search(query) {
    const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
    const texts = pairs.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
    return texts.length > 0 ? \"?\" + texts.join(\"&\") : \"\";
}
";

fn define(out: &mut String, Definition { name, docs: lines, body }: &Definition) {
    out.push_str(&docs("    ", lines));
    let name = name.pascal();
    let _ = match body {
        Body::Fields(fields) => {
            let _ = writeln!(out, "    interface {name} {{");
            for field in fields {
                let optional = if field.required { "" } else { "?" };
                let _ = writeln!(
                    out,
                    "{}        {}{optional}: {};",
                    docs("        ", &field.docs),
                    text(&field.name),
                    shape(&field.shape)
                );
            }
            writeln!(out, "    }}")
        }
        Body::Texts(texts) => {
            let texts: Vec<String> = texts.iter().map(|value| text(value)).collect();
            writeln!(out, "    type {name} = {};", texts.join(" | "))
        }
        Body::Alias(of) => writeln!(out, "    type {name} = {};", shape(of)),
    };
}

fn declare(out: &mut String, broadcast: &Broadcast) {
    let payload = payload(broadcast.takes.as_ref());
    let answer = broadcast.gives.as_ref().map_or("Entry".to_owned(), |gives| format!("Answer<{}>", shape(gives)));
    let _ = writeln!(
        out,
        "{}        namespace {} {{
            function emit(payload{payload}, options?: EmitOptions): Receipt;
            function gather(payload{payload}, options?: EmitOptions & {{ timeout?: number }}): Promise<{answer}[]>;
        }}",
        docs("        ", &broadcast.docs),
        name(&broadcast.words.camel()),
    );
}

fn namespace(module: &Module) -> String {
    unreserved(name(&module.words.camel()), IMPORTED)
}

fn name(camel: &str) -> String {
    unreserved(camel.to_owned(), RESERVED)
}

fn params(function: &Function) -> impl Iterator<Item = String> {
    function.params().map(|words| name(&words.camel()))
}

fn route(function: &Function) -> String {
    let parts = function.route.iter().map(|part| match part {
        Part::Text(literal) => text(literal),
        Part::Param(words) => format!("encodeURIComponent({})", name(&words.camel())),
    });
    let parts: Vec<String> = parts.chain(function.query.as_ref().map(|_| "search(query)".to_owned())).collect();
    parts.join(" + ")
}

fn payload(takes: Option<&Shape>) -> String {
    takes.map_or("?: Sendable".to_owned(), |takes| format!(": {}", shape(takes)))
}

/// The SDK sends a text as it is, so that the stub writes the JSON.
fn sent(takes: Option<&Shape>) -> &'static str {
    if takes.is_some() { "JSON.stringify(payload)" } else { "payload" }
}

fn shape(of: &Shape) -> String {
    match of {
        Shape::Any => "any".to_owned(),
        Shape::Null => "null".to_owned(),
        Shape::Boolean => "boolean".to_owned(),
        Shape::Integer | Shape::Number => "number".to_owned(),
        Shape::Text => "string".to_owned(),
        Shape::List(item) => format!("Array<{}>", shape(item)),
        Shape::Map(value) => format!("Record<string, {}>", shape(value)),
        Shape::Nullable(of) => format!("{} | null", shape(of)),
        Shape::Literal(values) => {
            let is_plain = |value: &serde_json::Value| !value.is_object() && !value.is_array();
            let values = values.iter().map(|value| if is_plain(value) { value.to_string() } else { "any".to_owned() });
            values.collect::<Vec<_>>().join(" | ")
        }
        Shape::Named(words) => words.pascal(),
    }
}

fn docs(indent: &str, lines: &[String]) -> String {
    // A comment would end there.
    let lines: Vec<String> = lines.iter().map(|line| line.replace("*/", "* /")).collect();
    match lines.as_slice() {
        [] => String::new(),
        [line] => format!("{indent}/** {line} */\n"),
        lines => {
            let lines: String = lines.iter().map(|line| format!("{indent} * {line}\n")).collect();
            format!("{indent}/**\n{lines}{indent} */\n")
        }
    }
}
