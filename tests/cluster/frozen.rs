//! Nodes that are frozen while they change a module, or have due times to claim.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::faults::process;
use super::rollouts::{changed, generation, manifest};
use super::schedules::Node;
use super::{sees, start};
use crate::cli::project::Project;
use crate::harness::{Connection, Nats, eventually};
use crate::reload::canary::canary_manifest;

#[tokio::test]
async fn a_node_that_was_frozen_in_its_turn_does_not_swap_when_the_turn_is_over() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1", "alpha", &["echo"]).await;
    let (project, b) = process(&nats.url(), "b-1").await;
    sees(&a, &[("a-1", "echo"), ("b-1", "echo")]).await;
    let before = b.status("echo").await["generation"].clone();
    project.dir.write("modules/echo/module.json", canary_manifest("new", "4s", 0).to_string());
    let admin = b.admin().parse().unwrap();
    let reload =
        tokio::spawn(
            async move { Connection::open(admin).await.send("POST", "/v1/modules/echo/reload", &[], "").await },
        );
    eventually("the canary runs", || async { b.status("echo").await["note"].is_string() }).await;
    a.put_manifest("echo", &manifest("other"));
    let on_a = changed(&a);
    eventually("a waits", || async { a.log.contains(&["waits for another node to change the module", "b-1"]) }).await;
    b.freeze().await;
    eventually("a has the turn", || async { on_a.is_finished() }).await;
    let on_a = on_a.await.unwrap().unwrap();
    assert_eq!(on_a.generation, Some(generation(&a).await));
    b.signal(Signal::CONT);
    let refused = reload.await.unwrap();
    assert!(refused.status >= 400, "{}", refused.text());
    // The turn of a-1 has ended meanwhile.
    let taken = "\"another node has taken over the turn to change the module";
    assert!(refused.text().contains(taken), "{}", refused.text());
    assert_eq!(b.status("echo").await["generation"], before, "it keeps what it had");
}

#[tokio::test]
async fn due_times_that_pass_while_a_node_is_frozen_run_on_the_other_one_and_none_twice() {
    let Some(nats) = Nats::start().await else { return };
    let interval: u64 = 250;
    let project = |id: &str| {
        let project = Project::with(&["schedules"]).config(nats.node(id, "node"));
        let schedules = json!({ "once": { "path": "tick", "interval": interval, "overlap": "allow" } });
        let mut manifest: Value = serde_json::from_str(&project.read("modules/schedules/module.json")).unwrap();
        manifest["schedules"] = schedules;
        project.file("modules/schedules/module.json", manifest.to_string())
    };
    let (a, b) = (Node::start(project("a-1")).await, Node::start(project("b-1")).await);
    eventually("both run", || async { !a.runs().await.is_empty() && !b.runs().await.is_empty() }).await;
    let first = b.runs().await[0].0;
    b.serving.freeze().await;
    let runs_of_a = a.runs().await.len();
    // Four times `cluster.goneAfter`.
    eventually("the other one runs", || async { a.runs().await.len() >= runs_of_a + 10 }).await;
    let frozen_until = a.runs().await.last().unwrap().0;
    b.serving.signal(Signal::CONT);
    let continues = || async { b.runs().await.last().unwrap().0 > frozen_until };
    eventually("b claims due times again", continues).await;
    let mut runs = [a.runs().await, b.runs().await].concat();
    runs.retain(|(due, _)| *due >= first);
    let due: BTreeSet<u64> = runs.iter().map(|(due, _)| *due).collect();
    assert_eq!(due.len(), runs.len(), "a due time ran twice: {runs:?}");
    // What b had claimed when it was frozen may be lost.
    let expected = (due.last().unwrap() - due.first().unwrap()) / interval + 1;
    assert!(expected - due.len() as u64 <= 1, "due times were lost: {due:?}");
}
