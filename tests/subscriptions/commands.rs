//! `fanfare subscriptions`, `status`, `inspect` and `check`, with subscriptions to events and to
//! Redis, and one that a guest makes at run time.

use serde_json::{Value, json};

use crate::cli::project::Project;
use crate::harness::eventually;

use super::GUEST;

/// A project whose module subscribes to events, and to a channel of Redis.
fn project() -> Project {
    let project = Project::with(&[GUEST]);
    let file = format!("modules/{GUEST}/module.json");
    let mut manifest: Value = serde_json::from_str(&project.read(&file)).unwrap();
    manifest["capabilities"] = json!({ "events": ["*"] });
    manifest["subscriptions"] = json!({
        "orders": { "event": "order/*", "path": "on" },
        "news": { "redis": "news", "connection": "cache", "path": "other", "deliver": "all" },
        "prices": { "event": "price/*", "sse": { "key": "subscriptions/{topic}" } },
    });
    project.file(&file, format!("{manifest:#}"))
}

#[tokio::test]
async fn check_reports_a_missing_grant_and_a_missing_connection_with_the_place() {
    let checked = project().run(&["check"]).await;
    assert_eq!(checked.code, 1);
    let out = checked.out;
    for expected in [
        "subscriptions.news: asks to receive messages of redis.cache:news, which is not granted: run `fanfare grant subscriptions`",
        "subscriptions.news.connection: needs the connection `cache`, which `redis` in fanfare.json does not have: add it there, or name another connection",
    ] {
        let line = out.lines().find(|line| line.ends_with(expected)).unwrap_or_else(|| panic!("{expected} in {out}"));
        assert!(line.contains("module.json:"), "{line}");
    }
    assert!(out.ends_with("1 module checked, 3 faults\n"), "{out}");
}

#[tokio::test]
async fn subscriptions_are_shown_by_the_commands() {
    // No server is there.
    let redis = json!({ "cache": { "url": "redis://127.0.0.1:1" } });
    let project = project().config(json!({ "redis": redis, "events": { "listen": "127.0.0.1:0" } }));
    let granted = project.run(&["grant", GUEST, "--yes"]).await;
    assert_eq!(granted.code, 0, "{}", granted.err);
    let checked = project.run(&["check"]).await;
    assert_eq!(checked.code, 0, "{}", checked.out);

    let serving = project.serve(&[]).await;
    let admin = serving.admin();
    let run = async |command: &str, args: &[&str]| {
        let ran = project.run(&[&[command, "--admin", &admin][..], args].concat()).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran
    };
    let call =
        async |route: &str, body: Value| run("call", &["--target", "worker-0", GUEST, route, &body.to_string()]).await;
    call("subscribe", json!({ "pattern": "stock/*", "route": "on" })).await;
    call("emit", json!({ "type": "order/paid", "value": 7 })).await;
    call("emit", json!({ "type": "stock/low", "value": 1 })).await;
    let handled = |all: &Value, name: &str| {
        all.as_array().unwrap().iter().any(|one| one["name"] == name && one["delivered"] == 1)
    };
    eventually("both events were handled", || async {
        let all = run("subscriptions", &["--json"]).await.json();
        handled(&all, "orders") && handled(&all, "stock/* -> on")
    })
    .await;

    let shown = run("subscriptions", &[]).await.out;
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..4], ["MODULE", "SUBSCRIPTION", "SOURCE", "DELIVER"]);
    let expected = [
        "subscriptions news redis news of cache all drop-oldest 0 0 0 0 0",
        "subscriptions orders event order/* one drop-oldest 0 1 0 0 0",
        "subscriptions prices event price/* streams - 0 0 0 0 0",
        "subscriptions stock/* -> on (worker-0) event stock/* one drop-oldest 0 1 0 0 0",
    ];
    assert_eq!(rows[1..].iter().map(|row| row.join(" ")).collect::<Vec<_>>(), expected, "{shown}");

    let status = run("status", &[]).await.out;
    assert!(status.contains(&shown), "{status}");
    assert!(status.contains("redis cache (redis://127.0.0.1:1): "), "{status}");
    assert!(status.contains(" listens, 0 connections, 0 subscribers\n"), "{status}");
    let json = run("status", &["--json"]).await.json();
    assert_eq!(json["subscriptions"].as_array().map(Vec::len), Some(4), "{json}");
    assert_eq!(json["events"]["listen"]["subscribers"], 0, "{json}");

    let component = format!("modules/{GUEST}/{GUEST}.wasm");
    let inspected = project.run(&["inspect", &component]).await;
    for line in [
        "    news: redis news of cache to POST other (all, drop-oldest)\n",
        "    orders: event order/* to POST on (one, drop-oldest)\n",
        "    prices: event price/* to live streams\n",
    ] {
        assert!(inspected.out.contains(line), "{line} in {}", inspected.out);
    }
    let json = project.run(&["inspect", "--json", &component]).await.json();
    assert_eq!(json["subscriptions"][1]["path"], "POST on", "{json}");
}

#[tokio::test]
async fn status_shows_whether_the_service_of_another_process_is_there() {
    let project = Project::with(&[]).config(json!({ "events": { "connect": "http://127.0.0.1:1" } }));
    let serving = project.serve(&[]).await;
    let admin = serving.admin();
    let status = project.run(&["status", "--admin", &admin]).await;
    assert!(status.out.contains("events of 127.0.0.1:1: away, 0 events wait, 0 lost\n"), "{}", status.out);
    let json = project.run(&["status", "--json", "--admin", &admin]).await.json();
    assert_eq!((&json["events"]["connect"]["up"], &json["events"].get("listen")), (&json!(false), &None), "{json}");
}
