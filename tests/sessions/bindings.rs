//! Sessions that are bound to users.

use super::*;
use crate::harness::eventually;

fn bind(uid: &str, taken: &str) -> Value {
    json!({ "do": "bind", "session": null, "uid": uid, "taken": taken })
}

#[tokio::test]
async fn a_taken_user_is_refused_shared_or_replaced() {
    let host = granted().start().await;
    let ((mut first, first_id), (mut second, second_id)) = (host.client().await, host.client().await);
    assert_eq!(first.ask(bind("ada", "refuse")).await, Value::Null);
    assert_eq!(first.ask(bind("ada", "refuse")).await, Value::Null, "bound to it already");
    assert_eq!(error(&second.ask(bind("ada", "refuse")).await), "forbidden");
    assert_eq!(second.ask(json!({ "do": "current" })).await["uid"], Value::Null);
    assert_eq!(second.ask(bind("ada", "share")).await, Value::Null);
    let mut both = vec![first_id.clone(), second_id.clone()];
    both.sort();
    let mut found: Vec<String> =
        serde_json::from_value(first.ask(json!({ "do": "find", "uid": "ada" })).await).unwrap();
    found.sort();
    assert_eq!(found, both);
    let everywhere = first.ask(json!({ "do": "findAll", "uid": "ada" })).await;
    assert_eq!(everywhere.as_array().unwrap().len(), 2, "{everywhere}");
    assert_eq!(first.ask(json!({ "do": "count" })).await, json!([2, 2]));

    let (mut third, third_id) = host.client().await;
    assert_eq!(third.ask(bind("ada", "replace")).await, Value::Null);
    assert_eq!((first.closed().await, second.closed().await), (4010, 4010));
    assert_eq!(third.ask(json!({ "do": "find", "uid": "ada" })).await, json!([third_id]));
}

#[tokio::test]
async fn a_session_is_bound_to_one_user_until_it_ends() {
    let host = granted().start().await;
    let ((mut first, first_id), (mut second, _)) = (host.client().await, host.client().await);
    first.ask(bind("ada", "refuse")).await;
    first.ask(bind("bob", "refuse")).await;
    assert_eq!(second.ask(bind("ada", "refuse")).await, Value::Null, "ada is free");
    assert_eq!(second.ask(json!({ "do": "find", "uid": "bob" })).await, json!([first_id]));
    assert_eq!(second.ask(json!({ "do": "unbind", "session": null })).await, Value::Null);
    assert_eq!(second.ask(json!({ "do": "unbind", "session": null })).await, Value::Null);
    assert_eq!(second.ask(json!({ "do": "count" })).await, json!([2, 1]));
    drop(first);
    eventually("the end of the session frees its user", || async {
        host.outside(json!({ "do": "find", "uid": "bob" })).await == json!([])
    })
    .await;
    assert_eq!(second.ask(bind("bob", "refuse")).await, Value::Null);
}

#[tokio::test]
async fn the_name_of_a_user_is_short() {
    let host = granted().start().await;
    let (mut client, _) = host.client().await;
    for uid in [String::new(), "u".repeat(257)] {
        assert_eq!(error(&client.ask(bind(&uid, "share")).await), "invalid", "{uid}");
    }
    assert_eq!(client.ask(bind(&"u".repeat(256), "share")).await, Value::Null);
}
