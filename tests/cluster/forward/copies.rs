//! The copy of a session on another node.

use serde_json::{Value, json};

use super::{call, client, here, pair, seen, set, steps, there};
use crate::harness::Nats;

fn read(what: &str) -> Value {
    json!({ "do": what })
}

#[tokio::test]
async fn a_change_of_the_copy_is_lost_unless_it_is_applied() {
    for nats in Nats::all().await {
        let (front, _back) = pair(&nats).await;
        let mut client = client(&front).await;
        for (key, value) in [("a", json!(1)), ("gone", json!(2)), ("_own", json!(3))] {
            assert_eq!(here(&mut client, set(key, &value)).await, Value::Null);
        }
        let copy = json!([["a", "1"], ["gone", "2"]]);
        assert_eq!(there(&mut client, read("values")).await, copy, "`_own` stays");
        assert_eq!(there(&mut client, json!({ "do": "get", "key": "_own" })).await, Value::Null);
        let changes = [set("a", &json!(10)), json!({ "do": "remove", "keys": ["gone"] }), set("_there", &json!(9))];
        let told = steps(&mut client, &[&changes[..], &[read("values")]].concat()).await;
        assert_eq!(told[3], json!([["_there", "9"], ["a", "10"]]), "the call sees its changes");
        assert_eq!(there(&mut client, read("values")).await, copy, "the next one does not");
        let own = here(&mut client, read("values")).await;
        assert_eq!(own, json!([["_own", "3"], ["a", "1"], ["gone", "2"]]));

        let told = steps(&mut client, &[&changes[..], &[read("apply"), set("b", &json!(4))]].concat()).await;
        assert!(told.iter().all(Value::is_null), "{told:?}");
        assert_eq!(here(&mut client, read("values")).await, json!([["_own", "3"], ["a", "10"]]));
        let blocking = json!([{ "use": set("c", &json!(5)) }, { "blocking": { "do": "apply" } }]);
        assert_eq!(call(&mut client, "sessions.steps", blocking).await["data"], json!([null, null]));
        assert_eq!(here(&mut client, read("values")).await, json!([["_own", "3"], ["a", "10"], ["c", "5"]]));
        assert_eq!(here(&mut client, read("apply")).await, Value::Null, "on its own node there is nothing to do");
    }
}

#[tokio::test]
async fn the_limits_of_values_hold_for_the_copy_and_what_is_applied() {
    let Some(nats) = Nats::start().await else { return };
    let front = super::gate(&nats, "gate-1").config(json!({ "websocket": { "sessionSize": "1KiB" } })).start().await;
    let back = super::chat(&nats, 1).start().await;
    super::all_see(&[&front, &back], &["chat-1"]).await;
    let mut client = client(&front).await;
    assert_eq!(there(&mut client, set("k", &json!("x".repeat(1_021)))).await, Value::Null);
    let refused = there(&mut client, set("k", &json!("x".repeat(1_022)))).await;
    assert_eq!(refused["error"], "invalid", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("websocket.sessionSize allows 1024"), "{refused}");
    // What stays on the frontend counts there, too.
    here(&mut client, set("_own", &json!(1))).await;
    here(&mut client, set("k", &json!(7))).await;
    let told = steps(&mut client, &[set("k", &json!("x".repeat(1_021))), read("apply")]).await;
    assert_eq!((&told[0], &told[1]["error"]), (&Value::Null, &json!("invalid")), "{told:?}");
    assert_eq!(here(&mut client, read("values")).await, json!([["_own", "1"], ["k", "7"]]), "nothing was applied");
}

#[tokio::test]
async fn the_call_binds_and_groups_the_session_itself() {
    let Some(nats) = Nats::start().await else { return };
    let (front, _back) = pair(&nats).await;
    let (mut client, mut other) = (client(&front).await, client(&front).await);
    let id = here(&mut client, read("current")).await["id"].clone();
    let bind = |taken: &str| json!({ "do": "bind", "uid": "ada", "taken": taken });
    let told = steps(&mut client, &[bind("share"), read("current")]).await;
    assert_eq!((&told[0], &told[1]["uid"]), (&Value::Null, &json!("ada")), "the copy follows");
    assert_eq!(here(&mut client, read("current")).await["uid"], "ada");
    assert_eq!(there(&mut client, read("current")).await["uid"], "ada");
    let join = json!({ "do": "join", "group": "room", "sessions": [id] });
    assert_eq!(there(&mut client, join.clone()).await, 1);
    assert_eq!(there(&mut client, join).await, 0, "it is in the group");
    let members = json!({ "do": "members", "group": "room" });
    assert_eq!(here(&mut client, members.clone()).await, json!([id]));
    let leave = json!({ "do": "leave", "group": "room", "sessions": [id] });
    assert_eq!(there(&mut client, leave.clone()).await, 1);
    assert_eq!(there(&mut client, leave).await, 0, "it was not in the group");
    assert_eq!(here(&mut client, members).await, json!([]));
    // Another session takes the user over.
    assert_eq!(there(&mut other, bind("replace")).await, Value::Null);
    assert_eq!(client.closed().await, 4010);
    assert_eq!(there(&mut other, read("unbind")).await, Value::Null);
    assert_eq!(here(&mut other, read("current")).await["uid"], Value::Null);
}

