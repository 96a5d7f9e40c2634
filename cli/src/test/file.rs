//! Reads and checks files of test cases, `*.test.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::case::{Case, Client, From, Stream};
use super::expected::Expect;
use crate::error::CommandError;
use fanfare::tooling::config::schema;
use fanfare::tooling::document::shape::Nulls;
use fanfare::tooling::document::source;
use fanfare::tooling::{KeyPath, Node};
use fanfare::{Fault, Faults, ValueOrigin};

/// The end of the name of such a file.
pub const SUFFIX: &str = ".test.json";

/// The most cases of a file.
pub const MAX_CASES: usize = 1_024;

/// Test cases of a module: calls and the expected answers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tests {
    /// The schema of this file, for editors. Default none.
    #[serde(rename = "$schema", default)]
    #[expect(dead_code, reason = "only editors read it")]
    pub schema: Option<String>,
    /// Values merged over the module's `config`: objects merge, other values replace. Default none.
    #[serde(default)]
    #[schemars(extend("x-free" = true))]
    pub config: Map<String, Value>,
    /// The values of variables that the module reads (the capability `env`), by the variable's
    /// name. They replace those of `modules.<name>.env` in `fanfare.json`. Default none.
    #[serde(default)]
    #[schemars(extend("x-names" = "variable"))]
    pub env: BTreeMap<String, String>,
    /// The cases, at most 1024. They run in this order in one host. Required.
    #[schemars(extend("maxItems" = MAX_CASES))]
    pub cases: Vec<Case>,
}

/// The schema of these files, with internal keywords.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| schema::of::<Tests>("*.test.json"));
    &SCHEMA
}

/// The files of a module, sorted by name.
pub fn all(dir: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let entries = std::fs::read_dir(dir).map_err(CommandError::at(dir))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SUFFIX));
    let mut files: Vec<PathBuf> = paths.filter(named).collect();
    files.sort();
    Ok(files)
}

/// Reads a file. Returns its cases, or all its faults.
pub fn load(file: &Path) -> Result<Tests, Faults> {
    from_text(&source::read(file)?, file)
}

/// Reads the text of a file.
pub fn from_text(text: &str, file: &Path) -> Result<Tests, Faults> {
    let shown = source::shown(file);
    let (tree, mut faults) = source::parse(text, &shown)?;
    faults.extend(schema::check(&tree, &KeyPath::default(), schema(), Nulls::Plain));
    let cases = tree.get("cases").map(Node::items).unwrap_or_default();
    let mut read = Vec::new();
    for (index, node) in cases.iter().enumerate().take(MAX_CASES) {
        let path = KeyPath::of(&["cases"]).index(index);
        if let Some(case) = node.read::<Case>() {
            relations(&case, node, &path, &mut faults);
            read.push(Case { place: node.origin.clone(), ..case });
        }
    }
    if let Some(cases) = tree.get("cases").filter(|node| node.items().is_empty() && faults.is_empty()) {
        faults.push(Fault::new(&cases.origin, "cases", format!("must have at least one case, such as {EXAMPLE}")));
    }
    match tree.read::<Tests>() {
        Some(tests) if faults.is_empty() => Ok(Tests { cases: read, ..tests }),
        None if faults.is_empty() => {
            let start = ValueOrigin::start_of(&shown);
            Err(Fault::new(&start, "", "cannot be read, although it breaks no rule of the schema; this is a defect of fanfare, please report it").into())
        }
        _ => Err(faults.sorted()),
    }
}

/// An example of a case.
pub const EXAMPLE: &str =
    r#"{ "name": "greets", "call": { "method": "get", "path": "Ada" }, "expect": { "contains": "Ada" } }"#;

