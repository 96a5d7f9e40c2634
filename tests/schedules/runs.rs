//! Runs in a host that nothing disturbs.

use serde_json::json;

use super::{assert_every_multiple_once, by_worker, due_times, scheduled};
use crate::harness::{Log, TestHost, eventually};
use crate::middlewares::behind;

#[tokio::test]
async fn the_workers_take_turns() {
    let host = scheduled(json!({ "s": { "path": "tick", "interval": 50 } })).workers(3).start().await;
    let mut runs = host.until_ended(9).await;
    runs.sort_by_key(|run| run["due"].as_u64());
    let workers: Vec<u64> = runs[..9].iter().map(|run| run["worker"].as_u64().unwrap()).collect();
    assert_eq!(workers, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    assert!(runs.iter().all(|run| run["success"] == true && run["key"] == "schedules:s"), "{runs:?}");
}

#[tokio::test]
async fn a_schedule_of_the_type_all_runs_in_every_worker() {
    let host = scheduled(json!({ "s": { "path": "tick", "interval": 50, "type": "all" } })).start().await;
    let workers = by_worker(host.until_ended(10).await);
    assert_eq!(workers.len(), 2);
    let missed = host.missed("s").await;
    workers.values().for_each(|runs| assert_every_multiple_once(runs, 50, missed));
}

#[tokio::test]
async fn a_cron_expression_runs_each_second() {
    let host = scheduled(json!({ "s": { "path": "tick", "cron": "* * * * * *" } })).start().await;
    let runs = host.until_ended(2).await;
    assert_every_multiple_once(&runs, 1_000, host.missed("s").await);
}

#[tokio::test]
async fn the_handler_gets_the_schedule_and_its_data() {
    let schedules = json!({ "s": { "path": "tick", "immediate": true, "data": { "a": [1, null] } } });
    let host = scheduled(schedules).workers(1).start().await;
    let ended = host.until_ended(1).await.remove(0);
    let recorded = host.recorded_runs(0).await;
    assert_eq!(recorded.len(), 1, "immediate alone runs once");
    let run = &recorded[0];
    assert_eq!((&run["name"], &run["kind"], &run["origin"]), (&json!("s"), &json!("schedule"), &json!("Origin::Host")));
    assert_eq!((&run["data"], &run["subdomain"]), (&json!({ "a": [1, null] }), &json!(null)));
    assert_eq!((&run["due"], &run["run"]), (&ended["due"], &ended["id"]));
    let status = host.schedule("s").await;
    assert_eq!(
        (&status["state"], &status["succeeded"], &status["last"]["id"]),
        (&json!("done"), &json!(1), &run["run"])
    );
    assert_eq!(host.ended("schedules", 0, "schedule", "ok").await, 1.0);
}

#[tokio::test]
async fn a_run_passes_the_middlewares_of_its_route() {
    for (does, runs) in [("pass", 1), ("fail", 0)] {
        let host = scheduled(json!({ "s": { "path": "tick", "immediate": true } })).workers(1);
        let host = behind(host, "schedules", "tick", does).start().await;
        let ended = host.until_ended(1).await.remove(0);
        assert_eq!(ended["success"], runs == 1, "{ended}");
        assert_eq!(host.recorded_runs(0).await.len(), runs, "{does}");
    }
}

#[tokio::test]
async fn a_run_that_is_due_while_the_previous_one_runs_is_skipped() {
    let schedules = json!({ "s": { "path": "tick", "interval": 20, "data": { "how": "waits" } } });
    let host = scheduled(schedules).start().await;
    eventually("runs are skipped", || async { host.schedule("s").await["skipped"].as_u64() >= Some(3) }).await;
    let all = [host.recorded_runs(0).await, host.recorded_runs(1).await].concat();
    assert_eq!((all.len(), host.schedule("s").await["running"].clone()), (1, json!(1)));
    assert!(host.metric("fanfare_schedule_skipped_total", &["schedule=\"s\""]).await >= 3.0);
    host.release_runs(0).await;
    host.until_ended(1).await;
    eventually("the next one runs", || async { host.recorded_runs(1).await.len() == 1 }).await;
}

#[tokio::test]
async fn runs_overlap_where_that_is_allowed() {
    let schedules = json!({ "s": { "path": "tick", "interval": 20, "overlap": "allow", "data": { "how": "waits" } } });
    let host = scheduled(schedules).workers(1).start().await;
    eventually("three runs wait", || async { host.recorded_runs(0).await.len() >= 3 }).await;
    eventually("the bound is reached", || async { host.schedule("s").await["skipped"].as_u64() >= Some(1) }).await;
    let status = host.schedule("s").await;
    assert_eq!(status["running"], 64);
    host.release_runs(0).await;
    host.until_ended(64).await;
}

#[tokio::test]
async fn a_run_that_fails_does_not_stop_the_next_one() {
    let how = |how: &str| json!({ "path": "tick", "interval": 50, "data": { "how": how } });
    let host =
        scheduled(json!({ "fails": how("fails"), "status": how("status"), "traps": how("traps") })).start().await;
    for (name, outcome, message) in [
        ("fails", "failure", "this run fails on request"),
        ("status", "status", "the handler replied with status 500"),
        ("traps", "crashed", "this run traps on request"),
    ] {
        eventually(name, || async { host.schedule(name).await["failed"].as_u64() >= Some(2) }).await;
        let status = host.schedule(name).await;
        assert_eq!((&status["succeeded"], &status["last"]["success"]), (&json!(0), &json!(false)));
        let told = status["last"]["message"].as_str().unwrap();
        assert!(told.contains(message) || name == "traps", "{told}");
        let labels = [format!("schedule=\"{name}\""), format!("outcome=\"{outcome}\"")];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        assert!(host.metric("fanfare_schedule_runs_total", &labels).await >= 1.0, "{name}");
    }
    assert!(Log.contains(&["schedules", "trigger=\"schedule\"", "this run fails on request"]));
}

#[tokio::test]
async fn an_immediate_run_waits_until_the_module_serves() {
    let schedules = json!({ "s": { "path": "tick", "immediate": true, "type": "all" } });
    let host = scheduled(schedules).start().await;
    let first = host.until_ended(2).await;
    assert!(first.iter().all(|run| run["success"] == true), "{first:?}");
    // A later install runs it again; a swap does not.
    host.reload("schedules").await;
    let module = crate::embedding::memory::patched(
        "schedules",
        "later",
        json!({ "schedules": { "s": { "path": "tick", "immediate": true } } }),
    );
    host.running().install(module).await.unwrap();
    let runs = host.until_ended(3).await;
    assert_eq!((runs.len(), &runs[2]["key"], &runs[2]["success"]), (3, &json!("later:s"), &json!(true)));
}

#[tokio::test]
async fn a_schedule_runs_only_in_its_environments() {
    let schedules = json!({
        "here": { "path": "tick", "immediate": true, "env": ["staging", "test"] },
        "elsewhere": { "path": "tick", "immediate": true, "interval": 20, "env": "production" },
    });
    let host = scheduled(schedules).environment("staging").start().await;
    host.until_ended(1).await;
    let elsewhere = host.schedule("elsewhere").await;
    assert_eq!(
        (&elsewhere["state"], &elsewhere["reason"], &elsewhere["next"]),
        (&json!("disabled"), &json!("this environment is not in `env`"), &json!(null))
    );
    assert!(host.ended_runs().await.iter().all(|run| run["key"] == "schedules:here"));
}

#[tokio::test]
async fn a_schedule_runs_for_each_subdomain_that_names_it() {
    let host = scheduled(json!({ "s": { "path": "tick", "immediate": true, "data": 1 } }))
        .manifest("schedules", json!({ "config": { "version": 1 } }))
        .config(json!({ "modules": { "schedules": {
            "schedules": { "s": { "disable": true } },
            "subdomains": {
                "acme": { "config": { "version": 2 }, "schedules": { "s": { "disable": false } } },
                "beta": { "schedules": { "s": { "disable": false, "data": 3 } } },
                "gamma": {},
            },
        } } }))
        .workers(1)
        .start()
        .await;
    host.until_ended(2).await;
    let mut runs: Vec<_> = host.recorded_runs(0).await;
    runs.sort_by_key(|run| run["subdomain"].to_string());
    let shown: Vec<_> = runs.iter().map(|run| json!([run["subdomain"], run["version"], run["data"]])).collect();
    assert_eq!(shown, [json!(["acme", 2, 1]), json!(["beta", 1, 3])]);
    let listed = host.schedules().await;
    let listed: Vec<_> = listed.iter().map(|one| json!([one["subdomain"], one["state"]])).collect();
    assert_eq!(listed, [json!([null, "disabled"]), json!(["acme", "done"]), json!(["beta", "done"])]);
    assert_eq!(host.metric("fanfare_schedule_runs_total", &["subdomain=\"acme\"", "outcome=\"ok\""]).await, 1.0);
}

#[tokio::test]
async fn a_run_raises_its_event_for_hooks() {
    let host = scheduled(json!({ "s": { "path": "tick", "immediate": true } }))
        .and("master")
        .manifest("master", json!({ "hooks": { "scheduleRun": { "path": "hook" } } }))
        .start()
        .await;
    eventually("the hook has run", || async {
        let hooks = host.call("master", "master", "hooks", "").await;
        hooks["payload"].as_str().is_some_and(|hooks| hooks.contains("schedules:s"))
    })
    .await;
}

#[tokio::test]
async fn metrics_have_the_lateness_and_the_run_time() {
    let host = scheduled(json!({ "s": { "path": "tick", "interval": 20 } })).start().await;
    host.until_ended(5).await;
    for name in ["fanfare_schedule_lateness_seconds_count", "fanfare_schedule_run_seconds_count"] {
        assert!(host.metric(name, &["module=\"schedules\"", "schedule=\"s\""]).await >= 5.0, "{name}");
    }
    let missed = host.metrics().await.lines().any(|line| line.starts_with("fanfare_schedule_missed_total{"));
    assert!(missed, "it is there, whatever its value");
}

#[tokio::test]
async fn nothing_is_due_after_a_stop_and_running_runs_end_first() {
    let waits = json!({ "path": "tick", "immediate": true, "data": { "how": "waits" } });
    // Below 100 events in a second, so that each run raises one.
    let host = scheduled(json!({ "s": waits, "t": { "path": "tick", "interval": 50 } })).workers(1).start().await;
    eventually("a run waits", || async { host.recorded_runs(0).await.iter().any(|run| run["name"] == "s") }).await;
    let events = host.running().swapper().services.events.clone();
    host.release_runs(0).await;
    host.stop().await;
    let count = events.count();
    let mut reader = events.read_after(0);
    let all: Vec<_> = std::iter::from_fn(|| reader.try_next()).map(|item| format!("{item:?}")).collect();
    let ended = |key: &str| all.iter().filter(|event| event.contains("ScheduleRun") && event.contains(key)).count();
    assert_eq!((ended("schedules:s"), events.count()), (1, count));
    assert!(all.last().unwrap().contains("WorkerClusterExit"), "{:?}", all.last());
}

#[tokio::test]
async fn wrong_settings_refuse_the_module_with_the_position() {
    let host = scheduled(json!({ "s": { "path": "tick", "cron": "0 25 * * *" } })).start().await;
    let status = host.status().await;
    let reason = status["modules"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("module.json:1:") && reason.contains("schedules.s.cron"), "{reason}");
    assert!(reason.contains("`25` at character 3 is no valid hour (0 to 23)"), "{reason}");
    assert_eq!(host.schedules().await.len(), 0);
    // A swap with wrong settings leaves the schedules of the previous generation.
    let host = scheduled(json!({ "s": { "path": "tick", "interval": 50 } })).start().await;
    host.rewrite("schedules", json!({ "schedules": { "s": { "interval": "soon" } } }));
    assert_eq!(host.reload("schedules").await["code"], "refused");
    let before = host.until_ended(1).await.len();
    host.until_ended(before + 3).await;
    assert_every_multiple_once(&host.ended_runs().await, 50, host.missed("s").await);
}

#[tokio::test]
async fn a_schedule_that_the_operator_misspells_is_a_warning() {
    let host = scheduled(json!({ "warmup-once": { "path": "tick", "immediate": true } }))
        .config(json!({ "modules": { "schedules": { "schedules": { "warmup-one": { "disable": true } } } } }))
        .start()
        .await;
    host.until_ended(1).await;
    let words = ["modules.schedules.schedules.warmup-one", "did you mean \"warmup-once\"?"];
    assert!(Log.contains(&words));
}

/// A flood of due times delays neither requests nor the other schedules.
#[tokio::test]
async fn the_shortest_interval_leaves_room_for_others() {
    let all = json!({ "path": "tick", "interval": 10, "type": "all", "overlap": "allow" });
    let host = scheduled(json!({ "flood": all, "s": { "path": "other", "interval": 100 } })).and("echo").start().await;
    for _ in 0..20 {
        assert_eq!(host.post("/api/echo/echo", "hello").await.status, 200);
    }
    eventually("the other schedule runs", || async { host.schedule("s").await["succeeded"].as_u64() >= Some(5) }).await;
    let raised = host.metric("fanfare_host_events_total", &[]).await;
    assert!(raised < 10_000.0, "{raised} events");
}

#[tokio::test]
async fn a_module_that_has_failed_everywhere_reports_each_run() {
    let host = TestHost::with("schedules")
        .manifest(
            "schedules",
            json!({ "schedules": { "s": { "path": "tick", "interval": 50, "data": { "how": "traps" } } } }),
        )
        .config(json!({ "isolate": { "maxRestarts": 0, "restartBackoff": "10ms" } }))
        .start()
        .await;
    eventually("the runs are unavailable", || async {
        host.metric("fanfare_schedule_runs_total", &["outcome=\"unavailable\""]).await >= 2.0
    })
    .await;
    let message = host.schedule("s").await["last"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("schedules has failed in worker-"), "{message}");
    let runs = host.ended_runs().await;
    assert!(due_times(&runs).is_sorted());
}
