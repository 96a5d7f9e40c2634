//! Messages to clients that are connected to other nodes.

use std::net::SocketAddr;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::cable::Cable;
use super::presence::publish;
use super::sees;
use super::up::free_ports;
use crate::cli::project::{Project, Serving};
use crate::harness::{Connection, Nats, Started, TestHost, WebSocket, eventually, node};
use crate::socketcluster::greet;

pub const GUEST: &str = "sessions";

/// The settings of a node with clients of both protocols.
fn settings(id: &str, nats: &str) -> Value {
    let mut settings = node(id, "gate", nats);
    settings["websocket"] = json!({ "listeners": [{ "path": "/socketcluster/", "module": GUEST }] });
    settings
}

pub fn host(id: &str, nats: &str) -> TestHost {
    TestHost::with(GUEST).grant(GUEST, json!({ "sessions": true })).config(settings(id, nats))
}

/// A node in a process of its own, and its folder.
pub async fn process(id: &str, nats: &str) -> (Project, Serving) {
    let project = Project::with(&[GUEST]).config(settings(id, nats));
    let project = project.config(json!({ "modules": { GUEST: { "grants": { "sessions": true } } } }));
    let serving = project.serve(&[]).await;
    (project, serving)
}

/// Waits until all of these nodes see each other, and nobody else.
pub async fn meet(hosts: &[&Started], ids: &[&str]) {
    let all: Vec<(&str, &str)> = ids.iter().map(|id| (*id, GUEST)).collect();
    for host in hosts {
        sees(host, &all).await;
    }
}

/// The nodes `a-1` and `b-1`.
pub async fn two(nats: &Nats) -> (Started, Started) {
    let (a, b) = (host("a-1", &nats.url()).start().await, host("b-1", &nats.url()).start().await);
    meet(&[&a, &b], &["a-1", "b-1"]).await;
    (a, b)
}

/// Calls a function of `sessions` on a node, without a session.
pub async fn outside(address: SocketAddr, what: Value) -> Value {
    let path = format!("/api/{GUEST}/outside/use");
    Connection::open(address).await.send("POST", &path, &[], what.to_string()).await.json()
}

impl Started {
    pub async fn uses(&self, what: Value) -> Value {
        outside(self.http, what).await
    }

    pub async fn pushes(&self, to: Value, text: &str) -> Value {
        self.uses(push(to, text)).await
    }

    async fn sent_to(&self, node: &str) -> f64 {
        self.metric("fanfare_cluster_sent_total", &[&format!("node=\"{node}\"")]).await
    }
}

/// A push to recipients, one or a list.
pub fn push(to: Value, text: &str) -> Value {
    let to = if to.is_array() { to } else { json!([to]) };
    json!({ "do": "push", "to": to, "name": "note", "payload": text })
}

pub fn send(to: Value, text: &str) -> Value {
    json!({ "do": "send", "to": to, "name": "note", "payload": text })
}

/// A client of a plain WebSocket, and the id of its session.
pub async fn plain(address: SocketAddr) -> (WebSocket, String) {
    let mut socket = WebSocket::open(address, &format!("/api/{GUEST}/use")).await;
    let id = socket.ask(json!({ "do": "current" })).await["id"].as_str().unwrap().to_owned();
    (socket, id)
}

/// A client of SocketCluster, and the id of its session.
pub async fn socketcluster(address: SocketAddr) -> (WebSocket, String) {
    let mut socket = WebSocket::open(address, "/socketcluster/").await;
    greet(&mut socket, Value::Null).await;
    let own = socket.ask(json!({ "event": "use", "data": { "do": "current" }, "cid": 2 })).await;
    (socket, own["data"]["id"].as_str().unwrap().to_owned())
}

pub async fn bind(host: &Started, session: &str, uid: &str) {
    let bound = host.uses(json!({ "do": "bind", "session": session, "uid": uid, "taken": "share" })).await;
    assert_eq!(bound, Value::Null);
}

async fn join(host: &Started, session: &str, group: &str) {
    assert_eq!(host.uses(json!({ "do": "join", "group": group, "sessions": [session] })).await, 1);
}

