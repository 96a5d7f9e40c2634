//! Files of test cases, `*.test.json`: what stands in them, read and checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use fanfare::tooling::config::formats::{self, Label, MethodName};
use fanfare::tooling::config::schema;
use fanfare::tooling::document::shape::Nulls;
use fanfare::tooling::document::source;
use fanfare::tooling::{KeyPath, Node};
use fanfare::{Fault, Faults, Origin};

/// How the names of such files end.
pub const SUFFIX: &str = ".test.json";

/// The most cases of a file.
pub const MOST: usize = 1_024;

/// Calls of a module, and what they must answer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tests {
    /// The schema of this file, for editors. Default none.
    #[serde(rename = "$schema", default)]
    #[expect(dead_code, reason = "only editors read it")]
    pub schema: Option<String>,
    /// Values laid over the module's `config` while these cases run: objects merge, other values replace. Default none.
    #[serde(default)]
    #[schemars(extend("x-free" = true))]
    pub config: Map<String, Value>,
    /// The cases, run in this order in one host, at most 1024. Required.
    #[schemars(extend("maxItems" = MOST))]
    pub cases: Vec<Case>,
}

/// One call or broadcast, and what it must answer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Case {
    /// What it shows, for people. Required.
    pub name: String,
    /// A call of a route. Either this or `broadcast`.
    #[serde(default)]
    pub call: Option<Call>,
    /// A broadcast to every worker. Either this or `call`.
    #[serde(default)]
    pub broadcast: Option<Broadcast>,
    /// What the answer must be; that of every worker, for a broadcast. Default a status below 400.
    #[serde(default)]
    pub expect: Expect,
    #[serde(skip)]
    pub place: Origin,
}

/// A call of a route.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Call {
    /// One of get, post, put, patch and delete, in any case. Default post, else the only one that the route has.
    #[serde(default)]
    #[schemars(with = "Option<MethodName>")]
    pub method: Option<String>,
    /// The path below the module, with its query if it has one; empty is the module's root. Required.
    pub path: String,
    /// Headers of the request; only for calls from `http`. Default none.
    #[serde(default)]
    #[schemars(extend("x-names" = "header"))]
    pub headers: BTreeMap<String, String>,
    /// The body: a string goes out as it is, as `text/plain`, anything else as JSON. Default none.
    #[serde(default, deserialize_with = "given")]
    #[schemars(extend("x-any" = true))]
    pub body: Option<Value>,
    /// Who calls. Default `http`.
    #[serde(default)]
    pub from: From,
}

/// Who makes a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum From {
    /// A client: `inner` routes are closed to it.
    #[default]
    Http,
    /// Another module or the operator: every route is open.
    Inside,
}

/// A broadcast of the module.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Broadcast {
    /// Its name in `module.json`. Required.
    #[schemars(with = "Label")]
    pub name: String,
    /// What it carries: a string goes out as it is, anything else as JSON. Default nothing.
    #[serde(default, deserialize_with = "given")]
    #[schemars(extend("x-any" = true))]
    pub body: Option<Value>,
}

/// What an answer must be: all that is given.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Expect {
    /// The status, 100 to 599. Default one below 400, when `code` is not given either.
    #[schemars(extend("minimum" = 100_u64, "maximum" = 599_u64))]
    pub status: Option<u16>,
    /// The body as JSON: equal, in any order of the keys.
    #[serde(deserialize_with = "given")]
    #[schemars(extend("x-any" = true))]
    pub json: Option<Value>,
    /// A part of the body as JSON: of objects only the keys that stand here count, at any depth.
    #[serde(deserialize_with = "given")]
    #[schemars(extend("x-any" = true))]
    pub has: Option<Value>,
    /// The body as text: equal.
    pub text: Option<String>,
    /// A part of the body as text.
    pub contains: Option<String>,
    /// Headers of the answer: equal, each on its own.
    #[schemars(extend("x-names" = "header"))]
    pub headers: BTreeMap<String, String>,
    /// Why there is no reply: the `code` of the problem document, such as `timeout`, `not-found` or the name of a failure.
    pub code: Option<String>,
}

/// A value that is there, even if it is `null`.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The schema of these files, with our own keywords in it.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| schema::of::<Tests>("*.test.json"));
    &SCHEMA
}

/// The files of a module, by name.
pub fn all(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(dir).map_err(|error| format!("{}: {error}", source::shown(dir)))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(SUFFIX));
    let mut files: Vec<PathBuf> = paths.filter(named).collect();
    files.sort();
    Ok(files)
}

/// Reads a file: all its faults, or cases that can be run.
pub fn load(file: &Path) -> Result<Tests, Faults> {
    from_text(&source::read(file)?, file)
}

