//! Components that export `wasi:cli/run`, which schedules run.

use serde_json::{Value, json};

use crate::harness::{Started, TestHost, eventually};

/// A host whose program has a schedule `s`, which runs by hand, with these arguments.
fn program(command: Value) -> TestHost {
    let schedules = json!({ "s": { "interval": "8760h", "command": command } });
    TestHost::with("command-2").workers(1).manifest("command-2", json!({ "schedules": schedules }))
}

impl Started {
    /// Runs a schedule, and returns the reply or the error.
    async fn run_command(&self, module: &str, name: &str, payload: &str) -> Value {
        self.admin("POST", &format!("/v1/schedules/run?module={module}&name={name}"), payload).await.json()
    }

    /// The counts of the schedule `s`.
    async fn runs(&self) -> Value {
        let schedules = self.admin("GET", "/v1/schedules", "").await.json();
        schedules.as_array().unwrap().iter().find(|one| one["name"] == "s").unwrap().clone()
    }
}

#[tokio::test]
async fn a_command_gets_its_arguments_and_writes_to_the_log() {
    let host = TestHost::with("command-2").and("command-3").start().await;
    assert_eq!(host.run_command("command-2", "arguments", "").await["status"], 204);
    assert!(host.log.contains(&["INFO", r#"["command-2", "arguments", "a b", ""]"#]));
    host.run_command("command-2", "none", "").await;
    assert!(host.log.contains(&["INFO", r#"["command-2"]"#]));
    assert_eq!(host.run_command("command-3", "hello", "").await["status"], 204);
    assert!(host.log.contains(&["INFO", "wasi 0.3: hello", "command-3"]));
    let failed = host.run_command("command-3", "fail", "").await;
    assert_eq!(failed["detail"], "the command ended with the exit code 1", "{failed}");
}

#[tokio::test]
async fn each_run_has_an_instance_of_its_own() {
    let host = program(json!(["count"])).start().await;
    for _ in 0..3 {
        assert_eq!(host.run_command("command-2", "s", "").await["status"], 204);
    }
    assert_eq!(host.log.lines(&["INFO", "run 0"]).len(), 3);
}

#[tokio::test]
async fn the_payload_is_the_standard_input() {
    let schedules = json!({ "s": { "interval": "8760h", "command": ["input"], "data": { "from": "manifest" } } });
    let host = TestHost::with("command-2").manifest("command-2", json!({ "schedules": schedules })).start().await;
    for (payload, read) in [("", r#"{"from":"manifest"}"#), ("[1]", "[1]")] {
        assert_eq!(host.run_command("command-2", "s", payload).await["status"], 204);
        assert!(host.log.contains(&["INFO", &format!("read {read:?}")]), "{:?}", host.log.lines(&["read"]));
    }
}

#[tokio::test]
async fn the_exit_code_is_reported() {
    // The `exit` of WASI says only whether a program has succeeded.
    for (command, code) in [(json!(["fail"]), 1), (json!(["exit", "3"]), 1), (json!(["exit", "0"]), 0)] {
        let host = program(command.clone()).start().await;
        let reply = host.run_command("command-2", "s", "").await;
        let run = host.runs().await;
        if code == 0 {
            assert_eq!((&reply["status"], &run["succeeded"], &run["failed"]), (&json!(204), &json!(1), &json!(0)));
            continue;
        }
        let message = format!("the command ended with the exit code {code}");
        assert_eq!((&reply["code"], &reply["detail"]), (&json!("exit"), &json!(message)), "{command}");
        assert_eq!((&run["succeeded"], &run["failed"]), (&json!(0), &json!(1)), "{run}");
        assert!(run.to_string().contains(&message), "{run}");
    }
}

#[tokio::test]
async fn a_command_that_crashes_or_computes_for_too_long_harms_no_other_run() {
    for (command, why) in [(json!(["abort"]), "unreachable"), (json!(["spin"]), "limits.cpu")] {
        let host = program(command).limit("command-2", "cpu", "100ms").start().await;
        for _ in 0..2 {
            let failed = host.run_command("command-2", "s", "").await;
            assert_eq!(failed["code"], "crashed", "{failed}");
        }
        assert!(host.log.contains(&["ERROR", "a fresh instance crashed", why]));
        assert_eq!(host.run_command("command-2", "s", "").await["code"], "crashed");
    }
}

#[tokio::test]
async fn a_command_runs_at_its_due_time_with_what_was_granted() {
    let schedules = json!({ "s": { "interval": "8760h", "immediate": true, "command": ["variable", "GREETING"] } });
    let host = TestHost::with("command-2")
        .manifest("command-2", json!({ "schedules": schedules, "capabilities": { "env": ["GREETING"] } }))
        .grant("command-2", json!({ "env": ["GREETING"] }))
        .config(json!({ "modules": { "command-2": { "env": { "GREETING": "hello" } } } }))
        .start()
        .await;
    eventually("it has run", || async { host.log.contains(&["INFO", r#"Some("hello")"#]) }).await;
    assert_eq!(host.get("/api/command-2/").await.status, 404, "it serves no requests");
}

#[tokio::test]
async fn a_swap_changes_the_command() {
    let host = program(json!(["exit", "1"])).start().await;
    assert_eq!(host.run_command("command-2", "s", "").await["code"], "exit");
    host.rewrite("command-2", json!({ "schedules": { "s": { "interval": "8760h", "command": ["exit", "0"] } } }));
    assert_eq!(host.reload("command-2").await["outcome"], "swapped");
    assert_eq!(host.run_command("command-2", "s", "").await["status"], 204);
}

#[tokio::test]
async fn a_run_that_waits_during_a_swap_does_what_the_new_generation_says() {
    let one_at_a_time = |command: Value| {
        let host = program(command).limit("command-2", "concurrency", 1).limit("command-2", "cpu", "2s");
        host.limit("command-2", "timeout", "30s")
    };
    for (schedules, outcome) in [
        (json!({ "s": { "interval": "8760h", "command": ["exit", "0"] } }), ("status", json!(204))),
        (json!({ "t": { "interval": "8760h", "command": ["exit", "0"] } }), ("code", json!("not-found"))),
    ] {
        let host = one_at_a_time(json!(["spin"])).start().await;
        let run = || host.run_command("command-2", "s", "");
        let swap = async {
            eventually("one run waits", || async { host.slot("command-2", 0).await["waiting"] == 1 }).await;
            host.rewrite("command-2", json!({ "schedules": schedules }));
            host.reload("command-2").await
        };
        let (first, second, swapped) = tokio::join!(run(), run(), swap);
        assert_eq!(swapped["outcome"], "swapped", "{swapped}");
        let runs = [first, second];
        assert!(runs.iter().any(|run| run["code"] == "crashed"), "{runs:?}");
        assert!(runs.iter().any(|run| run[outcome.0] == outcome.1), "{runs:?}");
    }
}

/// Why a module of this host is rejected.
async fn rejected(module: &str, host: TestHost) -> String {
    let host = host.start().await;
    let status = host.admin("GET", "/v1/status", "").await.json();
    let of_module = status["modules"].as_array().unwrap().iter().find(|one| one["name"] == module).unwrap();
    of_module["reason"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_manifest_that_does_not_fit_is_rejected_with_the_remedy() {
    let command = |value: Value| json!({ "schedules": { "s": { "interval": "1h", "command": value } } });
    for (module, manifest, why) in [
        ("echo", command(json!([])), "exports no wasi:cli/run, but the schedule `s` of module.json has `command`"),
        ("command-2", json!({ "routes": [{ "path": "a", "handler": "a" }] }), "module.json has routes"),
    ] {
        let reason = rejected(module, TestHost::with(module).manifest(module, manifest)).await;
        assert!(reason.contains(why), "{module}: {reason}");
    }
    let bare =
        TestHost::with("command-2").manifest_text("command-2", |_| r#"{ "component": "command_2.wasm" }"#.into());
    let reason = rejected("command-2", bare).await;
    assert!(reason.contains("exports only wasi:cli/run, which runs as a schedule"), "{reason}");
}