/// Whether a node knows that it does not reach NATS.
pub async fn is_down(host: &Started) -> bool {
    host.admin("GET", "/v1/nodes", "").await.json()["state"] == "down"
}

pub fn result(reached: u32, unknown: &[&str], silent: &[&str]) -> Value {
    json!({ "reached": reached, "unknown": unknown, "silent": silent })
}

#[tokio::test]
async fn a_push_reaches_each_kind_of_recipient_on_every_node() {
    for nats in Nats::all().await {
        let (a, b) = two(&nats).await;
        let c = host("c-1", &nats.url()).start().await;
        meet(&[&a, &b, &c], &["a-1", "b-1", "c-1"]).await;
        let (mut on_a, a_id) = plain(a.http).await;
        let (mut on_b, b_id) = plain(b.http).await;
        let (mut on_c, c_id) = socketcluster(c.http).await;
        bind(&a, &a_id, "ada").await;
        bind(&b, &b_id, "ada").await;
        join(&b, &b_id, "team").await;
        join(&c, &c_id, "team").await;
        for (to, reached, [to_a, to_b, to_c]) in [
            (json!({ "session": a_id }), 1, [true, false, false]),
            (json!({ "session": b_id }), 1, [false, true, false]),
            (json!({ "session": c_id }), 1, [false, false, true]),
            (json!({ "uid": "ada" }), 2, [true, true, false]),
            (json!({ "uidOn": ["ada", "b-1"] }), 1, [false, true, false]),
            (json!({ "group": "team" }), 2, [false, true, true]),
            (json!("bound"), 2, [true, true, false]),
            (json!("everyone"), 3, [true, true, true]),
        ] {
            for sends in [false, true] {
                let text = format!("{to} {sends}");
                match sends {
                    // The count is that of the node.
                    true => assert_eq!(a.uses(send(to.clone(), &text)).await, u32::from(to_a), "{to}"),
                    false => assert_eq!(a.pushes(to.clone(), &text).await, result(reached, &[], &[]), "{to}"),
                }
                if to_a {
                    assert_eq!(on_a.text().await, text);
                }
                if to_b {
                    assert_eq!(on_b.text().await, text);
                }
                if to_c {
                    assert_eq!(on_c.json().await, json!({ "event": "note", "data": text }));
                }
            }
        }
        let all = json!([
            { "uid": "ada" }, { "uid": "bob" }, { "group": "none" }, { "session": "b-1/nobody" },
            { "session": "d-1/nobody" }, { "session": "nobody" }, { "uidOn": ["ada", "c-1"] },
            { "uidOn": ["ada", "d-1"] }, "bound", { "uid": "bob" }, { "session": b_id },
        ]);
        let unknown = [
            r#"Recipient::Uid("bob")"#,
            r#"Recipient::Group("none")"#,
            r#"Recipient::Session("b-1/nobody")"#,
            r#"Recipient::Session("d-1/nobody")"#,
            r#"Recipient::Session("nobody")"#,
            r#"Recipient::UidOn(("ada", "c-1"))"#,
            r#"Recipient::UidOn(("ada", "d-1"))"#,
        ];
        assert_eq!(a.pushes(all, "many").await, result(5, &unknown, &[]));
        // Nothing else has arrived anywhere: once as a user, once as one that is bound, and once as
        // the session itself.
        assert_eq!([on_a.text().await, on_a.text().await], ["many", "many"]);
        assert_eq!([on_b.text().await, on_b.text().await, on_b.text().await], ["many", "many", "many"]);
        assert_eq!(on_a.ask(json!({ "do": "count" })).await, json!([1, 1]));
        assert_eq!(on_b.ask(json!({ "do": "count" })).await, json!([1, 1]));
        let counted = on_c.ask(json!({ "event": "use", "data": { "do": "count" }, "cid": 3 })).await;
        assert_eq!(counted, json!({ "rid": 3, "data": [1, 0] }));
        let embedded = a.running().push_to_clients([fanfare::Recipient::Bound], "note", "host").await.unwrap();
        assert_eq!((embedded.reached, embedded.unknown.len(), embedded.silent.len()), (2, 0, 0));
        assert_eq!([on_a.text().await, on_b.text().await], ["host", "host"]);
    }
}

