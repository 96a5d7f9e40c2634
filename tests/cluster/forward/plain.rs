//! Messages of plain WebSockets whose route is on other nodes. The sockets belong to the module
//! `gate` of the frontends.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use super::faults::{backend, metric, project};
use super::limits::release;
use super::{call, chat, client, gate, numbers_seen, pair_of, set, three_of};
use crate::cli::project::{Project, pid_of};
use crate::harness::websocket::Received;
use crate::harness::{Connection, Nats, Started, TestHost, WebSocket, eventually, metric_of};

/// Sockets for routes of the backends' module.
fn sockets() -> Value {
    let far = |path: &str| json!({ "module": "sessions", "path": path });
    let paths = ["echo", "use", "steps", "burst", "hold", "fail", "trap", "outside/echo", "nothing"];
    let mut sockets: BTreeMap<String, Value> = paths.iter().map(|path| (format!("far/{path}"), far(path))).collect();
    let facts = json!({ "module": "sessions", "path": "POST facts", "protocols": ["v2", "v1"] });
    sockets.insert("far/facts/{room}".to_owned(), facts);
    json!({ "sockets": sockets })
}

fn front(nats: &Nats) -> TestHost {
    gate(nats, "gate-1").manifest("gate", sockets())
}

async fn pair(nats: &Nats) -> (Started, Started) {
    pair_of(front(nats), chat(nats, 1)).await
}

async fn open(host: &Started, socket: &str) -> WebSocket {
    WebSocket::open(host.http, &format!("/api/gate/far/{socket}")).await
}

/// The messages of plain WebSockets that have failed.
async fn failed(host: &Started) -> f64 {
    host.metric("fanfare_websocket_failed_total", &[]).await
}

async fn has_failed(host: &Started, count: f64) {
    eventually("the message fails", || async { failed(host).await == count }).await;
}

/// Calls functions of `sessions` on a backend, in one call of a client of `far/steps`.
async fn steps(client: &mut WebSocket, steps: &[Value]) -> Value {
    let steps: Vec<Value> = steps.iter().map(|step| json!({ "use": step })).collect();
    client.ask(json!(steps)).await
}

#[tokio::test]
async fn a_message_reaches_a_backend_with_all_its_facts_and_the_reply_comes_back() {
    for nats in Nats::all().await {
        let (front, _back) = pair(&nats).await;
        let protocol = [("sec-websocket-protocol", "v3, v1")];
        let mut client = WebSocket::open_with(front.http, "/api/gate/far/facts/a%2Fb?c=d", &protocol).await;
        assert_eq!(client.protocol.as_deref(), Some("v1"));
        let facts = client.ask(json!("x")).await;
        let told = ["version", "kind", "name", "wantsReply", "query", "params", "body"];
        let params = json!([["room", "a/b"]]);
        let expected = json!([1, "client", "far/facts/{room}", true, "c=d", params, "\"x\""]);
        assert_eq!(json!(told.map(|key| facts[key].clone())), expected, "{facts}");
        let id = facts["messageSession"].as_str().unwrap();
        assert!(id.starts_with("gate-1/"), "{id}");
        assert_eq!((&facts["session"]["id"], &facts["session"]["protocol"]), (&json!(id), &json!("v1")), "{facts}");

        let mut echo = open(&front, "echo").await;
        echo.send("text").await;
        assert_eq!(echo.next().await, Received::Text("text".to_owned()));
        echo.send_bytes(&[0, 159, 255]).await;
        assert_eq!(echo.next().await, Received::Bytes(vec![0, 159, 255]));
        assert_eq!(front.metric("fanfare_cluster_forwarded_total", &[]).await, 3.0);
    }
}