/// Checks the rules that the schema cannot express.
fn relations(case: &Case, node: &Node, path: &KeyPath, faults: &mut Faults) {
    let mut fault = |key: &KeyPath, message: &str| {
        let origin = node.get("call").filter(|_| key != path).unwrap_or(node).origin.clone();
        faults.push(Fault::new(&origin, key, message));
    };
    let steps = [
        case.call.is_some(),
        case.broadcast.is_some(),
        case.schedule.is_some(),
        case.stream.is_some(),
        case.emit.is_some(),
        case.receive.is_some(),
        case.client.is_some(),
        case.message.is_some(),
    ];
    match steps.iter().filter(|given| **given).count() {
        0 => {
            fault(path, "must have `call`, `broadcast`, `schedule`, `stream`, `emit`, `receive`, `client` or `message`")
        }
        1 => {}
        _ => fault(
            path,
            "must have one of `call`, `broadcast`, `schedule`, `stream`, `emit`, `receive`, `client` and `message`, found more; write a case for each",
        ),
    }
    if case.call.as_ref().is_some_and(|call| call.from == From::Inside && !call.headers.is_empty()) {
        fault(&path.key("call").key("headers"), "a call from inside has no headers; remove `headers` or `from`");
    }
    if case.broadcast.is_some() && !case.expect.headers.is_empty() {
        fault(&path.key("expect").key("headers"), "the answer to a broadcast has no headers; remove them");
    }
    if case.schedule.is_some() && !case.expect.headers.is_empty() {
        fault(&path.key("expect").key("headers"), "the answer to a schedule has no headers; remove them");
    }
    if (case.emit.is_some() || case.receive.is_some()) && case.expect.reads_body() {
        let why = "an event and a message have no body and no headers as their answer; expect `emitted`, `published` or `events`, or call a route";
        fault(&path.key("expect"), why);
    }
    let expects_answer = case.expect.reads_body() || case.expect.status.is_some() || case.expect.code.is_some();
    if case.message.as_ref().is_some_and(|message| message.event.is_none()) && expects_answer {
        let why = "a message without `event` has no answer; expect the messages of clients, with `received`";
        fault(&path.key("expect"), why);
    }
    if let Some((keys, rule)) = case.broken_client_rule().or_else(|| case.broken_stream_rule()) {
        let key = keys.into_iter().fold(path.clone(), |path, key| path.key(key));
        fault(&key, rule);
    }
}

impl Case {
    /// The first rule about streams that the case breaks, with the key below the case.
    fn broken_stream_rule(&self) -> Option<(Vec<&str>, &'static str)> {
        let of_stream = self.stream.as_ref().and_then(Stream::broken_rule);
        let of_stream = of_stream.map(|(key, rule)| (vec!["stream", key], rule));
        let empty = self.expect.events.iter().find(|(_, events)| events.is_empty()).map(|(name, _)| {
            let rule = "must have at least one event; an event that must not arrive makes the next expected one differ";
            (vec!["expect", "events", name.as_str()], rule)
        });
        of_stream.or(empty)
    }
}

impl Case {
    /// The first rule about clients that the case breaks, with the key below the case.
    fn broken_client_rule(&self) -> Option<(Vec<&str>, &'static str)> {
        let of_client = self.client.as_ref().and_then(Client::broken_rule);
        let of_client = of_client.map(|(key, rule)| (vec!["client", key], rule));
        let empty = self.expect.received.iter().find(|(_, messages)| messages.is_empty()).map(|(name, _)| {
            let rule =
                "must have at least one message; a message that must not arrive makes the next expected one differ";
            (vec!["expect", "received", name.as_str()], rule)
        });
        of_client.or(empty)
    }
}

impl Client {
    /// The first rule that it breaks, with the key below `client`.
    fn broken_rule(&self) -> Option<(&'static str, &'static str)> {
        let is_named = self.name.is_some();
        let connects = is_named || !self.protocols.is_empty() || !self.headers.is_empty() || self.data.get().is_some();
        match (&self.socket, self.protocol, &self.close) {
            (None, None, None) => Some(("socket", "is required, unless there is `protocol` or `close`")),
            (Some(_), Some(_), _) => Some(("protocol", "must not stand with `socket`, which is a plain WebSocket")),
            (Some(_), _, Some(_)) => Some(("close", "must not stand with `socket`; write two cases")),
            (_, Some(_), Some(_)) => Some(("close", "must not stand with `protocol`; write two cases")),
            (None, None, Some(_)) if connects => Some(("close", "must stand alone: it disconnects a client")),
            (_, Some(_), _) if !is_named => Some(("as", "is required with `protocol`: the name of the client")),
            (_, Some(_), _) if !self.protocols.is_empty() => {
                Some(("protocols", "are the sub-protocols of a `socket`; remove them"))
            }
            (_, None, _) if self.data.get().is_some() => Some(("data", "needs `protocol`: a plain WebSocket has none")),
            _ => None,
        }
    }
}

impl Stream {
    /// The first rule that it breaks, with the key below `stream`.
    fn broken_rule(&self) -> Option<(&'static str, &'static str)> {
        let opens =
            self.key.is_some() || self.name.is_some() || self.last_event_id.is_some() || !self.headers.is_empty();
        match (&self.resume, &self.close) {
            (Some(_), Some(_)) => Some(("close", "must not stand with `resume`; write two cases")),
            (Some(_), None) if opens => Some(("resume", "must stand alone: the stream keeps its key and headers")),
            (None, Some(_)) if opens => Some(("close", "must stand alone: it closes a stream that is open")),
            _ => None,
        }
    }
}