#[tokio::test]
async fn a_push_is_one_message_for_each_node_that_may_have_a_recipient() {
    let Some(nats) = Nats::start().await else { return };
    let port = free_ports(3);
    let servers = json!({
        "gate": [{ "id": "g-1", "port": port, "frontend": true, "clientPort": port + 1 }],
        "chat": [{ "id": "k-1", "port": port + 2 }],
    });
    let mut cluster = node("x", "x", &nats.url())["cluster"].clone();
    cluster["servers"] = servers;
    let project = Project::with(&[GUEST]).config(json!({ "cluster": cluster }));
    let project = project.config(json!({ "modules": { GUEST: { "grants": { "sessions": true } } } }));
    let _gate = project.serve(&["--node", "g-1"]).await;
    let mut backend = project.command(&["serve", "--node", "k-1"]);
    let _backend = backend.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
    let (a, b) = two_of(&nats, &["a-1", "b-1", "g-1", "k-1"]).await;
    let mut clients = Vec::new();
    for number in 0..20 {
        let (client, id) = plain(b.http).await;
        bind(&b, &id, &format!("user-{number}")).await;
        clients.push((client, id));
    }
    let users: Vec<Value> = (0..20).map(|number| json!({ "uid": format!("user-{number}") })).collect();
    let sessions: Vec<Value> = clients.iter().map(|(_, id)| json!({ "session": id })).collect();
    let counts = async || [a.sent_to("b-1").await, a.sent_to("g-1").await, a.sent_to("k-1").await];
    for (to, [to_b, to_g]) in [
        (json!(users), [1.0, 1.0]),
        (json!("everyone"), [1.0, 1.0]),
        (json!({ "group": "none" }), [1.0, 1.0]),
        (json!(sessions), [1.0, 0.0]),
        (json!({ "uidOn": ["user-1", "b-1"] }), [1.0, 0.0]),
        (json!({ "uidOn": ["user-1", "k-1"] }), [0.0, 0.0]),
        (json!({ "uidOn": ["user-1", "a-1"] }), [0.0, 0.0]),
        (json!({ "session": "a-1/nobody" }), [0.0, 0.0]),
    ] {
        let before = counts().await;
        a.pushes(to.clone(), "x").await;
        let after = counts().await;
        // A backend has no clients, and is never asked.
        assert_eq!([after[0] - before[0], after[1] - before[1], after[2]], [to_b, to_g, 0.0], "{to}");
    }
    for (client, _) in &mut clients {
        assert_eq!([client.text().await, client.text().await, client.text().await], ["x", "x", "x"]);
    }
}

/// The nodes `a-1` and `b-1`, once they see all of these nodes.
async fn two_of(nats: &Nats, ids: &[&str]) -> (Started, Started) {
    let (a, b) = (host("a-1", &nats.url()).start().await, host("b-1", &nats.url()).start().await);
    meet(&[&a, &b], ids).await;
    (a, b)
}

#[tokio::test]
async fn pushes_and_messages_of_one_caller_arrive_in_their_order() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = two(&nats).await;
    let (mut client, id) = plain(b.http).await;
    bind(&b, &id, "ada").await;
    let host = a.running();
    let to = [
        fanfare::Recipient::Session(id.clone()),
        fanfare::Recipient::Uid("ada".to_owned()),
        fanfare::Recipient::Everyone,
    ];
    let mut pushes = Vec::new();
    for number in 0..600 {
        let (to, text) = (to[number % 3].clone(), number.to_string());
        if number % 2 == 0 {
            assert_eq!(host.send_to_clients(to, "note", text).unwrap(), 0);
        } else {
            let mut push = Box::pin(host.push_to_clients([to], "note", text));
            // It is on its way now, and waits for its answer.
            if futures_util::poll!(&mut push).is_pending() {
                pushes.push(push);
            }
        }
    }
    for pushed in futures_util::future::join_all(pushes).await {
        assert_eq!(pushed.unwrap().reached, 1);
    }
    for number in 0..600 {
        assert_eq!(client.text().await, number.to_string());
    }
}

