//! Stubs for C: `fanfare_types.h`.

use std::fmt::Write as _;

use super::model::{Body, Broadcast, Definition, Field, Function, Module, Part, Shape};
use super::names::{Unique, Words, unreserved};
use super::{HEAD, text};

/// Names that a field or a parameter cannot have.
const RESERVED: &[&str] = &[
    "auto", "bool", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
    "false", "float", "for", "from", "gives", "goto", "if", "inline", "int", "item", "json", "long", "options",
    "payload", "query", "register", "restrict", "return", "short", "signed", "sizeof", "static", "struct", "switch",
    "to", "true", "typedef", "union", "unsigned", "void", "volatile", "while",
];

const PRELUDE: &str = r#"#ifndef FANFARE_TYPES_H
#define FANFARE_TYPES_H

#include <fanfare.h>

// An object of a payload is a struct, anything else that is not a text, a number or a boolean is
// `const cJSON *`. A NULL is a missing property, or `null` where the property is required. Where
// there is no NULL, `has_` before the name of the field says whether it has a value.

static inline bool ff_types_mismatch(const char *what, const char *expected) {
    return ff_set_error(FF_INVALID, "%s must be %s", what, expected);
}

// Writes a segment of a path.
static inline const char *ff_types_encode(const char *segment) {
    const char *const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~";
    size_t length = 0;
    while (segment[length]) length++;
    char *text = ff_alloc(length * 3 + 1);
    if (!text) return "";
    char *end = text;
    for (const char *at = segment; *at; at++) {
        const char *same = plain;
        while (*same && *same != *at) same++;
        if (*same) {
            *end++ = *at;
        } else {
            *end++ = '%';
            *end++ = "0123456789ABCDEF"[(unsigned char)*at >> 4];
            *end++ = "0123456789ABCDEF"[(unsigned char)*at & 15];
        }
    }
    return text;
}

// Writes a query, without what has no value.
static inline const char *ff_types_search(const cJSON *query) {
    const char *text = "";
    for (const cJSON *item = query ? query->child : NULL; item; item = item->next) {
        if (cJSON_IsNull(item)) continue;
        const char *value = cJSON_IsString(item) ? item->valuestring : cJSON_PrintUnformatted(item);
        const char *name = ff_types_encode(item->string);
        text = ff_format("%s%s%s=%s", text, *text ? "&" : "?", name, ff_types_encode(value ? value : ""));
    }
    return text;
}

// The error of one worker, as the last error.
static inline const ff_answer *ff_types_answer(const ff_entry *entry) {
    if (!entry->answer) ff_set_error(entry->error.kind, "%s", entry->error.message);
    return entry->answer;
}
"#;

/// `fanfare_types.h`.
pub fn code(modules: &[Module]) -> String {
    let mut out = format!("// {HEAD}\n{PRELUDE}");
    for module in modules {
        let _ = writeln!(out, "\n// ---- The module `{}`", module.name);
        let types = Types(module);
        let structs = || module.types.iter().filter_map(|definition| Some((definition, fields(definition)?)));
        // Before the structs, because one can contain another that stands after it.
        for (definition, _) in structs() {
            let name = types.named(&definition.name);
            let _ = write!(
                out,
                "\ntypedef struct {name} {name};\nstatic inline cJSON *{name}_json(const {name} *from);\nstatic inline bool {name}_read(const cJSON *json, {name} *to);\n"
            );
        }
        for (definition, fields) in structs() {
            types.define(&mut out, definition, fields);
        }
        module.functions.iter().for_each(|function| types.function(&mut out, function));
        module.broadcasts.iter().for_each(|broadcast| types.broadcast(&mut out, broadcast));
    }
    out + "\n#endif\n"
}

fn fields(definition: &Definition) -> Option<&[Field]> {
    match &definition.body {
        Body::Fields(fields) => Some(fields),
        _ => None,
    }
}

/// How C holds a value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Held {
    Bool,
    Integer,
    Number,
    Text,
    /// A struct with this name.
    Struct(String),
    Json,
}

impl Held {
    fn of(&self) -> String {
        match self {
            Held::Bool => "bool ".to_owned(),
            Held::Integer => "int64_t ".to_owned(),
            Held::Number => "double ".to_owned(),
            Held::Text => "const char *".to_owned(),
            Held::Struct(name) => format!("const {name} *"),
            Held::Json => "const cJSON *".to_owned(),
        }
    }

    fn is_pointer(&self) -> bool {
        matches!(self, Held::Text | Held::Struct(_) | Held::Json)
    }

    /// The expression for a value as JSON.
    fn json(&self, value: &str) -> String {
        match self {
            Held::Bool => format!("cJSON_CreateBool({value})"),
            Held::Integer => format!("cJSON_CreateNumber((double){value})"),
            Held::Number => format!("cJSON_CreateNumber({value})"),
            Held::Text => format!("cJSON_CreateString({value})"),
            Held::Struct(name) => format!("{name}_json({value})"),
            Held::Json => format!("cJSON_Duplicate({value}, true)"),
        }
    }