#[tokio::test]
async fn the_call_hears_whether_the_user_is_taken() {
    for nats in Nats::all().await {
        let (front, back) = pair(&nats).await;
        let (mut client, mut other) = (client(&front).await, client(&front).await);
        let bind = |uid: &str, taken: &str| json!({ "do": "bind", "uid": uid, "taken": taken });
        assert_eq!(there(&mut other, bind("ada", "refuse")).await, Value::Null, "the user is free");
        assert_eq!(there(&mut other, bind("ada", "refuse")).await, Value::Null, "it is its own");
        // What was posted before takes effect before, and what is posted afterwards, after it.
        let id = there(&mut client, read("current")).await["id"].clone();
        let send = |name: &str| json!({ "do": "send", "to": { "session": id }, "name": name, "payload": null });
        let list = [
            send("before"),
            bind("bob", "share"),
            bind("ada", "refuse"),
            read("current"),
            bind("eve", "refuse"),
            read("current"),
            send("after"),
        ];
        let list: Vec<Value> = list.iter().map(|step| json!({ "use": step })).collect();
        assert_eq!(call(&mut client, "sessions.steps", json!(list)).await["event"], "before");
        assert_eq!(client.json().await["event"], "after");
        let told = client.json().await["data"].clone();
        assert_eq!(told[2]["error"], "forbidden", "{told}");
        assert_eq!((&told[3]["uid"], &told[5]["uid"]), (&json!("bob"), &json!("eve")), "the copy follows");
        assert_eq!(here(&mut client, read("current")).await["uid"], "eve");
        assert_eq!(here(&mut other, json!({ "do": "find", "uid": "bob" })).await, json!([]));
        let sign = json!({ "do": "authenticate", "claims": "{}" });
        let unsigned = there(&mut client, sign).await;
        assert_eq!(unsigned["error"], "unavailable", "{unsigned}");
        assert!(unsigned["message"].as_str().unwrap().contains("websocket.auth"), "{unsigned}");
        for host in [&front, &back] {
            assert_eq!(host.metric("fanfare_cluster_waiting", &[]).await, 0.0);
        }
    }
}

#[tokio::test]
async fn the_call_gives_its_client_a_token_and_takes_it_away() {
    let Some(nats) = Nats::start().await else { return };
    let auth = json!({ "websocket": { "auth": { "keyFile": crate::socketcluster::key("secret.txt") } } });
    let (front, back) = (super::gate(&nats, "gate-1").config(auth).start().await, super::chat(&nats, 1).start().await);
    super::all_see(&[&front, &back], &["chat-1"]).await;
    let mut client = client(&front).await;
    let sign = json!({ "do": "authenticate", "claims": "{\"sub\":\"ada\"}" });
    let token = call(&mut client, "sessions.use", sign).await;
    assert_eq!(token["event"], "#setAuthToken", "{token}");
    assert_eq!(client.json().await["data"], Value::Null);
    let claims = there(&mut client, read("current")).await["claims"].clone();
    assert!(claims.as_str().unwrap().contains("\"sub\":\"ada\""), "{claims}");
    let removed = call(&mut client, "sessions.use", read("deauthenticate")).await;
    assert_eq!(removed["event"], "#removeAuthToken", "{removed}");
    assert_eq!(client.json().await["data"], Value::Null);
    assert_eq!(here(&mut client, read("current")).await["claims"], Value::Null);
}

#[tokio::test]
async fn filters_and_middlewares_run_with_the_module_and_share_its_copy() {
    let Some(nats) = Nats::start().await else { return };
    let front = super::gate(&nats, "gate-1").start().await;
    let filters = json!({ "filters": { "before": ["step"], "after": ["step"] } });
    let back = super::chat(&nats, 1).manifest("sessions", filters).start().await;
    super::all_see(&[&front, &back], &["chat-1"]).await;
    let mut client = client(&front).await;
    here(&mut client, set("a", &json!(1))).await;
    let facts = call(&mut client, "sessions.facts", json!("x")).await["data"].clone();
    assert_eq!(facts["extra"], json!([["sessions.step", "before"]]), "{facts}");
    let seen = seen(&back).await;
    let kinds: Vec<&Value> = seen.iter().map(|facts| &facts["kind"]).collect();
    assert_eq!(kinds, ["client", "after"], "{seen:?}");
    for facts in &seen {
        assert_eq!(facts["session"]["values"], json!({ "a": 1 }), "{facts}");
    }
}
