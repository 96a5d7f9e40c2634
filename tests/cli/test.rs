//! `fanfare test`: runs the cases of modules in a temporary host.

use serde_json::{Value, json};

use super::Project;
use crate::harness::source_of;

/// A project with four modules, one of which has these cases.
fn project(module: &str, cases: Value) -> Project {
    let file = format!("modules/{module}/{module}.test.json");
    Project::with(&["echo", "flags", "waits", "traps"]).file(&file, json!({ "cases": cases }).to_string())
}

#[tokio::test]
async fn cases_run_in_order_in_one_host_with_every_kind_of_call() {
    let cases = json!([
        { "name": "nothing yet", "call": { "path": "" }, "expect": { "json": {} } },
        { "name": "set", "call": { "method": "put", "path": "dark mode", "body": { "on": [1, null] } },
          "expect": { "status": 200, "has": { "name": "dark mode" } } },
        { "name": "kept", "call": { "method": "get", "path": "dark%20mode" },
          "expect": { "json": { "on": [1, null] }, "headers": { "content-type": "application/json" } } },
        { "name": "a failure has a code", "call": { "method": "get", "path": "none" },
          "expect": { "status": 404, "code": "no-such-flag", "contains": "no flag" } },
        { "name": "closed from outside", "call": { "path": "inner/dump" }, "expect": { "code": "forbidden" } },
        { "name": "open inside", "call": { "path": "inner/dump", "from": "inside" },
          "expect": { "has": { "dark mode": { "seq": 1 } } } },
        { "name": "a failure inside", "call": { "method": "get", "path": "none", "from": "inside" },
          "expect": { "code": "no-such-flag" } },
        { "name": "a broadcast", "broadcast": { "name": "set", "body": { "name": "b", "value": 2 } } },
        { "name": "reached all", "call": { "method": "get", "path": "b" }, "expect": { "text": "2" } },
        { "name": "no such broadcast", "broadcast": { "name": "none" }, "expect": { "code": "not-found" } },
        { "name": "what is no JSON", "call": { "method": "put", "path": "x", "body": "{" },
          "expect": { "status": 400, "code": "invalid-body" } },
    ]);
    let project = project("flags", cases.clone());
    let ran = project.run(&["test", "modules/flags"]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let lines: Vec<&str> = ran.out.lines().collect();
    let names: Vec<String> = cases
        .as_array()
        .unwrap()
        .iter()
        .map(|case| format!("ok    flags: {}", case["name"].as_str().unwrap()))
        .collect();
    assert_eq!(&lines[..lines.len() - 1], names);
    assert!(lines[lines.len() - 1].starts_with("11 cases, 0 failed, in "), "{}", ran.out);
    assert!(!project.path().join("modules/flags/.fanfare").exists());
}

#[tokio::test]
async fn a_file_of_cases_sets_variables() {
    let of_project = json!({ "modules": { "outside": { "env": { "REGION": "us", "ZONE": "b" } } } });
    let project = Project::with(&["outside"]).config(of_project);
    let mut manifest: Value = serde_json::from_str(&project.read("modules/outside/module.json")).unwrap();
    manifest["capabilities"] = json!({ "env": ["REGION", "ZONE"] });
    let case = |name: &str, value: &str| json!({ "name": name, "call": { "path": "variable", "body": name }, "expect": { "json": value } });
    let file = json!({ "env": { "REGION": "eu" }, "cases": [case("REGION", "eu"), case("ZONE", "b")] });
    let project = project.file("modules/outside/module.json", manifest.to_string());
    let project = project.file("modules/outside/a.test.json", file.to_string());
    let ran = project.run(&["test", "outside"]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let wrong = json!({ "env": { "A=B": "eu" }, "cases": [case("REGION", "eu")] });
    let ran = project.file("modules/outside/a.test.json", wrong.to_string()).run(&["test", "outside"]).await;
    assert!(ran.code == 1 && ran.err.contains("env"), "{}{}", ran.out, ran.err);
}

#[tokio::test]
async fn a_failed_case_prints_expected_and_actual_values() {
    let cases = json!([
        { "name": "wrong", "call": { "path": "who" }, "expect": { "json": { "count": 2 } } },
        { "name": "right", "call": { "path": "who" }, "expect": { "has": { "count": 2 } } },
    ]);
    let project = project("echo", cases);
    let ran = project.run(&["test", "modules/echo"]).await;
    assert_eq!(ran.code, 1);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("FAIL  echo: wrong (modules/echo/echo.test.json:1:"), "{}", ran.out);
    assert_eq!(lines[1].trim(), "json.count: expected 2, found 1");
    assert!(lines[2].trim().starts_with("the answer: 200 {"), "{}", ran.out);
    assert!(
        ran.out.contains("ok    echo: right\n2 cases, 1 failed, in "),
        "both cases ran in the same instance: {}",
        ran.out
    );

    let json = project.run(&["test", "modules/echo", "--json"]).await;
    let report = json.json();
    assert_eq!((json.code, &report["passed"], &report["failed"]), (1, &json!(1), &json!(1)));
    assert_eq!(report["cases"][0]["faults"][0], "json.count: expected 2, found 1");
    assert_eq!(report["cases"][1]["passed"], true);
}

#[tokio::test]
async fn only_the_log_of_a_failed_case_is_printed() {
    let print = |expect: Value, text: &str| json!({ "name": text, "call": { "path": "print", "body": { "lines": 1, "length": 5, "text": text } }, "expect": expect });
    let cases = json!([print(json!({}), "quiet"), print(json!({ "status": 500 }), "loud"),]);
    let project = Project::with(&["floods"]).file("modules/floods/a.test.json", json!({ "cases": cases }).to_string());
    let ran = project.run(&["test", "modules/floods"]).await;
    assert_eq!(ran.code, 1, "{}", ran.out);
    let logged: Vec<&str> = ran.out.lines().filter(|line| line.contains("log: worker-0 info: ")).collect();
    assert_eq!(logged.len(), 1, "{}", ran.out);
}

#[tokio::test]
async fn every_worker_must_meet_the_expectations_of_a_broadcast() {
    let cases = json!([
        { "name": "set", "broadcast": { "name": "set", "body": { "name": "b" } }, "expect": { "status": 201 } },
    ]);
    let project = project("flags", cases);
    let ran = project.run(&["test", "modules/flags", "--workers", "3"]).await;
    assert_eq!(ran.code, 1);
    for worker in ["worker-0", "worker-1", "worker-2"] {
        assert!(ran.out.contains(&format!("{worker}: status: expected 201, found 204")), "{}", ran.out);
    }
}

#[tokio::test]
async fn a_test_grants_all_capabilities_and_merges_the_config() {
    let tests = json!({
        "config": { "mode": "ok", "greeting": "from the test" },
        "cases": [{ "name": "runs", "call": { "path": "who" } }],
    });
    let project = Project::with(&["echo"]).file("modules/echo/echo.test.json", tests.to_string());
    let mut manifest: Value = serde_json::from_str(&project.read("modules/echo/module.json")).unwrap();
    manifest["capabilities"] = json!({ "rpc": ["flags"], "broadcast": ["flags"] });
    let project = project.file("modules/echo/module.json", manifest.to_string());
    assert_eq!(project.run(&["check"]).await.code, 1, "the project does not grant the capability");
    let ran = project.run(&["test"]).await;
    assert_eq!(ran.code, 0, "without an argument, every module with cases is tested: {}{}", ran.out, ran.err);

    let startup = Project::with(&["startup"]);
    let tests =
        |mode: &str| json!({ "config": { "mode": mode }, "cases": [{ "name": "up", "call": { "path": "started" } }] });
    let startup = startup.file("modules/startup/a.test.json", tests("fails").to_string());
    let ran = startup.run(&["test", "modules/startup"]).await;
    assert!(ran.code == 1 && ran.err.contains("the startup fails as configured"), "{}{}", ran.out, ran.err);
    let startup = startup.file("modules/startup/a.test.json", tests("ok").to_string());
    assert_eq!(startup.run(&["test", "modules/startup"]).await.code, 0);
}

#[tokio::test]
async fn a_test_that_cannot_run_prints_the_remedy() {
    let none = Project::with(&["echo"]);
    for args in [&["test", "modules/echo"][..], &["test"]] {
        let ran = none.run(args).await;
        assert!(ran.code == 1 && ran.err.contains("no test cases found; write modules/"), "{}", ran.err);
        assert!(ran.err.contains(".test.json with { \"cases\": [{ \"name\""), "{}", ran.err);
    }
    let wrong = project("echo", json!([{ "name": "a", "call": { "path": "who" }, "expct": {} }]));
    let ran = wrong.run(&["test", "modules/echo"]).await;
    assert!(ran.code == 1 && ran.err.contains("modules/echo/echo.test.json:1:"), "{}", ran.err);
    assert!(ran.err.contains("cases[0].expct: unknown key; did you mean \"expect\"?"), "{}", ran.err);

    let unbuilt = project("echo", json!([{ "name": "a", "call": { "path": "who" } }]));
    std::fs::remove_file(unbuilt.path().join("modules/echo/echo.wasm")).unwrap();
    let ran = unbuilt.run(&["test", "modules/echo"]).await;
    let why = "modules/echo/echo.wasm does not exist yet; run `fanfare build modules/echo`";
    assert!(ran.code == 1 && ran.err.contains(why), "{}", ran.err);
}

#[tokio::test]
async fn the_cases_of_the_example_modules_pass() {
    for (module, count, grants) in [
        ("counter", 7, json!({})),
        ("lobby", 18, json!({ "sessions": true })),
        ("relay", 9, json!({ "subscribe": ["redis:news"] })),
        ("ticker", 10, json!({ "sse": ["*"] })),
    ] {
        let cases = std::fs::read(source_of(module).join(format!("{module}.test.json"))).unwrap();
        let project = Project::with(&[module]).file(&format!("modules/{module}/{module}.test.json"), cases);
        let project = project.config(json!({ "modules": { module: { "grants": grants } } }));
        let ran = project.run(&["test", &format!("modules/{module}")]).await;
        assert!(ran.code == 0 && ran.out.contains(&format!("{count} cases, 0 failed, in ")), "{}{}", ran.out, ran.err);
    }
}

/// A project with the guest `streams`, which has these cases.
fn streams(cases: Value) -> Project {
    Project::with(&["streams"]).file("modules/streams/streams.test.json", json!({ "cases": cases }).to_string())
}

#[tokio::test]
async fn cases_open_streams_and_expect_events_refusals_and_ends() {
    let publish = |data: &str| json!({ "path": "publish", "body": { "key": "streams/a", "data": data } });
    let cases = json!([
        { "name": "opens", "stream": { "key": "streams/a" }, "expect": { "headers": { "content-type": "text/event-stream" } } },
        { "name": "opens another", "stream": { "key": "streams/guarded/x", "as": "other", "headers": { "x-user": "ada" } } },
        { "name": "the route saw the request", "call": { "path": "asked" }, "expect": { "contains": "\"user\":\"ada\"" } },
        { "name": "an event arrives", "call": publish("{\"count\":1}"), "expect": { "json": 1, "events": {
            "streams/a": [{ "event": "message", "id": "*-*", "has": { "count": 1 } }] } } },
        { "name": "many arrive in order", "call": { "path": "burst", "body": { "key": "streams/a", "count": 3 } },
          "expect": { "events": { "streams/a": [{ "data": "0" }, { "data": "1" }, { "contains": "2" }] } } },
        { "name": "the client leaves", "stream": { "close": "streams/a" } },
        { "name": "misses one", "call": publish("missed") },
        { "name": "resumes", "stream": { "resume": "streams/a" }, "expect": { "events": { "streams/a": [{ "data": "missed" }] } } },
        { "name": "an id that nobody knows", "stream": { "key": "streams/a", "as": "late", "lastEventId": "x" },
          "expect": { "events": { "late": [{ "event": "reset", "data": "" }, { "has": { "count": 1 } }] } } },
        { "name": "refused", "stream": { "key": "streams/guarded/refuse" },
          "expect": { "status": 401, "code": "no-user", "contains": "log in first" } },
        { "name": "redirected", "stream": { "key": "streams/guarded/redirect" },
          "expect": { "status": 302, "headers": { "location": "/login" } } },
        { "name": "the host ends it", "call": { "path": "close", "body": { "key": "streams/a" } },
          "expect": { "json": 2, "ended": ["streams/a"] } },
    ]);
    let count = cases.as_array().unwrap().len();
    let ran = streams(cases).run(&["test", "modules/streams"]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains(&format!("{count} cases, 0 failed, in ")), "{}", ran.out);
}

#[tokio::test]
async fn a_failed_expectation_of_a_stream_names_the_event() {
    let cases = json!([
        { "name": "opens", "stream": { "key": "streams/a" } },
        { "name": "wrong", "call": { "path": "publish", "body": { "key": "streams/a", "data": "x", "id": "7" } },
          "expect": { "events": { "streams/a": [{ "event": "tick", "id": "8", "data": "y" }] } } },
        { "name": "not ended", "call": { "path": "publish", "body": { "key": "streams/a", "data": "z" } },
          "expect": { "ended": ["streams/a"] } },
        { "name": "not open", "call": { "path": "who" }, "expect": { "events": { "none": [{}] } } },
        { "name": "cannot resume", "stream": { "resume": "none" } },
        { "name": "ends", "call": { "path": "close", "body": { "key": "streams/a" } },
          "expect": { "events": { "streams/a": [{}] } } },
    ]);
    let ran = streams(cases).run(&["test", "modules/streams"]).await;
    assert_eq!(ran.code, 1);
    for fault in [
        "events.streams/a[0].event: expected \"tick\", found \"message\"",
        "events.streams/a[0].id: expected \"8\", found \"7\"",
        "events.streams/a[0].data: expected \"y\", found \"x\"",
        "ended: expected the end of the stream streams/a, found message \"z\"",
        "no stream \"none\" is open: open it in an earlier case, with `stream`",
        "events.streams/a[0]: expected an event, but the stream has ended",
        "6 cases, 5 failed, in ",
    ] {
        assert!(ran.out.contains(fault), "{fault}: {}", ran.out);
    }
}

#[tokio::test]
async fn cases_run_schedules_which_do_not_run_by_themselves() {
    let cases = json!([
        { "name": "nothing has run", "call": { "method": "get", "path": "runs" }, "expect": { "json": [] } },
        { "name": "once", "schedule": { "name": "often" }, "expect": { "has": { "name": "often", "data": 1 } } },
        { "name": "with a payload", "schedule": { "name": "often", "body": { "a": 2 } },
          "expect": { "has": { "data": { "a": 2 } } } },
        { "name": "in every worker", "schedule": { "name": "every" }, "expect": { "has": { "name": "every" } } },
        { "name": "a failure", "schedule": { "name": "often", "body": { "how": "fails" } },
          "expect": { "code": "on-request", "status": 409 } },
        { "name": "a wrong name", "schedule": { "name": "ofen" } },
    ]);
    let project = Project::with(&["schedules"]);
    let mut manifest: Value = serde_json::from_str(&project.read("modules/schedules/module.json")).unwrap();
    manifest["schedules"] = json!({
        "often": { "path": "tick", "interval": 10, "immediate": true, "data": 1 },
        "every": { "path": "tick", "cron": "@hourly", "type": "all" },
    });
    let project = project
        .file("modules/schedules/module.json", manifest.to_string())
        .file("modules/schedules/schedules.test.json", json!({ "cases": cases }).to_string());
    let tested = project.run(&["test"]).await;
    assert_eq!(tested.code, 1, "{}", tested.out);
    let passed: Vec<&str> = tested.out.lines().filter(|line| line.starts_with("ok ")).collect();
    assert_eq!(passed.len(), 5, "{}", tested.out);
    assert!(tested.out.contains("schedules has no schedule `ofen`; it has: every, often"), "{}", tested.out);
}

#[tokio::test]
async fn cases_emit_events_deliver_messages_and_expect_what_the_module_sends() {
    let cases = json!([
        { "name": "an event reaches the subscription, whose handler emits",
          "emit": { "type": "order/paid", "value": { "type": "subscriptions/seen", "value": 1 } },
          "expect": { "emitted": [{ "type": "subscriptions/seen", "json": 1 }] } },
        { "name": "a message of Redis", "receive": { "name": "news", "topic": "news", "body": "hello" },
          "expect": { "status": 204 } },
        { "name": "an entry of a Redis stream", "receive": { "name": "jobs", "topic": "jobs", "id": "1-0", "body": [1] } },
        { "name": "a failing handler", "receive": { "name": "fails", "topic": "a", "body": "x" },
          "expect": { "status": 409, "code": "on-request" } },
        { "name": "no such subscription", "receive": { "name": "none", "topic": "a" },
          "expect": { "status": 404, "code": "not-found" } },
        { "name": "all were received in order", "call": { "method": "get", "path": "got" },
          "expect": { "has": [
            { "name": "news", "source": "redis", "id": null, "text": "hello" },
            { "name": "jobs", "id": "1-0", "text": "[1]" },
            { "name": "fails", "source": "event", "topic": "a", "text": "x" },
          ] } },
        { "name": "two emitted events", "call": { "path": "emit", "body": { "type": "subscriptions/a", "value": { "b": 1, "c": 2 }, "count": 2 } },
          "expect": { "emitted": [{ "type": "subscriptions/a", "json": { "b": 1, "c": 2 } }, { "has": { "c": 2 } }] } },
        { "name": "a value without a type", "call": { "path": "emit", "body": { "text": "plain" } },
          "expect": { "emitted": [{ "type": "message", "json": "plain" }] } },
        { "name": "a published message", "call": { "path": "publish", "body": { "connection": "redis", "topic": "news", "text": "hi" } },
          "expect": { "published": [{ "connection": "redis", "topic": "news", "text": "hi" }] } },
        { "name": "a topic without a grant", "call": { "path": "publish", "body": { "connection": "redis", "topic": "other" } },
          "expect": { "code": "forbidden" } },
        { "name": "an event whose type is empty", "emit": { "type": "" }, "expect": { "code": "invalid" } },
    ]);
    let count = cases.as_array().unwrap().len();
    let ran = subscriptions(cases).run(&["test", "modules/subscriptions"]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains(&format!("{count} cases, 0 failed, in ")), "{}", ran.out);
}

#[tokio::test]
async fn a_failed_expectation_of_an_event_or_a_message_names_it() {
    let emit = |text: &str| json!({ "path": "emit", "body": { "type": "subscriptions/a", "text": text } });
    let cases = json!([
        { "name": "another event", "call": emit("b"), "expect": { "emitted": [{ "type": "subscriptions/c", "json": "d" }] } },
        { "name": "another message", "call": { "path": "publish", "body": { "connection": "redis", "topic": "news", "text": "hi" } },
          "expect": { "published": [{ "topic": "olds", "contains": "x" }] } },
        { "name": "none", "call": { "path": "who" }, "expect": { "emitted": [{}] } },
        { "name": "an event that nobody expects", "call": emit("unexpected") },
        { "name": "not the event of the previous case", "call": emit("e"), "expect": { "emitted": [{ "json": "e" }] } },
    ]);
    let ran = subscriptions(cases).run(&["test", "modules/subscriptions"]).await;
    assert_eq!(ran.code, 1);
    for fault in [
        "emitted[0].type: expected \"subscriptions/c\", found \"subscriptions/a\"",
        "emitted[0].json: expected \"d\", found \"b\"",
        "published[0].topic: expected \"olds\", found \"news\"",
        "published[0].contains: expected \"x\", found \"hi\"",
        "emitted[0]: expected an event, but the module emitted none within 10 s",
        "5 cases, 3 failed, in ",
    ] {
        assert!(ran.out.contains(fault), "{fault}: {}", ran.out);
    }
}

/// A project with the guest `subscriptions`, which has subscriptions and these cases.
fn subscriptions(cases: Value) -> Project {
    let project = Project::with(&["subscriptions"]);
    let mut manifest: Value = serde_json::from_str(&project.read("modules/subscriptions/module.json")).unwrap();
    manifest["subscriptions"] = json!({
        "orders": { "event": "order/*", "path": "emit" },
        "news": { "redis": "news", "path": "on" },
        "jobs": { "redisStream": "jobs", "path": "on" },
        "fails": { "event": "a", "path": "fails" },
    });
    manifest["capabilities"] = json!({
        "events": ["message"], "publish": ["redis:news"], "subscribe": ["redis:news", "redis:jobs"],
    });
    project
        .file("modules/subscriptions/module.json", manifest.to_string())
        .file("modules/subscriptions/subscriptions.test.json", json!({ "cases": cases }).to_string())
}

#[tokio::test]
async fn a_chain_runs_the_middlewares_of_other_modules() {
    let route = |chain: &str| {
        let chained = json!({ "path": "buy", "handler": "show", "middlewares": [chain] });
        json!({ "component": "gates.wasm", "routes": [chained], "capabilities": { "rpc": ["limiter", "later"] } })
    };
    let cases = json!({ "cases": [
        { "name": "is within the limit", "call": { "path": "buy", "body": "apples" }, "expect": { "has": { "payload": "apples" } } },
        { "name": "is beyond it", "call": { "path": "buy" }, "expect": { "status": 429 } },
    ] });
    let project = Project::with(&["gates", "limiter"])
        .file("modules/gates/module.json", route("limiter/check?rate=0.001&burst=1&by=all").to_string())
        .file("modules/gates/gates.test.json", cases.to_string());
    let ran = project.run(&["test", "modules/gates"]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("2 cases, 0 failed"), "{}", ran.out);

    let project = project.file("modules/gates/module.json", route("later/gate").to_string());
    let ran = project.run(&["test", "modules/gates"]).await;
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.err.contains("the middleware `later/gate`: there is no module later"), "{}", ran.err);
}

#[tokio::test]
async fn the_detail_of_a_crash_has_the_message_of_the_panic() {
    let case = json!({ "name": "a panic", "call": { "method": "post", "path": "panics", "body": "the last words" },
                       "expect": { "code": "crashed", "contains": "; its last line on stderr: panicked at " } });
    let ran = project("traps", json!([case])).run(&["test", "traps"]).await;
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}
