//! Crashes: which calls they end, and what the caller and the log get to know.

use serde_json::{Value, json};

use super::steps::{assert_names, gate_before};
use crate::harness::{Started, TestHost, json_of};

/// Makes two calls in worker 0, one that waits and one that traps, and returns both outcomes.
async fn trap_beside_a_waiting_call(host: &Started) -> [Value; 2] {
    let trap = async {
        host.until_running("traps", 0, 1).await;
        host.call("worker-0", "traps", "trap", "").await
    };
    tokio::join!(host.call("worker-0", "traps", "hold", ""), trap).into()
}

#[tokio::test]
async fn a_trap_fails_every_call_in_its_instance_and_each_error_says_where() {
    let host = TestHost::with("traps").start().await;
    let generation = host.generation("traps").await;
    for (ended, handler) in trap_beside_a_waiting_call(&host).await.iter().zip(["hold", "trap"]) {
        assert_eq!((&ended["code"], &ended["status"]), (&json!("crashed"), &json!(500)), "{ended}");
        assert_names(&ended["detail"], &["traps", &generation, "worker-0", &format!("`{handler}`"), "unreachable"]);
    }
}

#[tokio::test]
async fn a_trap_loses_the_memory_of_its_own_instance_only() {
    let host = TestHost::with("traps").and("echo").start().await;
    let everywhere = [("worker-0", "traps"), ("worker-1", "traps"), ("worker-0", "echo")];
    for (worker, module) in everywhere {
        assert_eq!(host.count(worker, module).await, 1);
    }
    trap_beside_a_waiting_call(&host).await;
    for ((worker, module), count) in everywhere.into_iter().zip([1, 2, 2]) {
        assert_eq!(host.count(worker, module).await, count, "{module} in {worker}");
    }
    let restarts = host.metric("fanfare_restarts_total", &[]).await;
    assert_eq!((restarts, &host.slot("traps", 0).await["restarts"]), (1.0, &json!(1)));
}

#[tokio::test]
async fn a_client_gets_a_500_that_names_the_module_and_the_handler() {
    let host = TestHost::with("traps").start().await;
    let answer = host.post("/api/traps/trap", "").await;
    assert_eq!((answer.status, answer.code()), (500, "crashed".to_owned()));
    let problem = answer.json();
    assert_eq!((&problem["module"], &problem["type"]), (&json!("traps"), &json!("urn:fanfare:crashed")));
    assert_names(&problem["detail"], &["traps", &host.generation("traps").await, "worker-", "`trap`"]);
}

#[tokio::test]
async fn the_log_has_a_backtrace_with_the_function_names_of_the_guest() {
    let host = TestHost::empty().and_as("traps", "traced").start().await;
    host.post("/api/traced/trap", "").await;
    let generation = host.generation("traced").await;
    let crash = host.log.following(&[
        "the instance crashed",
        "unreachable",
        "traced",
        &generation,
        "isolate=worker-",
        "fault=\"guest\"",
    ]);
    let function = |line: &String| line.trim_start().starts_with("at traps::innermost_function_that_traps");
    assert!(crash.iter().take_while(|line| line.starts_with("    at ")).any(function), "{crash:?}");
}

#[tokio::test]
async fn a_panic_message_of_the_guest_is_in_the_log_with_the_trace_id_of_the_call() {
    let host = TestHost::with("traps").start().await;
    let answer = host.post("/api/traps/panics", "the panic of this very test").await;
    let trace = answer.json()["trace"].as_str().unwrap().to_owned();
    assert!(host.log.contains(&["the panic of this very test", "stderr", "module=traps", &trace]));
}

#[tokio::test]
async fn only_in_development_the_error_has_the_last_line_on_stderr() {
    for (environment, isolation) in
        [("development", "resident"), ("dev", "fresh"), ("production", "resident"), ("test", "resident")]
    {
        let isolated = json!({ "isolation": isolation });
        let host = TestHost::with("traps").manifest("traps", isolated).environment(environment).workers(1);
        let host = host.start().await;
        let problem = host.post("/api/traps/panics", "the last words").await.json();
        let line = "; its last line on stderr: panicked at traps/src/lib.rs:";
        let shows = |text: &Value| text.to_string().contains(line) && text.to_string().contains(": the last words");
        let is_development = environment.starts_with("dev");
        assert_eq!(shows(&problem["detail"]), is_development, "{environment}: {problem}");
        assert_eq!(problem.to_string().contains("words"), is_development, "{environment}: {problem}");
        if isolation == "resident" {
            host.until_restarted("traps", 0, 1).await;
        }
        let status = host.status().await["modules"].clone();
        assert_eq!(shows(&status), is_development, "{environment}: {status}");
        assert_eq!(status.to_string().contains("words"), shows(&status), "{environment}: {status}");
    }
}

#[tokio::test]
async fn the_caller_gets_the_reason_of_every_crash() {
    let host = TestHost::with("traps").and("exits").start().await;
    // WASI reports every exit code except 0 as 1.
    let ends = [
        ("traps", "recurse", "", "call stack exhausted"),
        ("traps", "later", "", "unreachable"),
        ("exits", "exit", "3", "the guest called exit(1)"),
        ("exits", "exit", "0", "the guest called exit(0)"),
        ("exits", "abort", "", "unreachable"),
    ];
    for (module, route, body, words) in ends {
        let ended = host.call("any", module, route, body).await;
        assert_eq!(ended["code"], "crashed", "{module} {route}: {ended}");
        assert_names(&ended["detail"], &[words]);
        assert_eq!(host.call("any", module, "ok", "").await["payload"], "ok", "after {module} {route}");
    }
}

#[tokio::test]
async fn calls_that_have_not_started_move_to_the_next_instance() {
    let gate = gate_before("trap");
    let host = TestHost::with("traps").limit("traps", "concurrency", 1).workers(1).probe(gate.probe());
    let host = host.start().await;
    assert_eq!(host.count("any", "traps").await, 1);
    let who = || host.call("any", "traps", "who", "");
    let behind = async {
        host.until_running("traps", 0, 1).await;
        let open = async {
            host.until_waiting("traps", 0, 3).await;
            gate.open();
        };
        let (first, second, third, ()) = tokio::join!(who(), who(), who(), open);
        [first, second, third].map(|answer| json_of(&answer)["count"].as_u64().unwrap())
    };
    let (trapped, mut counts) = tokio::join!(host.call("any", "traps", "trap", ""), behind);
    assert_eq!(trapped["code"], "crashed");
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 3], "all calls run in the new instance");
}

#[tokio::test]
async fn a_call_that_has_started_is_never_retried() {
    let host = TestHost::with("traps").start().await;
    let ended = host.call("worker-0", "traps", "after-effect", "").await;
    assert_eq!(ended["code"], "crashed");
    host.until_restarted("traps", 0, 1).await;
    assert_eq!(host.count("worker-0", "traps").await, 1, "the new instance serves");
    assert_eq!(host.count("worker-1", "traps").await, 2, "the call took effect once");
}
