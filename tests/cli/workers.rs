//! `fanfare workers` and `brokers`, and SIGUSR2, against a running host.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Project, Serving};
use crate::harness::eventually;

/// The events of a host with one of these types.
async fn events(serving: &Serving, types: &[&str]) -> Vec<Value> {
    let events = serving.operator("GET", "/v1/events?follow=false").await.json();
    let mut events = events.as_array().unwrap().clone();
    events.retain(|event| types.iter().any(|name| event["type"] == *name));
    events
}

#[tokio::test]
async fn workers_shows_the_load_of_each_worker() {
    let project = Project::with(&["echo", "flags"]).config(json!({ "workers": 2, "brokers": 0 }));
    let serving = project.serve(&[]).await;
    let admin = serving.admin();
    let shown = project.run(&["workers", "--admin", &admin]).await;
    assert_eq!(shown.code, 0, "{}", shown.err);
    let lines: Vec<Vec<&str>> = shown.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ISOLATE", "CLIENTS", "REQUESTS/MIN", "MEMORY", "MODULES"]);
    for (worker, line) in lines[1..].iter().enumerate() {
        assert_eq!((line[0], line[1]), (format!("worker-{worker}").as_str(), "0"), "{}", shown.out);
        assert!(shown.out.lines().nth(worker + 1).unwrap().ends_with("MiB  2 of 2 ready"), "{}", shown.out);
    }
    let json = project.run(&["workers", "--json", "--admin", &admin]).await.json();
    assert_eq!(json["isolates"].as_array().unwrap().len(), 3, "two workers and the master");
    let brokers = project.run(&["brokers", "--admin", &admin]).await;
    assert_eq!((brokers.code, brokers.out.as_str()), (0, "the host has no brokers\n"));
}

#[tokio::test]
async fn workers_kill_prints_each_worker() {
    let project = Project::with(&["echo", "flags"]).config(json!({ "workers": 2, "brokers": 0 }));
    let serving = project.serve(&[]).await;
    let admin = serving.admin();
    let kill =
        async |more: &[&str]| project.run(&[&["workers", "kill"][..], more, &["--admin", &admin]].concat()).await;
    let all = kill(&[]).await;
    let expected = "worker-0: killed, 2 new instances\nworker-1: killed, 2 new instances\n";
    assert_eq!((all.code, all.out.as_str()), (0, expected), "{}", all.err);
    let one = kill(&["1", "--immediate"]).await;
    assert_eq!((one.code, one.out.as_str()), (0, "worker-1: killed, 2 new instances\n"), "{}", one.err);
    let json = kill(&["0", "--json"]).await.json();
    assert_eq!((&json[0]["isolate"], &json[0]["modules"][1]["module"]), (&json!("worker-0"), &json!("flags")));
    let exits = events(&serving, &["workerExit"]).await;
    let exits: Vec<_> = exits.iter().map(|exit| (exit["id"].clone(), exit["reason"].clone())).collect();
    let graceful = json!("killed");
    let expected = [(json!(0), graceful.clone()), (json!(1), graceful.clone()), (json!(1), json!("killed at once"))];
    assert_eq!((&exits[..3], &exits[3]), (&expected[..], &(json!(0), graceful)));

    let unknown = kill(&["2"]).await;
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""));
    let said = "error: not-found (404): there is no worker 2: the host has 2 workers, numbers 0 to 1\n";
    assert_eq!(unknown.err, said);
    let broker = project.run(&["brokers", "kill", "0", "--admin", &admin]).await;
    assert_eq!(broker.err, "error: not-found (404): there is no broker 0: the host has no brokers\n");
    for wrong in [&["workers", "0"][..], &["workers", "stop"], &["workers", "--immediate"], &["workers", "kill", "x"]] {
        assert_eq!(project.run(wrong).await.code, 2, "{wrong:?}");
    }
}

