//! The programs in `host/examples`.

#[path = "../host/examples/call.rs"]
#[allow(dead_code)] // `main` is for people.
mod call;

#[path = "../host/examples/embed.rs"]
#[allow(dead_code)] // `main` is for people.
mod embed;

#[path = "../host/examples/two_hosts.rs"]
#[allow(dead_code)] // `main` is for people.
mod two_hosts;

use crate::cli::project::Project;
use crate::harness::{TempDir, binary};

#[tokio::test]
async fn the_example_with_modules_in_memory_exchanges_messages_and_reads_events() {
    let lines = embed::run(binary(), TempDir::new().path()).await.unwrap();
    let expected = [
        "ready with 2 workers",
        "3 visits",
        "counter was reloaded",
        r#"the reply of the program: {"ok":{"payload":"messenger says \"hello\"","status":0}}"#,
        r#"worker-0 has received {"hello":"worker"}"#,
        "stopped",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn the_example_with_two_hosts_stops_one_of_them_first() {
    let reply = two_hosts::run(&binary(), TempDir::new().path()).await.unwrap();
    assert!(reply.contains("true"), "{reply}");
}

#[tokio::test]
async fn the_example_calls_a_route_before_and_after_a_reload() {
    let project = Project::with(&["echo"]);
    let (status, body) = call::run(project.path().into(), binary(), "echo", "echo").await.unwrap();
    assert_eq!((status.as_u16(), body.as_str()), (200, "second"));
}

#[tokio::test]
async fn the_example_fails_with_every_fault_of_the_settings() {
    let project = Project::with(&[]).config(serde_json::json!({ "wokers": 2, "rpc": {} }));
    let error = call::run(project.path().into(), binary(), "echo", "echo").await.unwrap_err().to_string();
    assert!(error.contains("wokers") && error.contains("rpc"), "{error}");
}