/// The same from text in place of the file.
pub fn from_text(text: &str, file: &Path) -> Result<Tests, Faults> {
    let shown = source::shown(file);
    let (tree, mut faults) = source::parse(text, &shown);
    faults.extend(schema::check(&tree, &KeyPath::default(), schema(), Nulls::Plain));
    let cases = tree.get("cases").map(Node::items).unwrap_or_default();
    let mut read = Vec::new();
    for (index, node) in cases.iter().enumerate().take(MOST) {
        let path = KeyPath::of(&["cases"]).index(index);
        if let Some(case) = node.read::<Case>() {
            relations(&case, node, &path, &mut faults);
            read.push(Case { place: node.origin.clone(), ..case });
        }
    }
    if let Some(cases) = tree.get("cases").filter(|node| node.items().is_empty() && faults.is_empty()) {
        faults.push(Fault::new(&cases.origin, "cases", format!("has no case: write one such as {EXAMPLE}")));
    }
    match tree.read::<Tests>() {
        Some(tests) if faults.is_empty() => Ok(Tests { cases: read, ..tests }),
        None if faults.is_empty() => {
            let start = Origin::start_of(&shown);
            Err(Fault::new(&start, "", "cannot be read, and no rule says why: please report this").into())
        }
        _ => Err(faults.sorted()),
    }
}

/// What a first case looks like.
pub const EXAMPLE: &str =
    r#"{ "name": "greets", "call": { "method": "get", "path": "Ada" }, "expect": { "contains": "Ada" } }"#;

/// The rules that the schema does not hold.
fn relations(case: &Case, node: &Node, path: &KeyPath, faults: &mut Faults) {
    let mut fault = |key: &KeyPath, message: &str| {
        let origin = node.get("call").filter(|_| key != path).unwrap_or(node).origin.clone();
        faults.push(Fault::new(&origin, key, message));
    };
    match (&case.call, &case.broadcast) {
        (None, None) => fault(path, "must have `call` or `broadcast`: say what to do"),
        (Some(_), Some(_)) => fault(path, "must have either `call` or `broadcast`, found both: make two cases"),
        (Some(call), None) if call.from == From::Inside && !call.headers.is_empty() => {
            fault(&path.key("call").key("headers"), "calls from inside have no headers: take them away, or `from`");
        }
        (None, Some(_)) if !case.expect.headers.is_empty() => {
            fault(&path.key("expect").key("headers"), "what a broadcast brings has no headers: take them away");
        }
        _ => {}
    }
}

impl Call {
    pub fn method(&self) -> Option<Method> {
        self.method.as_deref().and_then(formats::method)
    }
}

/// A body as it goes out.
pub fn body(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
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
    fn faults_name_the_place_the_key_and_the_way_out() {
        for (case, fault) in [
            (r#"{"call": {"path": ""}}"#, "m.test.json:2:1: cases[0].name: is required"),
            (r#"{"name": "a"}"#, "m.test.json:2:1: cases[0]: must have `call` or `broadcast`: say what to do"),
            (
                r#"{"name": "a", "call": {"path": ""}, "broadcast": {"name": "b"}}"#,
                "m.test.json:2:1: cases[0]: must have either `call` or `broadcast`, found both: make two cases",
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
                "m.test.json:2:23: cases[0].call.headers: calls from inside have no headers: take them away, or `from`",
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
                "m.test.json:2:1: cases[0].expect.headers: what a broadcast brings has no headers: take them away",
            ),
        ] {
            assert_eq!(of_case(case), [fault]);
        }
        assert!(faults(r#"{"cases": []}"#)[0].contains("m.test.json:1:11: cases: has no case: write one such as {"));
        assert_eq!(faults("{}"), ["m.test.json:1:1: cases: is required"]);
    }

    #[test]
    fn a_thousand_and_twenty_four_cases_are_taken_and_no_more() {
        let cases = |count: usize| {
            let case = r#"{"name": "a", "call": {"path": ""}}"#;
            format!("{{\"cases\": [{}]}}", vec![case; count].join(","))
        };
        assert!(faults(&cases(MOST)).is_empty());
        assert_eq!(faults(&cases(MOST + 1)), ["m.test.json:1:11: cases: must have at most 1024 entries, found 1025"]);
    }

    #[test]
    fn any_json_is_a_body_and_an_expectation() {
        for value in ["null", "true", "-1.5", "\"text\"", "[1, {\"a\": null}]", "{\"a\": [1.5]}"] {
            let text = format!(
                r#"{{"cases": [{{"name": "a", "call": {{"path": "", "body": {value}}}, "expect": {{"json": {value}, "has": {value}}}}}]}}"#
            );
            let tests = from_text(&text, Path::new("m.test.json")).unwrap();
            let value: Value = serde_json::from_str(value).unwrap();
            let case = &tests.cases[0];
            assert_eq!(case.call.as_ref().unwrap().body.as_ref(), Some(&value));
            assert_eq!((case.expect.json.as_ref(), case.expect.has.as_ref()), (Some(&value), Some(&value)));
        }
        let none = from_text(r#"{"cases": [{"name": "a", "call": {"path": ""}}]}"#, Path::new("m.test.json")).unwrap();
        assert_eq!((&none.cases[0].call.as_ref().unwrap().body, &none.cases[0].expect), (&None, &Expect::default()));
    }

    #[test]
    fn the_example_is_one() {
        assert_eq!(of_case(EXAMPLE), [""; 0]);
    }
}
