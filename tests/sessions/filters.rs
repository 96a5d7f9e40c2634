//! Filters around the routes of clients' messages.

use super::*;

fn filtered(filters: Value, config: Value) -> TestHost {
    granted().manifest(GUEST, json!({ "filters": filters, "config": config }))
}

fn both() -> Value {
    json!({ "before": ["step", "step"], "after": ["step"] })
}

#[tokio::test]
async fn a_filter_before_passes_facts_to_the_next_steps() {
    let host = filtered(both(), json!({})).start().await;
    let mut socket = host.socket("facts/7").await;
    socket.send("hello").await;
    let facts = socket.json().await;
    assert_eq!(facts["extra"], json!([["sessions.step", "before"], ["sessions.step", "before"]]));
    assert_eq!((&facts["body"], &facts["params"]), (&json!("hello"), &json!([["room", "7"]])));
    let seen = host.sessions_seen().await;
    let extras: Vec<&Value> = seen.iter().map(|one| &one["extra"]).collect();
    assert_eq!(
        extras,
        [&json!([["for", "POST facts"]]), &json!([["sessions.step", "before"], ["for", "POST facts"]]), &json!([])]
    );
    let kinds: Vec<&Value> = seen.iter().map(|one| &one["kind"]).collect();
    assert_eq!(kinds, ["client", "client", "after"]);
    assert!(seen.iter().all(|one| one["session"]["id"] == facts["session"]["id"]), "{seen:?}");
    assert_eq!(host.ended(GUEST, 0, "filter", "ok").await + host.ended(GUEST, 1, "filter", "ok").await, 3.0);
}

#[tokio::test]
async fn a_filter_before_replaces_the_message() {
    let host = filtered(json!({ "before": ["step"] }), json!({ "before": "replace" })).start().await;
    let mut socket = host.socket("echo").await;
    assert_eq!(socket.ask(json!("hello")).await, json!({ "by": "before", "was": "hello" }));
}

#[tokio::test]
async fn a_filter_before_answers_in_place_of_the_route() {
    let host = filtered(both(), json!({ "before": "reply" })).start().await;
    let mut socket = host.socket("echo").await;
    assert_eq!(socket.ask(json!("hello")).await, json!({ "by": "before", "was": "hello" }));
    assert_eq!(host.sessions_seen().await.len(), 1, "no other step runs");
}

#[tokio::test]
async fn a_filter_before_refuses() {
    let host = filtered(both(), json!({ "before": "4444" })).start().await;
    let mut socket = host.socket("echo").await;
    socket.send("hello").await;
    assert_eq!(socket.closed().await, 4444);
}

#[tokio::test]
async fn a_filter_after_replaces_or_refuses_the_reply() {
    for action in ["replace", "reply"] {
        let host = filtered(json!({ "after": ["step"] }), json!({ "after": action })).start().await;
        let mut socket = host.socket("echo").await;
        assert_eq!(socket.ask(json!("hello")).await, json!({ "by": "after", "was": "hello" }), "{action}");
    }
    let host = filtered(json!({ "after": ["step"] }), json!({ "after": "4445" })).start().await;
    let mut socket = host.socket("echo").await;
    socket.send("hello").await;
    assert_eq!(socket.closed().await, 4445, "the reply is withheld");
}

#[tokio::test]
async fn messages_with_filters_start_in_their_order() {
    let host = filtered(json!({ "before": ["step"] }), json!({})).start().await;
    let mut socket = host.socket("echo").await;
    for number in 0..50 {
        socket.send(&number.to_string()).await;
    }
    for _ in 0..50 {
        socket.text().await;
    }
    let seen = host.sessions_seen().await;
    let bodies: Vec<String> = seen.iter().map(|one| one["body"].as_str().unwrap().to_owned()).collect();
    assert_eq!(bodies, (0..50).map(|number: u32| number.to_string()).collect::<Vec<_>>());
}
