//! The values of sessions.

use super::*;

#[tokio::test]
async fn values_are_set_and_removed_together() {
    let host = granted().start().await;
    let (mut client, id) = host.client().await;
    let set = |values: Value| json!({ "do": "set", "session": null, "values": values });
    assert_eq!(client.ask(set(json!([["b", "2"], ["a", "{\"x\":1}"], ["_c", "null"]]))).await, Value::Null);
    let all = client.ask(json!({ "do": "values", "session": null })).await;
    assert_eq!(all, json!([["_c", "null"], ["a", "{\"x\":1}"], ["b", "2"]]));
    assert_eq!(client.ask(json!({ "do": "get", "session": id, "key": "a" })).await, "{\"x\":1}");
    assert_eq!(client.ask(json!({ "do": "get", "session": null, "key": "z" })).await, Value::Null);
    assert_eq!(client.ask(json!({ "do": "remove", "session": null, "keys": ["b", "z"] })).await, Value::Null);
    let write = json!({ "do": "write", "session": id, "set": [["d", "4"]], "remove": ["_c", "d"] });
    assert_eq!(client.ask(write).await, Value::Null);
    let all = client.ask(json!({ "do": "values", "session": null })).await;
    assert_eq!(all, json!([["a", "{\"x\":1}"], ["d", "4"]]));
    assert_eq!(client.ask(json!({ "do": "apply" })).await, Value::Null);
}

#[tokio::test]
async fn a_value_is_json_and_its_name_is_short() {
    let host = granted().start().await;
    let (mut client, _) = host.client().await;
    for (key, text) in [("a", ""), ("a", "{"), ("a", "x"), ("", "1"), (&*"k".repeat(257), "1")] {
        let result = client.ask(json!({ "do": "set", "session": null, "values": [["good", "1"], [key, text]] })).await;
        assert_eq!(error(&result), "invalid", "{key}: {text}");
    }
    assert_eq!(client.ask(json!({ "do": "values", "session": null })).await, json!([]), "all or none");
    let longest = "k".repeat(256);
    let set = json!({ "do": "set", "session": null, "values": [[longest, "1"]] });
    assert_eq!(client.ask(set).await, Value::Null);
}

#[tokio::test]
async fn all_values_of_a_session_have_a_largest_size() {
    let host = granted().config(json!({ "websocket": { "sessionSize": 1_024 } })).start().await;
    let (mut client, _) = host.client().await;
    let set = |bytes: usize| {
        let text = format!("\"{}\"", "x".repeat(bytes - 3));
        json!({ "do": "set", "session": null, "values": [["a", text]] })
    };
    assert_eq!(client.ask(set(1_024)).await, Value::Null);
    let over = client.ask(set(1_025)).await;
    assert_eq!(error(&over), "invalid", "{over}");
    assert!(over["message"].as_str().unwrap().contains("websocket.sessionSize"), "{over}");
    let kept = client.ask(json!({ "do": "get", "session": null, "key": "a" })).await;
    assert_eq!(kept.as_str().unwrap().len(), 1_023, "the previous value");
}
