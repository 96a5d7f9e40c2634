//! `fanfare cluster up`, `stop`, `remove` and `send`, with real processes from one folder.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::Child;

use crate::cli::project::{Project, pid_of};
use crate::harness::{Connection, Nats, eventually};

/// Free ports that follow each other, outside the range from which the system takes ports.
pub(super) fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let seed = (std::process::id() % 1_000) as u16 * 10;
    loop {
        let first = 20_000 + (seed + NEXT.fetch_add(count, Relaxed)) % 10_000;
        let bound: Vec<_> = (first..first + count).map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))).collect();
        if bound.iter().all(Result::is_ok) {
            return first;
        }
    }
}

/// A running `fanfare cluster up`. Dropping it kills the process.
struct Up {
    child: Child,
    log: PathBuf,
}

impl Up {
    fn start(project: &Project, args: &[&str]) -> Up {
        let log = project.path().join("up.log");
        let file = File::create(&log).unwrap();
        let mut command = project.command(&["cluster", "up"]);
        command.args(args).stdout(file.try_clone().unwrap()).stderr(file);
        Up { child: command.spawn().unwrap(), log }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    async fn says(&self, text: &str) {
        eventually(text, || async { self.text().contains(text) }).await;
    }

    /// The process that a server has now.
    fn process(&self, id: &str) -> Pid {
        let text = self.text();
        let of = |line: &str| line.trim_start().strip_prefix(id)?.split_once("| starts as process ")?.1.parse().ok();
        let last = text.lines().rev().find_map(of).unwrap_or_else(|| panic!("no process of {id}: {text}"));
        Pid::from_raw(last).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(pid_of(&self.child), signal).unwrap();
    }

    async fn ended(&mut self) -> ExitStatus {
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("it does not end: {}", self.text())).unwrap()
    }
}

async fn is_gone(process: Pid) {
    let stat = format!("/proc/{}/stat", process.as_raw_nonzero());
    // A process that nobody waits for stays as a zombie in a container.
    let gone = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    eventually("the process is gone", || async { gone() }).await;
}

/// A frontend `gate-1` and the backends `chat-1` and `chat-2`, which serve `echo` only.
fn three(port: u16) -> Value {
    json!({
        "gate": [{ "id": "gate-1", "port": port, "frontend": true, "clientPort": port + 1, "weight": 3 }],
        "chat": { "modules": "echo", "servers": [{ "id": "chat-", "idStart": 1, "port": [port + 2, port + 3] }] },
    })
}

pub(super) fn project(nats: Option<&Nats>, servers: Value) -> Project {
    let mut cluster = nats.map_or_else(|| json!({}), |nats| nats.node("x", "x")["cluster"].clone());
    cluster["servers"] = servers;
    Project::with(&["echo", "waits"]).config(json!({
        "cluster": cluster, "workers": 1,
        "modules": { "waits": { "grants": { "rpc": ["echo", "serial", "counts"], "broadcast": ["counts"] } } },
    }))
}

async fn nodes(project: &Project) -> Vec<Value> {
    let listed = project.run(&["cluster", "list", "--json"]).await;
    if listed.code != 0 { Vec::new() } else { listed.json()["nodes"].as_array().unwrap().clone() }
}

/// Waits until a running node knows exactly these.
async fn sees(project: &Project, ids: &[&str]) -> Vec<Value> {
    eventually(&format!("the nodes {ids:?}"), || async {
        let listed = nodes(project).await;
        let has = |id: &&str| listed.iter().any(|node| node["id"] == **id && node["modules"].get("echo").is_some());
        listed.len() == ids.len() && ids.iter().all(has)
    })
    .await;
    nodes(project).await
}