#[tokio::test]
async fn messages_start_in_their_order_over_a_swap_of_both_modules() {
    let Some(nats) = Nats::start().await else { return };
    let back = chat(&nats, 1).manifest("sessions", json!({ "filters": { "before": ["step"] } }));
    let (front, back) = pair_of(front(&nats), back).await;
    let mut client = open(&front, "echo").await;
    let all: Vec<u64> = (1..2_001).collect();
    let flood = async {
        for number in &all {
            client.send(&number.to_string()).await;
        }
        let mut replies = Vec::new();
        for _ in &all {
            replies.push(client.json().await.as_u64().unwrap());
        }
        replies.sort_unstable();
        assert_eq!(replies, all);
    };
    let swaps = async {
        for version in 2..5 {
            for (host, module) in [(&back, "sessions"), (&front, "gate")] {
                host.rewrite(module, json!({ "config": { "version": version } }));
                assert_eq!(host.reload(module).await["outcome"], "swapped");
            }
        }
    };
    tokio::join!(flood, swaps);
    assert_eq!(numbers_seen(&back, "body").await, all, "each once, in order");
    assert_eq!(failed(&front).await, 0.0);
}

#[tokio::test]
async fn messages_to_the_client_arrive_in_their_order_before_the_reply() {
    let Some(nats) = Nats::start().await else { return };
    let (front, _back) = pair(&nats).await;
    let mut client = open(&front, "burst").await;
    client.send("100").await;
    for number in 1..=100 {
        assert_eq!(client.json().await, number);
    }
    assert_eq!(client.text().await, "done");
}

#[tokio::test]
async fn the_session_is_a_copy_and_acts_reach_its_client() {
    let Some(nats) = Nats::start().await else { return };
    let (front, back) = pair(&nats).await;
    let (mut plain, mut cluster) = (open(&front, "steps").await, client(&front).await);
    let read = json!({ "do": "values" });
    let told = steps(&mut plain, &[set("a", &json!(1)), read.clone()]).await;
    assert_eq!(told, json!([null, [["a", "1"]]]));
    assert_eq!(steps(&mut plain, std::slice::from_ref(&read)).await, json!([[]]), "a change of the copy is lost");
    let applied = steps(&mut plain, &[set("a", &json!(2)), json!({ "do": "apply" })]).await;
    assert_eq!(applied, json!([null, null]));
    let bind = json!({ "do": "bind", "uid": "ada", "taken": "share" });
    assert_eq!(steps(&mut plain, &[read, bind]).await, json!([[["a", "2"]], null]));

    // A client of SocketCluster and the backend reach it by its user.
    let push = json!({ "do": "push", "to": [{ "uid": "ada" }], "name": "hi", "payload": "from a client" });
    assert_eq!(call(&mut cluster, "sessions.use", push).await["data"]["reached"], 1);
    assert_eq!(plain.text().await, "from a client");
    let push = json!({ "do": "push", "to": [{ "uid": "ada" }], "name": "hi", "payload": "from a backend" });
    assert_eq!(back.run(0, "sessions", "outside/use", push).await["reached"], 1);
    assert_eq!(plain.text().await, "from a backend");
    let close = json!([{ "use": { "do": "disconnect", "code": 4321, "reason": "enough" } }]);
    plain.send(&close.to_string()).await;
    assert_eq!(plain.closed().await, 4321);
}

#[tokio::test]
async fn a_value_of_the_session_picks_the_backend() {
    let Some(nats) = Nats::start().await else { return };
    let front = front(&nats)
        .manifest("gate", json!({ "hooks": { "connect": { "path": "step" } } }))
        .config(json!({ "cluster": { "routers": { "chat": { "session": "chat" } } } }));
    let (front, _backs) = three_of(&nats, front).await;
    let mut client = open(&front, "facts/1").await;
    client.send("x").await;
    has_failed(&front, 1.0).await;
    assert_eq!(front.metric("fanfare_cluster_unrouted_total", &[]).await, 1.0);
    // The hook of the module with the socket knows the session.
    let mut sessions = Vec::new();
    for worker in 0..2 {
        let seen = front.run(worker, "gate", "seen", Value::Null).await;
        sessions.extend(seen.as_array().unwrap().iter().map(|facts| facts["session"]["id"].clone()));
    }
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    for number in [1, 2, 1] {
        let chosen = json!([["chat", format!("\"chat-{number}\"")]]);
        let set = json!({ "do": "set", "session": sessions[0], "values": chosen });
        assert_eq!(front.run(0, "gate", "outside/use", set).await, Value::Null);
        assert_eq!(client.ask(json!("x")).await["version"], number);
    }
}

