//! Schedules that run once in the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::sees;
use crate::cli::project::{Project, Serving};
use crate::harness::{Nats, Started, TestHost, eventually, node};

/// A node with the guest `schedules`, and these schedules in its manifest.
async fn scheduled(nats: &Nats, id: &str, schedules: Value) -> Started {
    let host = TestHost::with("schedules").manifest("schedules", json!({ "schedules": schedules }));
    host.config(nats.node(id, "node")).start().await
}

async fn two(nats: &Nats, schedules: Value) -> [Started; 2] {
    let hosts = [scheduled(nats, "a-1", schedules.clone()).await, scheduled(nats, "b-1", schedules).await];
    for host in &hosts {
        sees(host, &[("a-1", "schedules"), ("b-1", "schedules")]).await;
    }
    hosts
}

/// The due times of the runs of a schedule that have ended on a node.
async fn ended(host: &Started, name: &str) -> Vec<u64> {
    let key = format!("schedules:{name}");
    let runs = host.ended_runs().await.into_iter().filter(|run| run["key"] == key);
    runs.map(|run| run["due"].as_u64().unwrap()).collect()
}

async fn all_ended(hosts: &[Started], name: &str) -> Vec<u64> {
    let mut all = Vec::new();
    for host in hosts {
        all.extend(ended(host, name).await);
    }
    all
}

#[tokio::test]
async fn each_due_time_runs_on_one_node_and_everywhere_with_the_type_all() {
    for nats in Nats::all().await {
        let schedules = json!({
            "once": { "path": "tick", "interval": "100ms", "overlap": "allow" },
            "all": { "path": "other", "interval": "100ms", "type": "all" },
        });
        let hosts = two(&nats, schedules).await;
        eventually("it has run often", || async { all_ended(&hosts, "once").await.len() >= 30 }).await;
        let once = all_ended(&hosts, "once").await;
        let different: BTreeSet<u64> = once.iter().copied().collect();
        assert_eq!(different.len(), once.len(), "a due time ran twice: {once:?}");
        let both = ended(&hosts[0], "all").await.into_iter().collect::<BTreeSet<_>>();
        let both: Vec<u64> = ended(&hosts[1], "all").await.into_iter().filter(|due| both.contains(due)).collect();
        assert!(!both.is_empty());
    }
}

#[tokio::test]
async fn a_run_that_has_not_ended_on_one_node_is_skipped_on_the_other() {
    let Some(nats) = Nats::start().await else { return };
    let hosts =
        two(&nats, json!({ "long": { "path": "tick", "interval": "100ms", "data": { "how": "waits" } } })).await;
    let statuses = || async { [hosts[0].schedule("long").await, hosts[1].schedule("long").await] };
    let running = |status: &Value| status["running"].as_u64().unwrap();
    eventually("it runs on one node, and others were skipped", || async {
        let all = statuses().await;
        let skipped =
            all.iter().find(|status| running(status) == 0).map_or(0, |status| status["skipped"].as_u64().unwrap());
        running(&all[0]) + running(&all[1]) == 1 && skipped >= 2
    })
    .await;
    let before = statuses().await;
    assert_eq!(running(&before[0]) + running(&before[1]), 1, "{before:?}");
    let at = before.iter().position(|status| running(status) == 1).unwrap();
    hosts[at].release_runs(0).await;
    hosts[at].release_runs(1).await;
    eventually("the next one runs", || async {
        all_ended(&hosts, "long").await.len() >= 2 || {
            for host in &hosts {
                host.release_runs(0).await;
                host.release_runs(1).await;
            }
            false
        }
    })
    .await;
}

#[tokio::test]
async fn an_immediate_schedule_runs_once_when_several_nodes_start() {
    let Some(nats) = Nats::start().await else { return };
    let schedules =
        json!({ "first": { "path": "tick", "immediate": true }, "due": { "path": "other", "interval": "100ms" } });
    let hosts = two(&nats, schedules).await;
    // When both have claimed others, both have decided about this one.
    eventually("it runs", || async { !all_ended(&hosts, "first").await.is_empty() }).await;
    eventually("both look at due times", || async { all_ended(&hosts, "due").await.len() >= 10 }).await;
    assert_eq!(all_ended(&hosts, "first").await.len(), 1);
}

#[tokio::test]
async fn without_nats_a_schedule_is_missed_unless_it_fires_alone() {
    let Some(mut nats) = Nats::start().await else { return };
    let schedules = json!({
        "once": { "path": "tick", "interval": "100ms" },
        "alone": { "path": "other", "interval": "100ms", "whenAlone": "fire" },
    });
    let hosts = two(&nats, schedules).await;
    eventually("both run", || async {
        !all_ended(&hosts, "once").await.is_empty() && !all_ended(&hosts, "alone").await.is_empty()
    })
    .await;
    nats.kill();
    for host in &hosts {
        eventually("it is missed", || async { host.schedule("once").await["missed"].as_u64() >= Some(3) }).await;
        assert!(host.log.contains(&["a run was missed: this node is not connected to NATS", "once"]));
    }
    let during: Vec<Vec<u64>> = vec![ended(&hosts[0], "alone").await, ended(&hosts[1], "alone").await];
    eventually("both nodes run it", || async {
        let one = ended(&hosts[0], "alone").await.into_iter().filter(|due| !during[0].contains(due));
        let one: BTreeSet<u64> = one.collect();
        ended(&hosts[1], "alone").await.iter().any(|due| one.contains(due))
    })
    .await;
    let before = all_ended(&hosts, "once").await;
    nats.run().await;
    eventually("it runs again", || async { all_ended(&hosts, "once").await.len() > before.len() }).await;
    let once = all_ended(&hosts, "once").await;
    assert_eq!(once.iter().collect::<BTreeSet<_>>().len(), once.len(), "{once:?}");
}