impl Expect {
    /// Whether it expects something of the body or of the headers.
    fn reads_body(&self) -> bool {
        let body = [self.json.get().is_some(), self.has.get().is_some(), self.text.is_some(), self.contains.is_some()];
        body.contains(&true) || !self.headers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let faults = from_text(text, Path::new("m.test.json")).err();
        faults.map(|faults| faults.list().iter().map(ToString::to_string).collect()).unwrap_or_default()
    }

    fn of_case(case: &str) -> Vec<String> {
        faults(&format!("{{\"cases\": [\n{case}]}}"))
    }

    #[test]
    fn a_fault_names_the_place_the_key_and_the_remedy() {
        for (case, fault) in [
            (r#"{"call": {"path": ""}}"#, "m.test.json:2:1: cases[0].name: is required"),
            (
                r#"{"name": "a"}"#,
                "m.test.json:2:1: cases[0]: must have `call`, `broadcast`, `schedule`, `stream`, `emit`, `receive`, `client` or `message`",
            ),
            (
                r#"{"name": "a", "call": {"path": ""}, "broadcast": {"name": "b"}}"#,
                "m.test.json:2:1: cases[0]: must have one of `call`, `broadcast`, `schedule`, `stream`, `emit`, `receive`, `client` and `message`, found more; write a case for each",
            ),
            (
                r#"{"name": "a", "stream": {"resume": "a", "key": "b"}}"#,
                "m.test.json:2:1: cases[0].stream.resume: must stand alone: the stream keeps its key and headers",
            ),
            (
                r#"{"name": "a", "stream": {}, "expect": {"events": {"a": []}}}"#,
                "m.test.json:2:1: cases[0].expect.events.a: must have at least one event; an event that must not arrive makes the next expected one differ",
            ),
            (
                r#"{"name": "a", "stream": {"keys": "b"}}"#,
                "m.test.json:2:26: cases[0].stream.keys: unknown key; did you mean \"key\"?",
            ),
            (
                r#"{"name": "a", "call": {"path": "", "metod": "get"}}"#,
                "m.test.json:2:36: cases[0].call.metod: unknown key; did you mean \"method\"?",
            ),
            (
                r#"{"name": "a", "call": {"path": "", "method": "head"}}"#,
                "m.test.json:2:46: cases[0].call.method: must be one of \"get\", \"post\", \"put\", \"patch\" and \"delete\", found \"head\"",
            ),
            (
                r#"{"name": "a", "call": {"path": "", "from": "insid"}}"#,
                "m.test.json:2:44: cases[0].call.from: must be one of \"http\" and \"inside\", found \"insid\"; did you mean \"inside\"?",
            ),
            (
                r#"{"name": "a", "call": {"path": "", "from": "inside", "headers": {"a": "b"}}}"#,
                "m.test.json:2:23: cases[0].call.headers: a call from inside has no headers; remove `headers` or `from`",
            ),
            (
                r#"{"name": "a", "call": {"path": ""}, "expect": {"status": 600}}"#,
                "m.test.json:2:58: cases[0].expect.status: must be at most 599, found 600",
            ),
            (
                r#"{"name": "a", "call": {"path": ""}, "expect": {"txt": "a"}}"#,
                "m.test.json:2:48: cases[0].expect.txt: unknown key; did you mean \"text\"?",
            ),
            (
                r#"{"name": "a", "broadcast": {"name": "b"}, "expect": {"headers": {"a": "b"}}}"#,
                "m.test.json:2:1: cases[0].expect.headers: the answer to a broadcast has no headers; remove them",
            ),
            (
                r#"{"name": "a", "schedule": {"name": "b", "bdy": 1}}"#,
                "m.test.json:2:41: cases[0].schedule.bdy: unknown key; did you mean \"body\"?",
            ),
            (
                r#"{"name": "a", "schedule": {"name": "b"}, "expect": {"headers": {"a": "b"}}}"#,
                "m.test.json:2:1: cases[0].expect.headers: the answer to a schedule has no headers; remove them",
            ),
            (
                r#"{"name": "a", "client": {"as": "b"}}"#,
                "m.test.json:2:1: cases[0].client.socket: is required, unless there is `protocol` or `close`",
            ),
            (
                r#"{"name": "a", "client": {"socket": "b", "close": "b"}}"#,
                "m.test.json:2:1: cases[0].client.close: must not stand with `socket`; write two cases",
            ),
            (
                r#"{"name": "a", "client": {"protocol": 2}}"#,
                "m.test.json:2:1: cases[0].client.as: is required with `protocol`: the name of the client",
            ),
            (
                r#"{"name": "a", "client": {"socket": "b", "data": {}}}"#,
                "m.test.json:2:1: cases[0].client.data: needs `protocol`: a plain WebSocket has none",
            ),
            (
                r#"{"name": "a", "message": {"client": "b"}, "expect": {"text": "c"}}"#,
                "m.test.json:2:1: cases[0].expect: a message without `event` has no answer; expect the messages of clients, with `received`",
            ),
            (
                r#"{"name": "a", "message": {"client": "b"}, "expect": {"received": {"b": []}}}"#,
                "m.test.json:2:1: cases[0].expect.received.b: must have at least one message; a message that must not arrive makes the next expected one differ",
            ),
            (r#"{"name": "a", "receive": {"name": "b"}}"#, "m.test.json:2:26: cases[0].receive.topic: is required"),
            (
                r#"{"name": "a", "emit": {"type": "b"}, "expect": {"text": "c"}}"#,
                "m.test.json:2:1: cases[0].expect: an event and a message have no body and no headers as their answer; expect `emitted`, `published` or `events`, or call a route",
            ),
        ] {
            assert_eq!(of_case(case), [fault]);
        }
        assert!(
            faults(r#"{"cases": []}"#)[0].contains("m.test.json:1:11: cases: must have at least one case, such as {")
        );
        assert_eq!(faults("{}"), ["m.test.json:1:1: cases: is required"]);
    }

    #[test]
    fn a_file_has_at_most_1024_cases() {
        let cases = |count: usize| {
            let case = r#"{"name": "a", "call": {"path": ""}}"#;
            format!("{{\"cases\": [{}]}}", vec![case; count].join(","))
        };
        assert!(faults(&cases(MAX_CASES)).is_empty());
        assert_eq!(
            faults(&cases(MAX_CASES + 1)),
            ["m.test.json:1:11: cases: must have at most 1024 entries, found 1025"]
        );
    }

    #[test]
    fn any_json_can_be_a_body_and_an_expectation() {
        for value in ["null", "true", "-1.5", "\"text\"", "[1, {\"a\": null}]", "{\"a\": [1.5]}"] {
            let text = format!(
                r#"{{"cases": [{{"name": "a", "call": {{"path": "", "body": {value}}}, "expect": {{"json": {value}, "has": {value}}}}}]}}"#
            );
            let tests = from_text(&text, Path::new("m.test.json")).unwrap();
            let value: Value = serde_json::from_str(value).unwrap();
            let case = &tests.cases[0];
            assert_eq!(case.call.as_ref().unwrap().body.get(), Some(&value));
            assert_eq!((case.expect.json.get(), case.expect.has.get()), (Some(&value), Some(&value)));
        }
        let none = from_text(r#"{"cases": [{"name": "a", "call": {"path": ""}}]}"#, Path::new("m.test.json")).unwrap();
        assert_eq!(
            (none.cases[0].call.as_ref().unwrap().body.get(), &none.cases[0].expect),
            (None, &Expect::default())
        );
    }

    #[test]
    fn the_example_is_a_valid_case() {
        assert_eq!(of_case(EXAMPLE), [""; 0]);
    }

    fn stream(text: &str) -> Stream {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_stream_is_named_by_its_key_unless_it_has_a_name() {
        for (text, name) in [
            ("{}", ""),
            (r#"{"key": "a"}"#, "a"),
            (r#"{"key": "a", "as": "b"}"#, "b"),
            (r#"{"resume": "c"}"#, "c"),
            (r#"{"close": "c"}"#, "c"),
        ] {
            assert_eq!((stream(text).name(), stream(text).broken_rule()), (name, None), "{text}");
        }
    }

    #[test]
    fn resume_and_close_stand_alone() {
        for text in [
            r#"{"resume": "a", "close": "a"}"#,
            r#"{"resume": "a", "key": "a"}"#,
            r#"{"close": "a", "headers": {"x": "y"}}"#,
            r#"{"close": "a", "as": "b"}"#,
            r#"{"resume": "a", "lastEventId": "b"}"#,
        ] {
            assert!(stream(text).broken_rule().is_some(), "{text}");
        }
    }
}
