//! Schedules that make up for missed due times, once over all nodes.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};

use crate::cli::project::{Project, Serving};
use crate::harness::{Nats, eventually};
use crate::schedules::missed::project;

fn node_of(nats: &Nats, id: &str, settings: Value) -> Project {
    project(settings).config(nats.node(id, "node"))
}

async fn serve_all<const COUNT: usize>(projects: &[Project; COUNT]) -> Vec<Serving> {
    let mut nodes = Vec::new();
    for project in projects {
        nodes.push(project.serve(&[]).await);
    }
    for node in &nodes {
        let listed = || async { node.operator("GET", "/v1/nodes").await.json()["nodes"].as_array().unwrap().len() };
        eventually("it sees all", || async { listed().await == COUNT }).await;
    }
    nodes
}

async fn sum(nodes: &[Serving], key: &str) -> u64 {
    let mut sum = 0;
    for node in nodes {
        sum += node.once().await[key].as_u64().unwrap();
    }
    sum
}

/// The due times of all runs that have ended.
async fn due(nodes: &[Serving]) -> Vec<u64> {
    let mut due = Vec::new();
    for node in nodes {
        due.extend(node.runs().await.iter().map(|run| run["due"].as_u64().unwrap()));
    }
    due
}

/// The node that runs the schedule.
async fn runner(nodes: &[Serving]) -> usize {
    eventually("one of them runs it", || async { sum(nodes, "running").await == 1 }).await;
    for (index, node) in nodes.iter().enumerate() {
        if node.once().await["running"] == 1 {
            return index;
        }
    }
    unreachable!("a run waits for its release");
}

#[tokio::test]
async fn a_run_whose_node_is_killed_or_frozen_runs_on_another_node() {
    for frozen in [false, true] {
        let Some(nats) = Nats::start().await else { return };
        let waits = json!({ "interval": "2s", "data": { "how": "waits" } });
        let projects = ["a-1", "b-1"].map(|id| node_of(&nats, id, waits.clone()));
        let mut nodes = serve_all(&projects).await;
        let lost = nodes.remove(runner(&nodes).await);
        match frozen {
            true => lost.freeze().await,
            false => {
                lost.signal(rustix::process::Signal::KILL);
            }
        }
        assert_eq!(runner(&nodes).await, 0);
        eventually("it ends there", || async {
            nodes[0].release().await;
            !due(&nodes).await.is_empty()
        })
        .await;
        let status = nodes[0].once().await;
        assert!(status["madeUp"].as_u64() >= Some(1), "{status}");
        if !frozen {
            continue;
        }
        // The run of the frozen node is one of before. It changes nothing about what is owed.
        lost.signal(rustix::process::Signal::CONT);
        eventually("its run ends", || async {
            lost.release().await;
            !lost.runs().await.is_empty()
        })
        .await;
        let last = *due(&nodes).await.iter().max().unwrap();
        nodes.push(lost);
        eventually("the schedule continues", || async {
            for node in &nodes {
                node.release().await;
            }
            due(&nodes).await.iter().any(|due| *due > last)
        })
        .await;
    }
}

#[tokio::test]
async fn due_times_while_all_nodes_are_down_cause_one_run() {
    let Some(nats) = Nats::start().await else { return };
    let interval = 1_000;
    let projects = ["a-1", "b-1"].map(|id| node_of(&nats, id, json!({ "interval": interval })));
    let nodes = serve_all(&projects).await;
    eventually("it runs", || async { due(&nodes).await.len() >= 2 }).await;
    let before = due(&nodes).await.into_iter().max().unwrap();
    for node in nodes {
        node.kill().await;
    }
    let away = Instant::now();
    eventually("due times pass", || async { away.elapsed().as_millis() >= 3 * interval }).await;
    let nodes = serve_all(&projects).await;
    eventually("it runs", || async { due(&nodes).await.len() >= 3 }).await;
    let again = due(&nodes).await;
    assert_eq!(again.iter().collect::<BTreeSet<_>>().len(), again.len(), "{again:?}");
    assert!(again.iter().all(|due| *due > before), "{again:?} after {before}");
    assert_eq!(sum(&nodes, "madeUp").await, 1, "once over all nodes");
    let first = again.iter().min().unwrap();
    let missed = sum(&nodes, "missed").await;
    // The run that was killed, or had ended and was not read, is the one of difference.
    let passed = (first - before) / interval as u64;
    assert!(missed >= 2 && missed.abs_diff(passed) <= 2, "{missed} of {passed}");
}

#[tokio::test]
async fn due_times_while_nats_is_away_cause_one_run_when_it_is_back() {
    let Some(mut nats) = Nats::start().await else { return };
    let interval = 500;
    let projects = ["a-1", "b-1"].map(|id| node_of(&nats, id, json!({ "interval": interval })));
    let nodes = serve_all(&projects).await;
    eventually("it runs", || async { due(&nodes).await.len() >= 2 }).await;
    nats.kill();
    let away = Instant::now();
    eventually("a due time is missed", || async {
        nodes.iter().any(|node| node.log().contains("the schedule makes up for it later"))
    })
    .await;
    let before = due(&nodes).await;
    eventually("due times pass", || async { away.elapsed().as_millis() >= 6 * interval }).await;
    assert_eq!(due(&nodes).await.len(), before.len(), "no node runs it alone");
    let made_up = sum(&nodes, "madeUp").await;
    nats.run().await;
    eventually("it runs again", || async { due(&nodes).await.len() >= before.len() + 3 }).await;
    let all = due(&nodes).await;
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
    assert_eq!(sum(&nodes, "madeUp").await - made_up, 1, "once over all nodes");
    assert!(sum(&nodes, "missed").await >= 2);
}

#[tokio::test]
async fn a_node_that_stops_in_order_leaves_its_run_to_another_node() {
    let Some(nats) = Nats::start().await else { return };
    let fails = json!({ "interval": "2s", "backoff": "1m", "data": { "how": "fails" } });
    let projects = ["a-1", "b-1"].map(|id| node_of(&nats, id, fails.clone()));
    let mut nodes = serve_all(&projects).await;
    let first = nodes.remove(runner(&nodes).await);
    eventually("it has failed", || async { !first.runs().await.is_empty() }).await;
    assert_eq!(nodes[0].runs().await.len(), 0);
    first.stop().await;
    eventually("the other one tries", || async { !nodes[0].runs().await.is_empty() }).await;
}
