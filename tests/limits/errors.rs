//! Every error of a call.

use fanfare::tooling::{CallError, Problem};
use serde_json::{Value, json};

use crate::failures::steps::assert_names;
use crate::harness::{Answer, TestHost, json_of};

fn assert_problem(answer: &Answer, status: u16, code: &str, words: &[&str]) {
    assert_eq!((answer.status, answer.code()), (status, code.to_owned()), "{}", answer.text());
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], format!("urn:fanfare:{code}"));
    assert_names(&problem["detail"], words);
}

/// Starts the host with one worker, lets `waits` make a call, and returns the error of that call.
async fn nested(host: TestHost, wanted: Value) -> Value {
    let host = host.workers(1).start().await;
    host.nested(0, wanted).await["error"].clone()
}

fn assert_error(error: &Value, kind: &str, words: &[&str]) {
    assert_eq!(error["kind"], kind, "{error}");
    assert_names(&error["message"], words);
}

pub async fn failure() {
    let host = TestHost::waits_for(&["echo"]).start().await;
    let wanted = json!({ "name": "sold-out", "message": "no more", "status": 409, "data": { "left": 0 } });
    let answer = host.post("/api/echo/fail", wanted.to_string()).await;
    assert_problem(&answer, 409, "sold-out", &["no more"]);
    assert_eq!(answer.json()["data"], json!({ "left": 0 }));

    let error = host.nested(0, json!({ "route": "echo/fail", "payload": wanted })).await["error"].clone();
    assert_error(&error, "failure", &["no more"]);
    assert_eq!((&error["failure"]["name"], &error["failure"]["status"]), (&json!("sold-out"), &json!(409)));
    let ended = host.post("/api/echo/echo", "fine").await;
    assert_eq!(ended.status, 200);
}

pub async fn timed_out() {
    let host = TestHost::with("never").limit("never", "timeout", "50ms").start().await;
    let answer = host.post("/api/never/never", "").await;
    assert_problem(&answer, 504, "timeout", &["no answer by the deadline"]);
}

pub async fn not_found() {
    let echo = || TestHost::waits_for(&["echo"]);
    let error = nested(echo(), json!({ "route": "echo/nothing" })).await;
    assert_error(&error, "not-found", &["there is no route echo/nothing"]);
    let error = nested(echo(), json!({ "route": "echo/echo", "target": { "worker": 7 } })).await;
    assert_error(&error, "not-found", &["there is no worker-7", "1 worker"]);
    let error = nested(echo(), json!({ "route": "echo/echo", "target": "master" })).await;
    assert_error(&error, "not-found", &["there is no module echo in master"]);
    let host = echo().start().await;
    assert_problem(&host.get("/api/echo/nothing").await, 404, "not-found", &["nothing"]);
}

pub async fn forbidden() {
    let host = TestHost::waits_for(&[]).and("echo").start().await;
    let error = host.nested(0, json!({ "route": "echo/echo" })).await["error"].clone();
    assert_error(&error, "forbidden", &["waits", "`rpc` capability for echo", "fanfare grant waits"]);
    assert_problem(&host.post("/api/echo/inner", "").await, 403, "forbidden", &["inner"]);
}

pub async fn overloaded() {
    super::waiting::mailbox().await;
}

pub async fn crashed() {
    let host = TestHost::with("traps").start().await;
    assert_problem(&host.post("/api/traps/trap", "").await, 500, "crashed", &["traps", "`trap`", "unreachable"]);
}

pub async fn unavailable() {
    let host = TestHost::with("traps").max_restarts(0).workers(1).start().await;
    host.post("/api/traps/trap", "").await;
    host.until("traps", 0, "state", "failed").await;
    let answer = host.get("/api/traps/ok").await;
    assert_problem(&answer, 503, "unavailable", &["traps has failed in worker-0", "unreachable"]);
    assert_eq!(answer.header("retry-after"), Some("1"));
}

pub async fn would_deadlock() {
    let host = TestHost::with("serial").start().await;
    let own = json!({ "route": "/ok", "target": { "worker": 0 } });
    let ended = json_of(&host.call("worker-0", "serial", "nested", own.to_string()).await);
    assert_error(&ended["error"], "would-deadlock", &["serial in worker-0", "waits for this one"]);
    let other = json!({ "route": "/ok", "target": { "worker": 1 } });
    let ended = json_of(&host.call("worker-0", "serial", "nested", other.to_string()).await);
    assert_eq!(ended["ok"]["payload"], "ok", "{ended}");
}

pub async fn too_deep() {
    let host = TestHost::with("deep").config(json!({ "calls": { "maxDepth": 5 } })).start().await;
    let dive = async |levels: u32| host.post("/api/deep/dive", levels.to_string()).await.json();
    assert_eq!(dive(5).await, json!({ "reached": 5, "end": null }));
    let over = dive(6).await;
    assert_eq!(over["reached"], 5);
    assert_error(&over["end"]["error"], "too-deep", &["deep", "6 calls deep", "calls.maxDepth allows 5"]);
}

pub async fn invalid() {
    let host = TestHost::waits_for(&["echo"]).limit("echo", "payload", 10).start().await;
    let call = "/v1/modules/echo/call?path=echo";
    assert_eq!(host.admin("POST", call, "1234567890").await.status, 200);
    let answer = host.admin("POST", call, "12345678901").await;
    assert_problem(&answer, 400, "invalid", &["11 bytes", "limits.payload of echo allows 10"]);
    let error = host.nested(0, json!({ "route": "echo/%zz" })).await["error"].clone();
    assert_error(&error, "invalid", &["percent escape"]);
}

/// Only a node of a later version returns an error of a kind that this version does not know.
pub async fn other() {
    let error = CallError::Other("too-late".into(), "The epoch is over.".into());
    let problem = serde_json::to_value(Problem::from(error).into_document()).unwrap();
    assert_eq!((&problem["status"], &problem["code"]), (&json!(502), &json!("too-late")), "{problem}");
    assert_eq!(problem["detail"], "The epoch is over.");
}
