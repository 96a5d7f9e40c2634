//! The output and the log messages of guests, which become lines of the host's log.

use serde_json::{Value, json};

use crate::harness::{Log, Started, TestHost, eventually};

/// A host with a guest under a name that no other test uses, because all tests share one log.
fn floods(name: &str) -> TestHost {
    TestHost::empty().and_as("floods", name).workers(1)
}

async fn write(host: &Started, module: &str, route: &str, flood: Value) {
    assert_eq!(host.post(&format!("/api/{module}/{route}"), flood.to_string()).await.text(), "ok");
}

fn lines_of(module: &str) -> Vec<String> {
    Log::capture().lines(&["guest: ", &format!("module={module} ")])
}

#[tokio::test]
async fn a_line_names_its_module_generation_worker_and_call() {
    let host = floods("floods-named").start().await;
    let generation = format!("generation={}", host.generation("floods-named").await);
    for (stderr, stream, level) in [(false, "stdout", "INFO"), (true, "stderr", "WARN")] {
        let flood = json!({ "text": "hello from the guest", "stderr": stderr });
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = format!("00-{trace}-00f067aa0ba902b7-01");
        let path = "/api/floods-named/print";
        host.request("POST", path, &[("traceparent", &parent)], flood.to_string()).await;
        let fields = [level, "hello from the guest", "module=floods-named", &generation, "isolate=worker-0", trace];
        let lines = Log::capture().lines(&fields);
        assert_eq!(lines.iter().filter(|line| line.contains(stream)).count(), 1, "{stream}: {lines:?}");
    }
}

#[tokio::test]
async fn control_characters_are_escaped() {
    let host = floods("floods-control").start().await;
    let flood = json!({ "text": "evil", "control": true });
    for route in ["print", "log"] {
        write(&host, "floods-control", route, flood.clone()).await;
    }
    let lines = lines_of("floods-control");
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in &lines {
        assert!(!line.chars().any(char::is_control), "{line:?}");
        assert!(line.contains(r"\u{1b}[31m\u{7}\u{0}evil\r\u{1b}[2J\u{9b}"), "{line}");
    }
    assert!(lines[1].contains(r"\n1 k\ney="), "a message and its fields are one line: {}", lines[1]);
}

#[tokio::test]
async fn the_message_of_a_failure_is_escaped_and_shortened() {
    let host = TestHost::empty().and_as("echo", "echo-forging").workers(1).start().await;
    let message = format!("sold out\nINFO forged \u{1b}[2J{}", "x".repeat(2_000));
    let failure = json!({ "name": "n", "message": message, "status": 500 });
    assert_eq!(host.post("/api/echo-forging/fail", failure.to_string()).await.status, 500);
    let lines = Log::capture().lines(&["a call failed", "module=echo-forging"]);
    assert!(lines.len() == 1 && lines[0].contains(r"sold out\nINFO forged \u{1b}[2Jxxx"), "{lines:?}");
    assert!(lines[0].len() < 1_500 && lines[0].contains('…'), "{lines:?}");
}

/// An HTTP client learns that its request was wrong. Nobody learns it of a broadcast.
#[tokio::test]
async fn a_failure_that_no_client_is_told_is_in_the_log_with_the_handler() {
    let broadcasts = json!({ "broadcasts": { "told": { "path": "fail" } } });
    let host = TestHost::empty().and_as("echo", "untold").manifest("untold", broadcasts).workers(1).start().await;
    let failure = json!({ "name": "n", "message": "a wrong input", "status": 400 }).to_string();
    assert_eq!(host.post("/api/untold/fail", failure.clone()).await.status, 400);
    assert!(host.log.lines(&["WARN", "module=untold"]).is_empty());
    host.emit("untold", "told", failure).await;
    let line = ["WARN", "module=untold", "a call failed in `fail`: ", "a wrong input", "trigger=\"broadcast\""];
    eventually("the log has it", || async { host.log.contains(&line) }).await;
}

#[tokio::test]
async fn fresh_instances_share_the_log_rate() {
    let fresh = json!({ "isolation": "fresh", "limits": { "logRate": 3 } });
    let host = floods("floods-fresh").manifest("floods-fresh", fresh.clone()).start().await;
    for _ in 0..5 {
        write(&host, "floods-fresh", "print", json!({ "text": "one line" })).await;
    }
    let dropped = host.metric("fanfare_log_lines_dropped_total", &["module=\"floods-fresh\""]).await;
    // The lines may fall into one second or into two.
    assert!(dropped == 2.0 || lines_of("floods-fresh").len() > 3, "{dropped}");

    let traps =
        TestHost::empty().and_as("traps", "traps-fresh").manifest("traps-fresh", fresh).workers(1).start().await;
    for _ in 0..10 {
        assert_eq!(traps.post("/api/traps-fresh/trap", "").await.code(), "crashed");
    }
    let told = Log::capture().lines(&["a fresh instance crashed", "traps-fresh"]).len();
    assert!((1..10).contains(&told), "a client that causes crashes must not flood the log: {told}");
}

#[tokio::test]
async fn text_without_a_line_break_is_logged_when_the_break_arrives() {
    let host = floods("floods-unbroken").start().await;
    write(&host, "floods-unbroken", "print", json!({ "text": "abc", "lines": 3, "unbroken": true })).await;
    assert_eq!(lines_of("floods-unbroken"), [""; 0]);
    write(&host, "floods-unbroken", "print", json!({ "text": "!" })).await;
    let lines = lines_of("floods-unbroken");
    assert!(lines.len() == 1 && lines[0].contains("guest: abcabcabc! "), "{lines:?}");
}

#[tokio::test]
async fn lines_beyond_the_rate_are_dropped_and_their_number_is_logged() {
    let host = floods("floods-rated").limit("floods-rated", "logRate", 10).start().await;
    write(&host, "floods-rated", "print", json!({ "text": "line", "lines": 500 })).await;
    let dropped = host.metric("fanfare_log_lines_dropped_total", &["floods-rated"]).await;
    assert_eq!(dropped as usize + lines_of("floods-rated").len(), 500);
    eventually("the number is logged", || async {
        write(&host, "floods-rated", "print", json!({ "text": "later" })).await;
        let told = Log::capture().lines(&["limits.logRate", "module=floods-rated"]);
        let counts = told.iter().map(|line| line.split_once("dropped=").unwrap().1.parse::<f64>().unwrap());
        counts.sum::<f64>() >= dropped
    })
    .await;
}