    /// Statements that read `item` into `target`. `what` names the value in an error.
    fn read(&self, what: &str, target: &str, indent: &str) -> String {
        let (test, expected, value) = match self {
            Held::Bool => ("cJSON_IsBool(item)", "a boolean", "cJSON_IsTrue(item)"),
            Held::Integer => ("cJSON_IsNumber(item)", "a number", "(int64_t)item->valuedouble"),
            Held::Number => ("cJSON_IsNumber(item)", "a number", "item->valuedouble"),
            Held::Text => ("cJSON_IsString(item)", "a text", "item->valuestring"),
            Held::Json => return format!("{indent}{target} = item;\n"),
            Held::Struct(name) => {
                return format!(
                    "{indent}{name} *part = ff_alloc(sizeof *part);\n{indent}if (!part || !{name}_read(item, part)) return false;\n{indent}{target} = part;\n"
                );
            }
        };
        format!("{indent}if (!{test}) return ff_types_mismatch({what}, \"{expected}\");\n{indent}{target} = {value};\n")
    }
}

/// The types of a module.
struct Types<'a>(&'a Module);

impl Types<'_> {
    fn define(&self, out: &mut String, definition: &Definition, fields: &[Field]) {
        let name = self.named(&definition.name);
        let (mut declared, mut written, mut read) = (String::new(), String::new(), String::new());
        let mut names = Unique::default();
        for field in fields {
            let own = names.name(unreserved(Words::of(&field.name).snake(), RESERVED));
            let (held, nullable) = self.held(&field.shape);
            let (key, may_lack) = (text(&field.name), nullable || !field.required);
            declared.push_str(&docs("    ", &field.docs));
            let _ = writeln!(declared, "    {}{own};", held.of());
            let there = if held.is_pointer() { format!("from->{own}") } else { format!("from->has_{own}") };
            let has = !held.is_pointer() && may_lack;
            if has {
                let _ = writeln!(declared, "    bool has_{own};");
            }
            let json = held.json(&format!("from->{own}"));
            let json = match (held.is_pointer() || has, field.required) {
                (true, true) => format!("{there} ? {json} : cJSON_CreateNull()"),
                _ => json,
            };
            let add = format!("cJSON_AddItemToObject(json, {key}, {json});");
            let only_if = if field.required { String::new() } else { format!("if ({there}) ") };
            let _ = writeln!(written, "    {only_if}{add}");
            let what = text(&format!("{name}.{}", field.name));
            let _ = writeln!(read, "    item = cJSON_GetObjectItemCaseSensitive(json, {key});");
            let is_any = held == Held::Json && !nullable;
            let test = if is_any { "item" } else { "item && !cJSON_IsNull(item)" };
            let _ = write!(read, "    if ({test}) {{\n{}", held.read(&what, &format!("to->{own}"), "        "));
            if has {
                let _ = writeln!(read, "        to->has_{own} = true;");
            }
            read.push_str("    }");
            let _ = match may_lack {
                true => writeln!(read),
                false => writeln!(read, " else {{\n        return ff_types_mismatch({what}, \"there\");\n    }}"),
            };
        }
        if fields.is_empty() {
            declared.push_str("    char none;\n");
        }
        let _ = write!(
            out,
            "
{}struct {name} {{
{declared}}};

static inline cJSON *{name}_json(const {name} *from) {{
    cJSON *json = cJSON_CreateObject();
    (void)from;
{written}    return json;
}}

static inline bool {name}_read(const cJSON *json, {name} *to) {{
    const cJSON *item = json;
    if (!cJSON_IsObject(item)) return ff_types_mismatch({}, \"an object\");
    *to = ({name}){{0}};
{read}    return true;
}}\n",
            docs("", &definition.docs),
            text(&name),
        );
    }

    fn function(&self, out: &mut String, function: &Function) {
        let name = format!("{}_{}", self.0.words.snake(), function.words.snake());
        let param = |words: &Words| unreserved(words.snake(), RESERVED);
        let params = function.params().map(|words| format!("const char *{}, ", param(words)));
        let query = function.query.as_ref().map(|query| (self.whole(query), self.json(query, "query")));
        let typed = query.as_ref().map(|(held, _)| format!("{}query, ", held.of()));
        let params: String = params.chain(typed).collect();
        let (payload, sent) = self.payload(function.takes.as_ref());
        let (format, arguments): (Vec<_>, Vec<_>) = function
            .route
            .iter()
            .map(|part| match part {
                Part::Text(literal) => ("%s", text(literal)),
                Part::Param(words) => ("%s", format!("ff_types_encode({})", param(words))),
            })
            .chain(query.as_ref().map(|(_, json)| ("%s", format!("ff_types_search({json})"))))
            .unzip();
        let call =
            format!("ff_rpc_call(ff_format(\"{}\", {}), {sent}, options)", format.concat(), arguments.join(", "));
        let docs = docs("", &function.docs);
        let Some(gives) = &function.gives else {
            let _ = write!(
                out,
                "\n{docs}static inline const ff_answer *{name}({params}{payload}, const ff_rpc *options) {{\n    return {call};\n}}\n"
            );
            return;
        };
        self.reply(out, &name, gives, "const ff_answer *answer", "answer");
        let parameter = format!("{}*gives", self.whole(gives).of());
        let _ = write!(
            out,
            "
{docs}static inline bool {name}({params}{payload}, {parameter}, const ff_rpc *options) {{
    return {name}_reply({call}, gives);
}}\n"
        );
    }

    fn broadcast(&self, out: &mut String, broadcast: &Broadcast) {
        let name = format!("{}_broadcasts_{}", self.0.words.snake(), broadcast.words.snake());
        let (payload, sent) = self.payload(broadcast.takes.as_ref());
        for (kind, of) in [("emit", "ff_receipt"), ("gather", "ff_entries")] {
            let _ = write!(
                out,
                "
{}static inline const {of} *{name}_{kind}({payload}, const ff_broadcast *options) {{
    ff_broadcast own = options ? *options : (ff_broadcast){{0}};
    own.module = {};
    return ff_broadcast_{kind}({}, {sent}, &own);
}}\n",
                docs("", &broadcast.docs),
                text(&self.0.name),
                text(&broadcast.name),
            );
        }
        if let Some(gives) = &broadcast.gives {
            out.push_str("\n// Reads the answer of one worker. Returns false if the worker has failed.");
            self.reply(out, &name, gives, "const ff_entry *entry", "ff_types_answer(entry)");
        }
    }

    /// The function that reads a reply. `parameter` has it, and `answer` is the expression for it.
    fn reply(&self, out: &mut String, name: &str, gives: &Shape, parameter: &str, answer: &str) {
        let held = self.whole(gives);
        let read = held.read(&text(&format!("the reply of {name}")), "*gives", "    ");
        let _ = write!(
            out,
            "
static inline bool {name}_reply({parameter}, {}*gives) {{
    const ff_answer *found = {answer};
    const cJSON *item = found ? ff_parse(found->body) : NULL;
    if (!item) return false;
{read}    return true;
}}\n",
            held.of(),
        );
    }

    /// The expression for a whole payload as JSON.
    fn json(&self, of: &Shape, value: &str) -> String {
        match self.whole(of) {
            Held::Json => value.to_owned(),
            held => held.json(value),
        }
    }

    /// The parameter for a payload, and the expression for its body.
    fn payload(&self, takes: Option<&Shape>) -> (String, String) {
        let Some(takes) = takes else { return ("ff_body payload".to_owned(), "payload".to_owned()) };
        (format!("{}payload", self.whole(takes).of()), format!("ff_json_body({})", self.json(takes, "payload")))
    }

    /// How C holds a whole payload. There a NULL would not tell `null` from an error.
    fn whole(&self, of: &Shape) -> Held {
        match self.held(of) {
            (_, true) => Held::Json,
            (held, false) => held,
        }
    }

    /// How C holds a value, and whether the value can be `null`.
    fn held(&self, of: &Shape) -> (Held, bool) {
        let mut of = of;
        let mut nullable = false;
        // No chain of names is longer.
        for _ in 0..=self.0.types.len() * 2 {
            let held = match of {
                Shape::Boolean => Held::Bool,
                Shape::Integer => Held::Integer,
                Shape::Number => Held::Number,
                Shape::Text => Held::Text,
                Shape::Nullable(inner) => {
                    (of, nullable) = (inner, true);
                    continue;
                }
                Shape::Named(words) => match self.0.types.iter().find(|definition| definition.name == *words) {
                    Some(Definition { body: Body::Alias(aliased), .. }) => {
                        of = aliased;
                        continue;
                    }
                    Some(Definition { body: Body::Texts(_), .. }) => Held::Text,
                    Some(Definition { name, .. }) => Held::Struct(self.named(name)),
                    None => Held::Json,
                },
                _ => Held::Json,
            };
            return (held, nullable);
        }
        (Held::Json, nullable)
    }

    fn named(&self, words: &Words) -> String {
        format!("{}_{}", self.0.words.snake(), words.snake())
    }
}

fn docs(indent: &str, lines: &[String]) -> String {
    // A backslash at the end of a line would continue the comment.
    lines.iter().map(|line| format!("{indent}// {}\n", line.trim_end_matches('\\'))).collect()
}
