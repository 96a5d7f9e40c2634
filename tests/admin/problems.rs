//! Problem documents of guests' failures.

use serde_json::{Value, json};

use crate::harness::{Answer, Started, TestHost};

async fn failing(host: &Started, target: &str, failure: &Value) -> Answer {
    let path = format!("/v1/modules/echo/call?path=fail&target={target}");
    host.admin("POST", &path, failure.to_string()).await
}

#[tokio::test]
async fn a_guests_failure_is_the_same_problem_as_over_http() {
    let host = TestHost::with("echo").start().await;
    let failure =
        |name: &str| json!({ "name": name, "message": "There is none.", "status": 418, "data": { "pots": [1, 2.50] } });
    for (name, code, kind) in [
        ("out-of-tea", "out-of-tea", "urn:fanfare:out-of-tea"),
        ("no <tea>\n", "no <tea>\n", "urn:fanfare:no%20%3Ctea%3E%0A"),
        ("", "failure", "urn:fanfare:failure"),
    ] {
        let answer = failing(&host, "any", &failure(name)).await;
        assert_eq!((answer.status, answer.code().as_str()), (418, code));
        let document = answer.json();
        assert_eq!((&document["type"], &document["status"]), (&json!(kind), &json!(418)));
        assert_eq!((&document["detail"], &document["data"]), (&json!("There is none."), &failure(name)["data"]));
        let http = host.post("/api/echo/fail", failure(name).to_string()).await.json();
        for field in ["type", "title", "status", "detail", "code", "data"] {
            assert_eq!(document[field], http[field], "{field}");
        }
    }
}

#[tokio::test]
async fn an_entry_contains_the_whole_problem() {
    let host = TestHost::with("echo").and("counts").start().await;
    let failure = json!({ "name": "out-of-tea", "message": "There is none.", "status": 418, "data": [1] });
    for entry in failing(&host, "workers", &failure).await.json().as_array().unwrap() {
        let error = &entry["error"];
        assert_eq!((&error["code"], &error["status"]), (&json!("out-of-tea"), &json!(418)), "{entry}");
        assert_eq!((&error["detail"], &error["data"]), (&json!("There is none."), &json!([1])), "{entry}");
        assert_eq!(error["type"], "urn:fanfare:out-of-tea");
    }
    let gathered = host.gather("counts", "misbehave", r#"{"worker":1,"how":"fail"}"#).await;
    assert_eq!((&gathered[1]["error"]["code"], &gathered[1]["error"]["status"]), (&json!("on-request"), &json!(409)));
}
