//! The order of the messages of a client, and how many of them run.

use serde_json::{Value, json};

use super::{all_see, call, chat, client, gate, numbers_seen, send, three};
use crate::cluster::sees;
use crate::harness::{Nats, TestHost, WebSocket, eventually};

/// Sends numbered messages at once, and waits for all answers.
async fn flood(client: &mut WebSocket, name: &str, numbers: std::ops::Range<u64>) {
    for number in numbers.clone() {
        send(client, number, name, json!(number)).await;
    }
    let mut answered = Vec::new();
    for _ in numbers.clone() {
        let answer = client.json().await;
        assert_eq!(answer["rid"], answer["data"], "{answer}");
        answered.push(answer["rid"].as_u64().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, numbers.collect::<Vec<_>>());
}

#[tokio::test]
async fn the_messages_of_a_client_start_in_their_order_over_a_swap_of_the_module() {
    let Some(nats) = Nats::start().await else { return };
    let filters = json!({ "filters": { "before": ["step"] } });
    let (front, back) =
        (gate(&nats, "gate-1").start().await, chat(&nats, 1).manifest("sessions", filters).start().await);
    all_see(&[&front, &back], &["chat-1"]).await;
    let mut client = client(&front).await;
    let swaps = async {
        for version in 2..5 {
            back.rewrite("sessions", json!({ "config": { "version": version } }));
            assert_eq!(back.reload("sessions").await["outcome"], "swapped");
        }
    };
    tokio::join!(flood(&mut client, "sessions.echo", 1..2_001), swaps);
    assert_eq!(numbers_seen(&back, "body").await, (1..2_001).collect::<Vec<_>>(), "each once, in order");
}

#[tokio::test]
async fn a_slow_route_function_changes_no_order() {
    let Some(nats) = Nats::start().await else { return };
    let routers = json!({ "cluster": { "routers": { "chat": { "module": "gate", "path": "inside/hold" } } } });
    let filters = json!({ "filters": { "before": ["step"] } });
    let front = gate(&nats, "gate-1").config(routers).start().await;
    let back = chat(&nats, 1).manifest("sessions", filters).start().await;
    all_see(&[&front, &back], &["chat-1"]).await;
    let mut client = client(&front).await;
    for cid in 1..=20 {
        send(&mut client, cid, &format!("sessions.facts?{cid}"), json!("chat-1")).await;
    }
    let holding = async || {
        let mut all = 0;
        for worker in 0..2 {
            all += front.run(worker, "gate", "holding", Value::Null).await.as_u64().unwrap();
        }
        all
    };
    eventually("all route functions wait", || async { holding().await == 20 }).await;
    for worker in 0..2 {
        front.run(worker, "gate", "release", Value::Null).await;
    }
    for _ in 0..20 {
        let answer = client.json().await;
        assert_eq!(answer["data"]["node"], "chat-1", "{answer}");
    }
    let started = numbers_seen(&back, "query").await;
    assert_eq!(started, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn as_many_messages_of_a_client_run_as_in_flight_allows() {
    let Some(nats) = Nats::start().await else { return };
    let front = gate(&nats, "gate-1").config(json!({ "websocket": { "inFlight": 2 } })).start().await;
    let back = chat(&nats, 1).start().await;
    all_see(&[&front, &back], &["chat-1"]).await;
    let mut client = client(&front).await;
    for cid in 1..=5 {
        send(&mut client, cid, "sessions.hold", json!(cid)).await;
    }
    let holding = async || {
        let mut all = 0;
        for worker in 0..2 {
            all += back.run(worker, "sessions", "holding", Value::Null).await.as_u64().unwrap();
        }
        all
    };
    for held in [2, 2, 1] {
        eventually("the next messages run", || async { holding().await == held }).await;
        assert_eq!(back.metric("fanfare_cluster_serving", &[]).await, held as f64);
        for worker in 0..2 {
            back.run(worker, "sessions", "release", Value::Null).await;
        }
        for _ in 0..held {
            client.json().await;
        }
    }
}

#[tokio::test]
async fn many_clients_of_two_frontends_lose_no_message() {
    let Some(nats) = Nats::start().await else { return };
    let (front, _backs) = three(&nats, json!({})).await;
    let second = gate(&nats, "gate-2").start().await;
    eventually("gate-2 knows the backends", || async { second.metric("fanfare_cluster_nodes", &[]).await == 4.0 })
        .await;
    let mut tasks = Vec::new();
    for number in 0..20 {
        let mut client = client(if number % 2 == 0 { &front } else { &second }).await;
        tasks.push(tokio::spawn(async move { flood(&mut client, "sessions.echo", 1..201).await }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn no_message_overtakes_one_that_waits_for_its_route_function() {
    let Some(nats) = Nats::start().await else { return };
    let routers = json!({ "cluster": { "routers": { "chat": { "module": "gate", "path": "inside/hold" } } } });
    let front = gate(&nats, "gate-1").config(routers).start().await;
    let back = chat(&nats, 1).start().await;
    let play = TestHost::empty().and_as("sessions", "play").config(nats.node("play-1", "play"));
    let play = play.grant("play", json!({ "sessions": true })).start().await;
    for host in [&front, &back, &play] {
        sees(host, &[("gate-1", "gate"), ("chat-1", "sessions"), ("play-1", "play")]).await;
    }
    let (mut client, mut other) = (client(&front).await, client(&front).await);
    send(&mut client, 1, "sessions.facts", json!("chat-1")).await;
    send(&mut client, 2, "play.echo", json!("second")).await;
    // Nor one that fails because its node is away.
    send(&mut client, 3, "sessions.facts", json!("now chat-9")).await;
    send(&mut client, 4, "sessions.facts", json!("now chat-1")).await;
    // The host has read those before this one.
    assert_eq!(call(&mut client, "gate.echo", json!("here")).await["data"], "here");
    let answer = other.ask(json!({ "event": "play.echo", "data": "other", "cid": 3 })).await;
    assert_eq!(answer["data"], "other", "{answer}");
    assert_eq!(front.metric("fanfare_cluster_forwarded_total", &[]).await, 1.0, "only that of the other client");
    for worker in 0..2 {
        front.run(worker, "gate", "release", Value::Null).await;
    }
    let mut answered = Vec::new();
    for _ in 0..4 {
        let answer = client.json().await;
        assert_eq!(answer["error"].is_null(), answer["rid"] != 3, "{answer}");
        answered.push(answer["rid"].clone());
    }
    answered.sort_by_key(Value::as_u64);
    assert_eq!(answered, [json!(1), json!(2), json!(3), json!(4)]);
}

#[tokio::test]
async fn a_message_that_waits_while_its_node_stops_goes_to_another_one() {
    let Some(nats) = Nats::start().await else { return };
    let routers = json!({ "cluster": { "routers": { "chat": { "module": "gate", "path": "inside/hold" } } } });
    let front = gate(&nats, "gate-1").config(routers).start().await;
    let back = chat(&nats, 1).start().await;
    let play = async |id: &str| {
        let host = TestHost::empty().and_as("sessions", "play").config(nats.node(id, "play"));
        host.grant("play", json!({ "sessions": true })).start().await
    };
    let mut plays = vec![play("play-1").await, play("play-2").await];
    for host in [&front, &back] {
        sees(host, &[("gate-1", "gate"), ("chat-1", "sessions"), ("play-1", "play"), ("play-2", "play")]).await;
    }
    let mut client = client(&front).await;
    let picked = call(&mut client, "play.facts", Value::Null).await["data"]["node"].clone();
    send(&mut client, 1, "sessions.echo", json!("chat-1")).await;
    send(&mut client, 2, "play.facts", Value::Null).await;
    // The host has read those before this one.
    assert_eq!(call(&mut client, "gate.echo", json!("here")).await["data"], "here");
    let (stops, stays) = if picked == "play-1" { (0, "play-2") } else { (1, "play-1") };
    plays.remove(stops).stop().await;
    let stopped = picked.as_str().unwrap();
    eventually("the frontend knows", || async {
        let nodes = front.admin("GET", "/v1/nodes", "").await.json();
        !nodes["nodes"].as_array().unwrap().iter().any(|node| node["id"] == stopped)
    })
    .await;
    for worker in 0..2 {
        front.run(worker, "gate", "release", Value::Null).await;
    }
    let answers = [client.json().await, client.json().await];
    let answer = answers.iter().find(|answer| answer["rid"] == 2).unwrap();
    assert_eq!(answer["data"]["node"], stays, "{answer}");
}
