//! Arguments, results and failures of handlers.

use std::collections::BTreeMap;

use fanfare_sdk::prelude::*;

#[handler]
async fn body(text: Option<Text>, cx: Context) -> String {
    format!("{:?} {}", text.map(|text| text.0), cx.handler())
}

#[handler(name = "renamed")]
fn other_name(bytes: Bytes) -> Vec<u8> {
    bytes.0
}

#[handler]
fn order(
    cx: Context,
    limit: Query<Option<u8>>,
    Json(list): Json<Vec<u8>>,
    name: Path<String>,
    all: Path<BTreeMap<String, String>>,
) -> (u16, Json<Value>) {
    (201, Json(json!({"limit": *limit, "list": list, "name": *name, "all": *all, "id": cx.id() > 0})))
}

#[handler]
fn twice(_first: Text, _second: Bytes) {}

#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the machine is broken")
    }
}

impl std::error::Error for Broken {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&std::fmt::Error)
    }
}

#[handler]
async fn fails(how: Text) -> Result<()> {
    match how.as_str() {
        "std" => Err(Broken)?,
        "text" => Err("just words")?,
        "boxed" => Err(Box::<dyn std::error::Error + Send + Sync>::from(Broken))?,
        "call" => {
            rpc::call("other/route", ()).await?;
        }
        "nowhere" => {
            rpc::call("nowhere/route", ()).await?;
        }
        _ => return Err(Failure::conflict("taken", "it is taken").with_data(json!({"by": "ada"}))),
    }
    Ok(())
}

#[handler]
async fn own_error() -> Result<&'static str, Broken> {
    Err(Broken)
}

#[handler]
fn value(body: Json<Value>) -> Json<Value> {
    body
}

fanfare_sdk::module!(body, other_name, order, twice, fails, own_error, value);

fn failure(host: &TestHost, route: &str, body: &str) -> Failure {
    host.call(route, body).unwrap_err().failure().unwrap().clone()
}

#[test]
fn names_are_listed_for_describe() {
    use fanfare_sdk::Module as _;
    assert_eq!(Module::HANDLERS, ["body", "renamed", "order", "twice", "fails", "own_error", "value"]);
}

#[test]
fn a_body_may_be_text_bytes_or_missing() {
    let host = TestHost::new(Module);
    assert_eq!(host.call("body", ()).unwrap().text(), "None body");
    assert_eq!(host.call("body", "x").unwrap().text(), "Some(\"x\") body");
    assert_eq!(host.call("body", vec![0xff_u8]).unwrap_err().failure().unwrap().status, 400);
    let reply = host.call("renamed", "text").unwrap();
    assert_eq!(reply.payload, Payload::Bytes(b"text".to_vec()));
}

#[test]
fn arguments_may_be_in_any_order() {
    let host = TestHost::builder(Module).route("PUT {kind}/{name}", "order").start();
    let reply = host.call("PUT a/b%20c?limit=7", json!([1, 2])).unwrap();
    assert_eq!(reply.status, 201);
    assert_eq!(reply.header("Content-Type"), Some("application/json"));
    let expected = json!({"limit": 7, "list": [1, 2], "name": "b c", "all": {"kind": "a", "name": "b c"}, "id": true});
    assert_eq!(reply.json::<Value>().unwrap(), expected);
    assert_eq!(failure(&host, "PUT a/b?limit=x", "[]").name, "invalid-parameter");
    assert_eq!(failure(&host, "PUT a/b", "{}").name, "invalid-body");
    assert_eq!(failure(&host, "PUT a/b", "").message, "the body is empty: this route expects JSON");
}

#[test]
fn two_arguments_that_read_the_body_are_an_error() {
    let host = TestHost::new(Module);
    assert_eq!(failure(&host, "twice", "x").name, "invalid-handler");
}

#[test]
fn every_error_becomes_a_failure() {
    let host = TestHost::builder(Module)
        .answer("other.route", |_| Err(Failure::new("theirs", "no").with_status(418).into()))
        .start();
    let of = |how: &str| {
        let failure = failure(&host, "fails", how);
        (failure.name.clone(), failure.message.clone(), failure.status)
    };
    let is = |name: &str, message: &str, status: u16| (name.to_owned(), message.to_owned(), status);
    let broken = "the machine is broken: an error occurred when formatting an argument";
    assert_eq!(of("std"), is("error", broken, 500));
    assert_eq!(of("boxed"), is("error", broken, 500));
    assert_eq!(of("text"), is("error", "just words", 500));
    assert_eq!(of("call"), is("theirs", "no", 418));
    assert_eq!((of("nowhere").0.as_str(), of("nowhere").2), ("not-found", 404));
    assert_eq!(of("own"), is("taken", "it is taken", 409));
    assert_eq!(failure(&host, "fails", "own").data, Payload::Text(r#"{"by":"ada"}"#.to_owned()));
    assert_eq!(failure(&host, "own_error", "").message, broken);
}

#[test]
fn an_empty_body_is_not_null() {
    let host = TestHost::new(Module);
    assert_eq!(failure(&host, "value", "").name, "invalid-body");
    let refused = host.call("value", ()).unwrap_err();
    assert_eq!(refused.failure().unwrap().message, "the body is empty: this route expects JSON");
    assert_eq!(host.call("value", "null").unwrap().text(), "null");
}

#[test]
fn the_log_has_each_failure_of_the_module_with_status_500_once_with_its_line() {
    let host = TestHost::builder(Module)
        .answer("other.route", |_| Err(Failure::new("theirs", "that call has logged it").into()))
        .start();
    for how in ["std", "call", "nowhere", "own"] {
        failure(&host, "fails", how);
    }
    failure(&host, "own_error", "");
    let source = include_str!("handlers.rs");
    let line = source.lines().position(|line| line.contains("\"std\" => Err(Broken)")).unwrap() + 1;
    let [first, second] = &host.logs()[..] else { panic!("{:?}", host.logs()) };
    assert!(first.message.starts_with("the machine is broken: "), "{first:?}");
    assert!(first.message.ends_with(&format!("tests/handlers.rs:{line})")), "{first:?}");
    assert_eq!(first.fields, [("handler".to_owned(), "fails".to_owned())]);
    assert_eq!(second.fields, [("handler".to_owned(), "own_error".to_owned())]);
    assert!(!second.message.contains(".rs:"), "the SDK converts it: {second:?}");
}

#[test]
fn a_test_can_call_a_handler_as_a_function() {
    assert_eq!(fanfare_sdk::testing::block_on(own_error()).unwrap_err().to_string(), "the machine is broken");
    assert_eq!(other_name(Bytes(vec![1])), [1]);
}