#[tokio::test]
async fn a_schedule_continues_when_one_of_three_servers_ends() {
    let Some(mut servers) = Nats::three().await else { return };
    let url = servers.iter().map(Nats::url).collect::<Vec<_>>().join(",");
    let start = async |id: &str| {
        let schedules = json!({ "schedules": { "once": { "path": "tick", "interval": "200ms" } } });
        TestHost::with("schedules").manifest("schedules", schedules).config(node(id, "node", &url)).start().await
    };
    let hosts = [start("a-1").await, start("b-1").await];
    eventually("it runs", || async { all_ended(&hosts, "once").await.len() >= 3 }).await;
    servers[0].kill();
    let before = all_ended(&hosts, "once").await.len();
    eventually("it still runs", || async { all_ended(&hosts, "once").await.len() >= before + 5 }).await;
    let once = all_ended(&hosts, "once").await;
    assert_eq!(once.iter().collect::<BTreeSet<_>>().len(), once.len(), "{once:?}");
}

#[tokio::test]
async fn nodes_that_claim_at_once_take_no_race_for_a_failure() {
    let Some(servers) = Nats::three().await else { return };
    let mut hosts = Vec::new();
    for (id, server) in ["a-1", "b-1", "c-1", "d-1"].into_iter().zip(servers.iter().cycle()) {
        let once = json!({ "path": "tick", "interval": "50ms", "overlap": "allow" });
        hosts.push(scheduled(server, id, json!({ "once": once })).await);
    }
    for host in &hosts {
        sees(host, &["a-1", "b-1", "c-1", "d-1"].map(|id| (id, "schedules"))).await;
    }
    let before = all_ended(&hosts, "once").await.len();
    eventually("it has run often", || async { all_ended(&hosts, "once").await.len() >= before + 60 }).await;
    for host in &hosts {
        assert!(!host.log.contains(&["a run was missed", "wrong last sequence"]));
    }
}

#[tokio::test]
async fn claims_that_nats_does_not_answer_are_limited() {
    // A server that accepts connections, and has no JetStream.
    let Some(nats) = Nats::without_jetstream().await else { return };
    let host = scheduled(&nats, "a-1", json!({ "once": { "path": "tick", "interval": "10ms" } })).await;
    eventually("it is missed", || async { host.schedule("once").await["missed"].as_u64() >= Some(100) }).await;
    assert!(host.log.contains(&["is JetStream enabled (nats-server --jetstream)?"]), "the log says why");
    assert_eq!(ended(&host, "once").await.len(), 0);
    assert!(host.metric("fanfare_cluster_bucket_failed_total", &[]).await >= 1.0);
}

/// The claims that NATS has stored, by due time: the boot ids of the nodes that have written them.
#[derive(Clone, Default)]
struct Claims(Arc<Mutex<BTreeMap<u64, BTreeSet<String>>>>);

impl Claims {
    /// Makes the bucket, with all values, and a consumer of those of the schedule `once`.
    fn follow(nats: SocketAddr) -> Claims {
        let claims = Claims::default();
        let mut socket = TcpStream::connect(nats).unwrap();
        let stream = json!({
            "name": "KV_fanfare", "subjects": ["$KV.fanfare.>"], "max_msgs_per_subject": 10_000,
            "allow_direct": true, "allow_rollup_hdrs": true, "deny_delete": true,
        });
        let consumer = json!({ "stream_name": "KV_fanfare", "config": {
            "deliver_subject": "test.claims", "deliver_policy": "all", "ack_policy": "none",
            "filter_subject": "$KV.fanfare.schedule.schedules.once",
        } });
        let publish = |subject: &str, body: &Value| {
            let body = body.to_string();
            format!("PUB $JS.API.{subject}.KV_fanfare test.answer {}\r\n{body}\r\n", body.len())
        };
        let (stream, consumer) = (publish("STREAM.CREATE", &stream), publish("CONSUMER.CREATE", &consumer));
        let (seen, mut reader) = (claims.clone(), BufReader::new(socket.try_clone().unwrap()));
        let mut line = String::new();
        let begin = "CONNECT {\"verbose\":false}\r\nSUB test.claims 1\r\nSUB test.answer 2\r\n";
        for (request, answer) in [(format!("{begin}{stream}"), "stream_create"), (consumer, "consumer_create")] {
            socket.write_all(request.as_bytes()).unwrap();
            while !line.contains(answer) {
                line.clear();
                assert!(reader.read_line(&mut line).unwrap() > 0);
            }
            assert!(!line.contains("\"error\""), "{line}");
        }
        std::thread::spawn(move || {
            loop {
                line.clear();
                if !matches!(reader.read_line(&mut line), Ok(1..)) {
                    return;
                }
                if line.starts_with("PING") && socket.write_all(b"PONG\r\n").is_err() {
                    return;
                }
                let Some(size) = line.strip_prefix("MSG ").and_then(|rest| rest.trim().rsplit(' ').next()) else {
                    continue;
                };
                let mut value = vec![0; size.parse::<usize>().unwrap() + 2];
                reader.read_exact(&mut value).unwrap();
                let value: Value = serde_json::from_slice(&value).unwrap();
                let boot = value["boot"].as_str().unwrap().to_owned();
                seen.0.lock().unwrap().entry(value["due"].as_u64().unwrap()).or_default().insert(boot);
            }
        });
        claims
    }
}