#[tokio::test]
async fn a_failure_sends_nothing_and_closes_only_with_a_close_code() {
    let Some(nats) = Nats::start().await else { return };
    let (front, _back) = pair(&nats).await;
    let mut count = 0.0;
    // Routes without the middleware, routes that do not exist, and a crash.
    for socket in ["outside/echo", "nothing", "trap", "fail"] {
        let mut client = open(&front, socket).await;
        for _ in 0..2 {
            client.send("{}").await;
            count += 1.0;
            has_failed(&front, count).await;
        }
        client.close(1000, "").await;
        assert_eq!(client.next().await, Received::Close(1000, String::new()), "{socket}");
    }
    let mut client = open(&front, "fail").await;
    client.send(r#"{ "name": "Out", "message": "go", "close-code": "4567" }"#).await;
    assert_eq!(client.next().await, Received::Close(4567, "go".to_owned()));
}

#[tokio::test]
async fn limits_hold_for_messages_of_plain_web_sockets() {
    let Some(nats) = Nats::configured("max_payload: 65536").await else { return };
    let front = front(&nats).config(json!({ "websocket": { "inFlight": 2, "ackTimeout": "30s" } }));
    let (front, back) = pair_of(front, chat(&nats, 1)).await;
    let mut client = open(&front, "echo").await;
    let fits = "x".repeat(60_000);
    client.send(&fits).await;
    assert_eq!(client.text().await, fits);
    client.send(&"x".repeat(70_000)).await;
    has_failed(&front, 1.0).await;
    assert_eq!(client.ask(json!(1)).await, 1, "it stays open");

    let mut client = open(&front, "hold").await;
    for number in 1..=3 {
        client.send(&number.to_string()).await;
    }
    let holding = async || {
        let mut all = 0;
        for worker in 0..2 {
            all += back.run(worker, "sessions", "holding", Value::Null).await.as_u64().unwrap();
        }
        all
    };
    eventually("two messages run", || async { holding().await == 2 }).await;
    assert_eq!(front.metric("fanfare_websocket_paused_total", &[]).await, 1.0);
    assert_eq!(front.metric("fanfare_cluster_waiting", &[]).await, 2.0);
    for worker in 0..2 {
        back.run(worker, "sessions", "release", Value::Null).await;
    }
    release(&back).await;
    let mut replies = [client.json().await, client.json().await, client.json().await];
    replies.sort_by_key(Value::as_u64);
    assert_eq!(replies, [json!(1), json!(2), json!(3)]);
}

#[tokio::test]
async fn a_killed_backend_fails_what_runs_and_another_one_runs_the_next() {
    let Some(nats) = Nats::start().await else { return };
    let project = project(&nats);
    let mut manifest: Value = serde_json::from_str(&project.read("modules/gate/module.json")).unwrap();
    let all = manifest["sockets"].as_object_mut().unwrap();
    all.extend(sockets()["sockets"].as_object().unwrap().clone());
    fs::write(project.path().join("modules/gate/module.json"), manifest.to_string()).unwrap();
    let gate = project.serve(&["--node", "gate-1"]).await;
    let _first = backend(&project, "chat-1");
    let second = backend(&project, "chat-2");
    let (http, admin) = (gate.http, gate.admin);
    eventually("gate-1 knows both", || async { metric(admin, "fanfare_cluster_nodes").await == 3.0 }).await;
    let (mut held, mut asking) = (Vec::new(), Vec::new());
    let mut on_second = 0;
    for _ in 0..16 {
        let mut client = WebSocket::open(http, "/api/gate/far/hold").await;
        client.send("1").await;
        held.push(client);
        let mut client = WebSocket::open(http, "/api/gate/far/facts/1").await;
        on_second += usize::from(client.ask(json!(1)).await["node"] == "chat-2");
        asking.push(client);
    }
    assert!((1..16).contains(&on_second), "both backends run messages");
    eventually("all wait", || async { metric(admin, "fanfare_cluster_waiting").await == 16.0 }).await;
    let settings: Value = serde_json::from_str(&project.read("fanfare.json")).unwrap();
    let far = settings["cluster"]["servers"]["chat"]["servers"][0]["port"].clone();
    let serving = async |index: usize| {
        let address = format!("127.0.0.1:{}", far[index]).parse().unwrap();
        let answer = Connection::open(address).await.send("GET", "/metrics", &[], "").await;
        metric_of(answer.text(), "fanfare_cluster_serving", &[])
    };
    eventually("all run", || async { serving(0).await + serving(1).await == 16.0 }).await;
    let (kept, lost) = (serving(0).await, serving(1).await);
    assert!(kept > 0.0 && lost > 0.0, "both backends have messages that wait");
    kill_process(pid_of(&second), Signal::KILL).unwrap();
    eventually("those of the killed backend fail", || async {
        metric(admin, "fanfare_websocket_failed_total").await == lost
    })
    .await;
    for client in &mut asking {
        assert_eq!(client.ask(json!(2)).await["node"], "chat-1");
    }
    for client in &mut held {
        client.send("2").await;
    }
    eventually("the other backend runs the next ones", || async { serving(0).await == kept + 16.0 }).await;
    assert_eq!(metric(admin, "fanfare_websocket_failed_total").await, lost, "no other one has failed");
    assert_eq!(metric(admin, "fanfare_websocket_connections").await, 32.0, "all stay open");
}

#[tokio::test]
async fn a_socket_whose_messages_reach_no_route_is_found_by_the_check() {
    let servers = |modules: &str| {
        json!({
            "gate": [{ "id": "gate-1", "port": 20_001, "frontend": true, "clientPort": 20_002, "modules": "gate" }],
            "chat": [{ "id": "chat-1", "port": 20_003, "modules": modules }],
        })
    };
    let nats = "nats://127.0.0.1:4222";
    let alone = json!({});
    let elsewhere = json!({ "nats": nats });
    let served = json!({ "nats": nats, "servers": servers("sessions") });
    let unserved = json!({ "nats": nats, "servers": servers("gate") });
    let fails = "so every message to this socket fails";
    for (cluster, module, path, warning) in [
        (&alone, "sessions", "echo", ""),
        (&served, "sessions", "echo", ""),
        (&elsewhere, "absent", "echo", ""),
        (&alone, "absent", "echo", "sockets.far.module: there is no module absent in "),
        (&served, "absent", "echo", "sockets.far.module: there is no module absent in "),
        (&unserved, "sessions", "echo", "no server of cluster.servers has sessions in its `modules`"),
        (&served, "sessions", "ecko", "sockets.far.path: sessions has no such route; did you mean \"echo\"?"),
        (&elsewhere, "sessions", "outside/echo", "reach only routes with the middleware `session`, so"),
    ] {
        let project = Project::with(&["sessions"]);
        let mut manifest: Value = serde_json::from_str(&project.read("modules/sessions/module.json")).unwrap();
        manifest["sockets"] = json!({ "far": { "module": module, "path": path } });
        let component = fs::read(project.path().join("modules/sessions/sessions.wasm")).unwrap();
        let project = project.file("modules/gate/module.json", manifest.to_string());
        let project = project.file("modules/gate/sessions.wasm", component);
        let granted = json!({ "grants": { "sessions": true } });
        let modules = json!({ "sessions": granted, "gate": granted });
        let checked = project.config(json!({ "cluster": cluster, "modules": modules })).run(&["check"]).await;
        let text = checked.out + &checked.err;
        assert_eq!(checked.code, 0, "{text}");
        assert_eq!(text.contains(fails), !warning.is_empty(), "{module} {path} {cluster}: {text}");
        assert!(text.contains(warning), "{module} {path} {cluster}: {text}");
    }
}