#[tokio::test]
async fn three_servers_of_two_types_run_from_one_folder() {
    let Some(nats) = Nats::start().await else { return };
    let port = free_ports(4);
    let project = project(Some(&nats), three(port));
    let mut up = Up::start(&project, &[]);
    let listed = sees(&project, &["chat-1", "chat-2", "gate-1"]).await;
    let facts: Vec<_> = listed.iter().map(|node| json!([node["server"], node["frontend"], node["settings"]])).collect();
    let chat = json!(["chat", false, {}]);
    assert_eq!(facts, [chat.clone(), chat, json!(["gate", true, { "weight": 3 }])]);
    let waits: Vec<bool> = listed.iter().map(|node| node["modules"].get("waits").is_some()).collect();
    assert_eq!(waits, [false, false, true], "`modules` says what a server serves");
    for id in ["chat-1", "chat-2", "gate-1"] {
        assert!(project.path().join("state").join(id).join("lock").exists(), "{id} has its own state");
        assert!(!project.path().join("state").join(id).join("cache").exists(), "the cache is shared");
    }
    let mut clients = Connection::open(([127, 0, 0, 1], port + 1).into()).await;
    assert_eq!(clients.send("GET", "/api/echo/who", &[], "").await.status, 200);
    assert!(up.text().contains("chat-1 | fanfare serves other nodes"), "{}", up.text());

    // Through any node, to any node.
    for node in ["gate-1", "chat-1", "chat-2"] {
        let sent = project.run(&["cluster", "send", "chat-2", "echo", "echo", "{\"a\":1}", "--node", node]).await;
        assert_eq!((sent.code, sent.out.trim()), (0, "{\"a\":1}"), "{}", sent.err);
        assert!(sent.host.starts_with(&format!("host {node} in ")), "{}", sent.host);
    }
    let sent = project.run(&["cluster", "send", "chat-2", "waits", "ok"]).await;
    assert!(sent.code == 1 && sent.err.contains("not-found"), "{}", sent.err);
    let sent = project.run(&["cluster", "send", "chat-9", "echo", "echo"]).await;
    assert!(sent.code == 1 && sent.err.contains("there is no node chat-9"), "{}", sent.err);

    // A server that dies starts again; one that was removed does not.
    let first = up.process("chat-1");
    kill_process(first, Signal::KILL).unwrap();
    up.says("chat-1 | died (signal: 9 (SIGKILL)); starts again in 0ns").await;
    eventually("chat-1 is another process", || async {
        let listed = nodes(&project).await;
        let pid = listed.iter().find(|node| node["id"] == "chat-1").and_then(|node| node["pid"].as_i64());
        pid.is_some_and(|pid| pid != i64::from(first.as_raw_nonzero().get()))
    })
    .await;
    sees(&project, &["chat-1", "chat-2", "gate-1"]).await;
    let removed = project.run(&["cluster", "remove", "chat-1~2", "--node", "gate-1"]).await;
    assert_eq!((removed.code, removed.out.as_str()), (0, "chat-1 stops\nchat-2 stops\n"), "{}", removed.err);
    up.says("chat-1 | has stopped").await;
    up.says("chat-2 | has stopped").await;
    sees(&project, &["gate-1"]).await;
    assert_eq!(up.text().matches("starts again").count(), 1, "{}", up.text());
    let unknown = project.run(&["cluster", "remove", "chat-1"]).await;
    assert!(unknown.code == 1 && unknown.err.contains("is no server and no server type: there are gate, gate-1"));

    let gate = up.process("gate-1");
    up.signal(Signal::INT);
    assert_eq!(up.ended().await.code(), Some(0), "{}", up.text());
    is_gone(gate).await;
}

#[tokio::test]
async fn ctrl_c_stops_the_frontends_first() {
    let port = free_ports(4);
    let project = project(None, three(port));
    let mut up = Up::start(&project, &["gate", "chat-1"]);
    for id in ["gate-1", "chat-1"] {
        up.says(&format!("{id} |       operator http")).await;
    }
    assert!(up.text().contains("warning: cluster.nats is not set"), "{}", up.text());
    assert!(!up.text().contains("chat-2 |"), "only those that are named: {}", up.text());
    let status = project.run(&["status", "--node", "chat-1"]).await;
    assert!(status.host.starts_with("host chat-1 in "), "{} {}", status.host, status.err);
    up.signal(Signal::INT);
    assert_eq!(up.ended().await.code(), Some(0), "{}", up.text());
    let text = up.text();
    let begins = text.lines().position(|line| line.starts_with("chat-1 |") && line.contains("draining"));
    let gone = text.lines().position(|line| line.starts_with("gate-1 | has stopped"));
    assert!(gone.is_some() && gone < begins, "{text}");
}

#[tokio::test]
async fn a_command_that_is_killed_leaves_no_server() {
    let port = free_ports(4);
    let project = project(None, three(port));
    let mut up = Up::start(&project, &[]);
    let ids = ["chat-1", "chat-2", "gate-1"];
    for id in ids {
        up.says(&format!("{id} |       operator http")).await;
    }
    let processes = ids.map(|id| up.process(id));
    up.signal(Signal::KILL);
    up.ended().await;
    for process in processes {
        is_gone(process).await;
    }
}