#[tokio::test]
async fn a_kill_that_could_not_replace_an_instance_fails() {
    let project = Project::with(&["snapshot"])
        .config(json!({ "modules": { "snapshot": { "config": { "restart": "fails", "worker": 1 } } }, "workers": 2 }));
    let serving = project.serve(&[]).await;
    let killed = project.run(&["workers", "kill", "--admin", &serving.admin()]).await;
    assert_eq!((killed.code, killed.out.as_str()), (1, ""));
    let said = "error: incomplete (422): snapshot in worker-1: the next instance did not start";
    assert!(killed.err.starts_with(said), "{}", killed.err);
}

#[tokio::test]
async fn sigusr2_kills_all_workers() {
    for (environment, reason) in [("development", "killed at once"), ("production", "killed")] {
        let project = Project::with(&["echo"]).config(json!({ "workers": 2 }));
        let serving = project.serve(&["--env", environment]).await;
        assert_eq!(serving.get("/api/echo/who").await.json()["count"], 1);
        for round in 1..=2 {
            serving.signal(Signal::USR2);
            let killed = || async { events(&serving, &["workerExit"]).await.len() == 2 * round };
            eventually("both workers are killed", killed).await;
        }
        let exits = events(&serving, &["workerExit"]).await;
        assert!(exits.iter().all(|exit| exit["reason"] == reason), "{exits:?}");
        assert_eq!(serving.get("/api/echo/who").await.json()["count"], 1, "a new instance");
        assert!(serving.log().contains("SIGUSR2: killing all workers, one after another"));
        assert_eq!(serving.stop().await.0, Some(0));
    }
}

#[tokio::test]
async fn without_reboot_on_signal_sigusr2_is_ignored() {
    let project = Project::with(&["echo"]).config(json!({ "master": { "rebootOnSignal": false } }));
    let serving = project.serve(&[]).await;
    serving.signal(Signal::USR2);
    eventually("the host says so", || async { serving.log().contains("ignoring SIGUSR2") }).await;
    assert_eq!(serving.get("/api/echo/who").await.status, 200);
    assert_eq!(events(&serving, &["workerExit"]).await.len(), 0);
    assert_eq!(serving.stop().await.0, Some(0));
}

#[tokio::test]
async fn brokers_shows_and_kills_the_brokers_that_run_the_routes_of_channels() {
    let project = Project::with(&["echo", "flags"]).config(json!({ "workers": 1, "brokers": 2 }));
    let mut manifest: Value = serde_json::from_str(&project.read("modules/echo/module.json")).unwrap();
    manifest["channels"] = json!({ "echo/*": { "path": "echo" } });
    let project = project.file("modules/echo/module.json", manifest.to_string());
    let serving = project.serve(&[]).await;
    let admin = serving.admin();
    let shown = project.run(&["brokers", "--admin", &admin]).await;
    let lines: Vec<&str> = shown.out.lines().collect();
    assert_eq!((shown.code, lines.len()), (0, 3), "{}", shown.err);
    for (broker, line) in lines[1..].iter().enumerate() {
        assert!(line.starts_with(&format!("broker-{broker} ")) && line.ends_with("  1 of 1 ready"), "{}", shown.out);
    }
    let all = project.run(&["brokers", "kill", "--admin", &admin]).await;
    let expected = "broker-0: killed, 1 new instance\nbroker-1: killed, 1 new instance\n";
    assert_eq!((all.code, all.out.as_str()), (0, expected), "{}", all.err);
    let one = project.run(&["brokers", "kill", "1", "--immediate", "--admin", &admin]).await;
    assert_eq!(one.out, "broker-1: killed, 1 new instance\n", "{}", one.err);
    let exits = events(&serving, &["brokerExit"]).await;
    let reasons: Vec<_> = exits.iter().map(|exit| (exit["id"].clone(), exit["reason"].clone())).collect();
    let killed = json!("killed");
    assert_eq!(reasons, [(json!(0), killed.clone()), (json!(1), killed), (json!(1), json!("killed at once"))]);
    let shown = project.run(&["brokers", "--admin", &admin]).await;
    assert!(shown.out.lines().skip(1).all(|line| line.ends_with("  1 of 1 ready")), "{}", shown.out);
}