/// A node in a process of its own that can be killed.
pub struct Node {
    project: Project,
    pub serving: Serving,
    boot: String,
}

impl Node {
    pub async fn start(project: Project) -> Node {
        let serving = project.serve(&[]).await;
        let nodes = serving.operator("GET", "/v1/nodes").await.json();
        let own = nodes["nodes"].as_array().unwrap().iter().find(|node| node["own"] == true).unwrap();
        Node { boot: own["boot"].as_str().unwrap().to_owned(), project, serving }
    }

    /// The due times that this process has run so far.
    pub async fn runs(&self) -> Vec<(u64, String)> {
        let events = self.serving.operator("GET", "/v1/events?follow=false").await.json();
        let events = events.as_array().unwrap().iter().filter(|event| event["type"] == "scheduleRun");
        events.map(|event| (event["due"].as_u64().unwrap(), self.boot.clone())).collect()
    }
}

/// Kills one of two nodes again and again, each as soon as it has run something. Every due time is
/// claimed once, and runs only on the node that has claimed it. A kill loses at most one run.
///
/// `FANFARE_TEST_KILLS` is the number of kills.
#[tokio::test]
async fn nodes_that_are_killed_again_and_again_double_no_run() {
    let Some(nats) = Nats::start().await else { return };
    let kills: usize = std::env::var("FANFARE_TEST_KILLS").map_or(4, |text| text.parse().unwrap());
    let claims = Claims::follow(nats.address());
    let interval: u64 = 1_000;
    let project = |id: &str| {
        let project = Project::with(&["schedules"]).config(nats.node(id, "node"));
        let schedules = json!({ "once": { "path": "tick", "interval": interval } });
        let mut manifest: Value = serde_json::from_str(&project.read("modules/schedules/module.json")).unwrap();
        manifest["schedules"] = schedules;
        project.file("modules/schedules/module.json", manifest.to_string())
    };
    let mut nodes = [Node::start(project("a-1")).await, Node::start(project("b-1")).await];
    let mut runs: Vec<(u64, String)> = Vec::new();
    for _ in 0..kills {
        // The one that ran last is the one that may have a run.
        let killed = AtomicUsize::new(usize::MAX);
        eventually("one of them runs", || async {
            for (index, node) in nodes.iter().enumerate() {
                if node.runs().await.iter().any(|run| !runs.contains(run)) {
                    killed.store(index, Ordering::Relaxed);
                }
            }
            killed.load(Ordering::Relaxed) < nodes.len()
        })
        .await;
        let killed = killed.into_inner();
        for node in &nodes {
            runs.extend(node.runs().await.into_iter().filter(|run| !runs.contains(run)).collect::<Vec<_>>());
        }
        let [a, b] = nodes;
        let (mut dead, alive) = if killed == 0 { (a, b) } else { (b, a) };
        dead.serving.signal(Signal::KILL);
        dead.serving.ended().await;
        nodes = [alive, Node::start(dead.project).await];
    }
    eventually("it still runs", || async { nodes[0].runs().await.iter().any(|run| !runs.contains(run)) }).await;
    for node in &nodes {
        runs.extend(node.runs().await.into_iter().filter(|run| !runs.contains(run)).collect::<Vec<_>>());
    }
    let due: BTreeSet<u64> = runs.iter().map(|(due, _)| *due).collect();
    assert_eq!(due.len(), runs.len(), "a due time ran twice: {runs:?}");
    let claims = claims.0.lock().unwrap().clone();
    for (due, boot) in &runs {
        assert_eq!(claims.get(due), Some(&BTreeSet::from([boot.clone()])), "{due} ran without a claim of its own");
    }
    let (first, last) = (due.first().unwrap(), due.last().unwrap());
    let lost = (last - first) / interval + 1 - due.len() as u64;
    assert!(lost <= kills as u64, "{lost} runs were lost by {kills} kills: {due:?}");
    println!("{kills} kills, {} due times, {lost} lost, none doubled", due.len());
}