#[tokio::test]
async fn stop_ends_all_servers_and_the_command() {
    let Some(nats) = Nats::start().await else { return };
    let project = project(Some(&nats), three(free_ports(4)));
    let mut up = Up::start(&project, &[]);
    sees(&project, &["chat-1", "chat-2", "gate-1"]).await;
    let stopped = project.run(&["cluster", "stop", "--node", "chat-1"]).await;
    let expected = "gate-1 stops\nchat-2 stops\nchat-1 stops\n";
    assert_eq!((stopped.code, stopped.out.as_str()), (0, expected), "{}", stopped.err);
    assert_eq!(up.ended().await.code(), Some(0), "{}", up.text());
    assert!(!up.text().contains("starts again"), "{}", up.text());
}

#[tokio::test]
async fn servers_that_no_nats_connects_are_stopped_too() {
    let project = project(None, three(free_ports(4)));
    let mut up = Up::start(&project, &[]);
    for id in ["chat-1", "chat-2", "gate-1"] {
        up.says(&format!("{id} |       operator http")).await;
    }
    let unknown = project.run(&["cluster", "stop", "--node", "chat-9"]).await;
    let says = unknown.err.contains("must be the id of a server in cluster.servers, found \"chat-9\"");
    assert!(unknown.code == 1 && says, "no other server answers in its place: {}", unknown.err);
    let removed = project.run(&["cluster", "remove", "chat-2"]).await;
    assert_eq!((removed.code, removed.out.as_str()), (0, "chat-2 stops\n"), "{}", removed.err);
    up.says("chat-2 | has stopped").await;
    let stopped = project.run(&["cluster", "stop", "--node", "chat-1"]).await;
    assert_eq!((stopped.code, stopped.out.as_str()), (0, "gate-1 stops\nchat-1 stops\n"), "{}", stopped.err);
    assert_eq!(up.ended().await.code(), Some(0), "{}", up.text());
}

#[tokio::test]
async fn a_server_that_dies_too_often_is_given_up() {
    let port = free_ports(2);
    let servers =
        json!({ "m": [{ "id": "bad", "port": port, "args": "--nonsense" }, { "id": "good", "port": port + 1 }] });
    let project = project(None, servers).config(json!({ "isolate": { "maxRestarts": 2, "restartBackoff": "1ms" } }));
    let mut up = Up::start(&project, &[]);
    up.says("bad  | died (exit status: 2), and is given up after more than 2 restarts (isolate.maxRestarts)").await;
    assert!(up.text().contains("fanfare cluster up bad"), "{}", up.text());
    up.says("good |       operator http").await;
    assert_eq!(up.text().matches("bad  | starts as process").count(), 3);
    up.signal(Signal::TERM);
    assert_eq!(up.ended().await.code(), Some(1), "{}", up.text());
}

#[tokio::test]
async fn servers_that_are_not_meant_are_refused_with_a_reason() {
    let servers = json!({ "m": [{ "id": "m-1", "host": "192.0.2.7", "port": 4001 }] });
    let project = project(None, servers);
    let elsewhere = project.run(&["cluster", "up"]).await;
    assert!(elsewhere.code == 1 && elsewhere.err.contains("no server is meant for this machine: m-1 is on 192.0.2.7"));
    let unknown = project.run(&["cluster", "up", "n"]).await;
    assert!(unknown.code == 1 && unknown.err.contains("is no server and no server type: there are m, m-1"));
    let none = Project::with(&[]).run(&["cluster", "up"]).await;
    assert!(none.code == 1 && none.err.contains("there are no servers in the environment development"), "{}", none.err);
    let wrong = project.run(&["serve", "--node", "m-2"]).await;
    let says = wrong.err.contains("found \"m-2\"; the environment \"development\" has \"m-1\"; did you mean \"m-1\"?");
    assert!(wrong.code == 1 && says, "{}", wrong.err);
    let pipe = project.run(&["serve", "--node", "m-1", "--stop-on-eof"]).await;
    assert!(pipe.code == 1 && pipe.err.contains("standard input must be a pipe"), "{}", pipe.err);
}