#[tokio::test]
async fn a_frozen_node_is_silent_and_delays_a_push_until_it_counts_as_gone() {
    let Some(nats) = Nats::start().await else { return };
    let a = host("a-1", &nats.url()).start().await;
    let (_project, b) = process("b-1", &nats.url()).await;
    meet(&[&a], &["a-1", "b-1"]).await;
    let (mut on_a, _) = plain(a.http).await;
    let (mut on_b, b_id) = plain(b.http).await;
    b.freeze().await;
    let to = json!(["everyone", { "session": b_id }, { "uid": "ada" }]);
    let pushed = a.pushes(to, "frozen").await;
    // Nobody has answered for the session, so that it is not unknown.
    assert_eq!(pushed, result(1, &[r#"Recipient::Uid("ada")"#], &["b-1"]));
    assert_eq!(on_a.text().await, "frozen");
    assert_eq!(a.metric("fanfare_cluster_silent_total", &[]).await, 1.0);
    b.signal(Signal::CONT);
    meet(&[&a], &["a-1", "b-1"]).await;
    // It has read what arrived for it.
    assert_eq!([on_b.text().await, on_b.text().await], ["frozen", "frozen"]);
    assert_eq!(a.pushes(json!("everyone"), "again").await, result(2, &[], &[]));
    assert_eq!(on_b.text().await, "again");
}

#[tokio::test]
async fn the_clients_of_a_killed_node_are_unknown_at_once() {
    let Some(nats) = Nats::start().await else { return };
    let a = host("a-1", &nats.url()).start().await;
    let (_project, b) = process("b-1", &nats.url()).await;
    meet(&[&a], &["a-1", "b-1"]).await;
    let (mut on_b, b_id) = plain(b.http).await;
    let ada = json!({ "do": "bind", "session": b_id, "uid": "ada", "taken": "share" });
    assert_eq!(outside(b.http, ada).await, Value::Null);
    let to = json!([{ "session": b_id }, { "uid": "ada" }]);
    assert_eq!(a.pushes(to.clone(), "one").await, result(2, &[], &[]));
    assert_eq!([on_b.text().await, on_b.text().await], ["one", "one"]);
    b.signal(Signal::KILL);
    on_b.ended().await;
    // Until it counts as gone, nobody receives for it.
    let begun = std::time::Instant::now();
    let pushed = a.pushes(to.clone(), "two").await;
    assert!(pushed["silent"] == json!(["b-1"]) || pushed["silent"] == json!([]), "{pushed}");
    assert!(begun.elapsed().as_millis() < 5_000);
    meet(&[&a], &["a-1"]).await;
    let unknown = [format!("Recipient::Session(\"{b_id}\")"), "Recipient::Uid(\"ada\")".to_owned()];
    assert_eq!(a.pushes(to, "three").await, result(0, &unknown.each_ref().map(|text| &**text), &[]));
}

#[tokio::test]
async fn without_nats_a_push_reaches_the_own_clients_and_names_the_other_nodes() {
    let Some(mut nats) = Nats::start().await else { return };
    let (a, b) = two(&nats).await;
    let (mut on_a, a_id) = plain(a.http).await;
    let (mut on_b, b_id) = plain(b.http).await;
    bind(&a, &a_id, "ada").await;
    nats.kill();
    eventually("a has noticed", || is_down(&a)).await;
    for gone in [false, true] {
        if gone {
            // Also when the other nodes count as gone.
            meet(&[&a], &["a-1"]).await;
        }
        assert_eq!(a.pushes(json!("everyone"), "alone").await, result(1, &[], &["b-1"]));
        let to = json!([{ "uid": "ada" }, { "session": b_id }]);
        assert_eq!(a.pushes(to, "both").await, result(1, &[], &["b-1"]));
        assert_eq!(a.uses(send(json!("everyone"), "sent")).await, 1);
        assert_eq!([on_a.text().await, on_a.text().await, on_a.text().await], ["alone", "both", "sent"]);
        // What is for this node alone concerns nobody else.
        assert_eq!(a.pushes(json!({ "session": a_id }), "own").await, result(1, &[], &[]));
        assert_eq!(on_a.text().await, "own");
    }
    bind(&b, &b_id, "bob").await;
    nats.run().await;
    // Until the nodes have met again, this one does not take what it does not know for unknown.
    loop {
        let pushed = a.pushes(json!({ "uid": "bob" }), "healed").await;
        if pushed == result(1, &[], &[]) {
            break;
        }
        assert_eq!(pushed["silent"], json!(["b-1"]), "{pushed}");
        let found = a.uses(json!({ "do": "findAll", "uid": "bob" })).await;
        assert!(found["error"] == "unavailable" || found[0]["id"] == json!(b_id), "{found}");
    }
    assert_eq!(on_b.text().await, "healed");
    meet(&[&a, &b], &["a-1", "b-1"]).await;
    assert_eq!(a.pushes(json!("everyone"), "all").await, result(2, &[], &[]));
    assert_eq!([on_a.text().await, on_b.text().await], ["all", "all"]);
}

#[tokio::test]
async fn a_cut_network_ends_a_push_within_the_time_of_a_silent_node() {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::to(nats.address(), std::time::Duration::ZERO).await;
    let a = host("a-1", &nats.url()).start().await;
    let b = host("b-1", &format!("nats://{}", cable.address)).start().await;
    meet(&[&a, &b], &["a-1", "b-1"]).await;
    let ((mut on_a, _), (mut on_b, _)) = (plain(a.http).await, plain(b.http).await);
    cable.pull();
    let (from_a, from_b) = tokio::join!(a.pushes(json!("everyone"), "a"), b.pushes(json!("everyone"), "b"));
    assert_eq!([from_a, from_b], [result(1, &[], &["b-1"]), result(1, &[], &["a-1"])]);
    assert_eq!([on_a.text().await, on_b.text().await], ["a", "b"]);
    cable.plug_in();
    meet(&[&a, &b], &["a-1", "b-1"]).await;
    eventually("both are reached again", || async { a.pushes(json!("everyone"), "c").await["reached"] == 2 }).await;
}

#[tokio::test]
async fn a_node_that_stops_still_receives_for_its_clients() {
    let Some(nats) = Nats::start().await else { return };
    let a = host("a-1", &nats.url()).start().await;
    let patient = json!({ "shutdown": { "drain": "15s", "linger": "15s" } });
    let b = host("b-1", &nats.url()).config(patient).limit(GUEST, "timeout", "15s").workers(1).start().await;
    meet(&[&a, &b], &["a-1", "b-1"]).await;
    let mut held = WebSocket::open(b.http, &format!("/api/{GUEST}/hold")).await;
    held.send("x").await;
    let address = b.http;
    let call = async |path: &str| {
        Connection::open(address).await.send("POST", &format!("/api/{GUEST}/{path}"), &[], "").await.json()
    };
    eventually("the message runs", || async { call("holding").await == 1 }).await;
    let (stopped, ()) = tokio::join!(b.stop(), async {
        // Calls go elsewhere from now on.
        meet(&[&a], &["a-1"]).await;
        assert_eq!(a.pushes(json!("everyone"), "late").await, result(1, &[], &[]));
        assert_eq!(held.text().await, "late");
        call("release").await;
        held.ended().await;
    });
    assert_eq!(stopped, fanfare::Stopped::Clean);
}

#[tokio::test]
async fn a_node_with_another_version_of_the_protocol_is_silent() {
    let Some(nats) = Nats::start().await else { return };
    let (a, _b) = two(&nats).await;
    let (_on_a, _) = plain(a.http).await;
    let beat = json!({ "version": 250, "node": "z-1", "boot": "x", "since": 1, "revision": 1, "phase": "here" });
    let beat = beat.to_string();
    for (to, reached) in [(json!({ "session": "z-1/x" }), 0), (json!("everyone"), 1)] {
        eventually("z-1 is silent", || async {
            publish(&nats, "fanfare.nodes", &beat);
            a.pushes(to.clone(), "x").await == result(reached, &[], &["z-1"])
        })
        .await;
    }
}
