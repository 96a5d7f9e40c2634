//! How a message finds its node: a value of the session, a route of a module, or a hash.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{call, client, gate, here, node_of, set, three};
use crate::cli::project::Project;
use crate::harness::{Nats, Started, eventually};

async fn unrouted(front: &Started) -> f64 {
    front.metric("fanfare_cluster_unrouted_total", &[]).await
}

#[tokio::test]
async fn a_value_of_the_session_names_the_node() {
    let Some(nats) = Nats::start().await else { return };
    let (front, _backs) = three(&nats, json!({ "chat": { "session": "_chat" } })).await;
    let mut client = client(&front).await;
    for (value, why) in [
        (None, "the session has no value `_chat`"),
        (Some(json!(7)), "the value `_chat` of the session is no text"),
        (Some(json!("chat-9")), "node `chat-9` is away, or does not have the module"),
        (Some(json!("gate-1")), "node `gate-1` is away, or does not have the module"),
    ] {
        let before = unrouted(&front).await;
        if let Some(value) = value {
            here(&mut client, set("_chat", &value)).await;
        }
        let error = call(&mut client, "sessions.echo", json!(1)).await["error"].clone();
        assert!(error.to_string().contains("no node of the server type chat for this message"), "{error}");
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(unrouted(&front).await, before + 1.0);
    }
    for number in [1, 2, 1] {
        here(&mut client, set("_chat", &json!(format!("chat-{number}")))).await;
        assert_eq!(node_of(&mut client).await, number);
    }
}

#[tokio::test]
async fn a_route_of_a_module_names_the_node() {
    let Some(nats) = Nats::start().await else { return };
    // The guest replies with the message.
    let (front, _backs) = three(&nats, json!({ "chat": { "module": "gate", "path": "inside/echo" } })).await;
    let mut client = client(&front).await;
    for node in ["chat-1", "chat-2"] {
        let facts = call(&mut client, "sessions.facts", json!(node)).await;
        assert_eq!(facts["data"]["node"], node, "{facts}");
    }
    let error = call(&mut client, "sessions.facts", json!("chat-9")).await["error"].clone();
    assert!(error.to_string().contains("node `chat-9` is away"), "{error}");
    assert_eq!(unrouted(&front).await, 1.0);
    let routed = ["module=\"gate\"", "trigger=\"route\"", "outcome=\"ok\""];
    assert_eq!(front.metric("fanfare_calls_total", &routed).await, 3.0);
}

#[tokio::test]
async fn a_route_function_that_fails_is_the_error_of_the_message() {
    let Some(nats) = Nats::start().await else { return };
    for (router, why) in [
        (json!({ "module": "gate", "path": "nothing" }), "there is no route gate/nothing"),
        (json!({ "module": "gate", "path": "echo" }), "gate/echo"),
        (json!({ "module": "absent", "path": "x" }), "absent"),
    ] {
        let (front, _backs) = three(&nats, json!({ "chat": router })).await;
        let mut client = client(&front).await;
        let error = call(&mut client, "sessions.echo", json!("chat-1")).await["error"].clone();
        assert!(error.to_string().contains("no node of the server type chat"), "{error}");
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(unrouted(&front).await, 1.0);
        let local = call(&mut client, "gate.echo", json!("here")).await;
        assert_eq!(local["data"], "here", "modules of this node go on");
    }
}

#[tokio::test]
async fn without_a_router_a_user_keeps_its_node_on_every_frontend() {
    let Some(nats) = Nats::start().await else { return };
    let (front, backs) = three(&nats, json!({})).await;
    let second = gate(&nats, "gate-2").start().await;
    eventually("gate-2 knows the backends", || async {
        let mut client = client(&second).await;
        call(&mut client, "sessions.echo", json!(1)).await["data"] == 1
            && second.metric("fanfare_cluster_nodes", &[]).await == 4.0
    })
    .await;
    let mut users = Vec::new();
    for number in 0..16 {
        let mut nodes = BTreeSet::new();
        for front in [&front, &second] {
            let mut client = client(front).await;
            let bind = json!({ "do": "bind", "uid": format!("user-{number}"), "taken": "share" });
            assert_eq!(here(&mut client, bind).await, Value::Null);
            nodes.insert(node_of(&mut client).await);
            nodes.insert(node_of(&mut client).await);
            users.push((client, nodes.clone()));
        }
        assert_eq!(nodes.len(), 1, "user-{number} runs on {nodes:?}");
    }
    let used: BTreeSet<_> = users.iter().flat_map(|(_, nodes)| nodes.clone()).collect();
    assert_eq!(used.len(), 2, "both backends have users");
    // A backend that goes moves only its own users.
    let [_stays, gone] = backs;
    gone.stop().await;
    for (client, _) in &mut users {
        assert_eq!(node_of(client).await, 1);
    }
}

#[tokio::test]
async fn routers_that_cannot_work_are_found_by_the_check() {
    let servers = json!({
        "gate": [{ "id": "gate-1", "port": 20_001, "frontend": true, "clientPort": 20_002 }],
        "chat": [{ "id": "chat-1", "port": 20_003 }],
    });
    let check = async |routers: Value| {
        let cluster = json!({ "cluster": { "servers": servers, "routers": routers } });
        let project = Project::with(&["echo"]).config(cluster);
        let checked = project.run(&["check"]).await;
        (checked.code, checked.out + &checked.err)
    };
    let both = "must have `session`, or both `module` and `path`";
    for (routers, why) in [
        (json!({ "chat": {} }), both),
        (json!({ "chat": { "module": "echo" } }), both),
        (json!({ "chat": { "path": "x" } }), both),
        (json!({ "chat": { "session": "a", "module": "echo", "path": "x" } }), both),
        (json!({ "chta": { "session": "a" } }), "did you mean \"chat\""),
        (json!({ "chat": { "sessoin": "a" } }), "session"),
        (json!({ "chat": { "session": "" } }), "cluster.routers.chat.session"),
        (json!({ "chat": { "module": "Echo", "path": "x" } }), "cluster.routers.chat.module"),
    ] {
        let (code, text) = check(routers.clone()).await;
        assert!(code != 0 && text.contains(why), "{routers}: {text}");
    }
    let (code, text) = check(json!({ "chat": { "module": "ehco", "path": "x" } })).await;
    assert!(code == 0 && text.contains("no message of a client finds a node of this type"), "{text}");
    let (code, text) = check(json!({ "chat": { "session": "chatServerId" } })).await;
    assert_eq!(code, 0, "{text}");
}
