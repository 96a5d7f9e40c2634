//! The programs in `host/examples`.

#[path = "../host/examples/call.rs"]
#[allow(dead_code)] // `main` is for people.
mod call;

use crate::cli::project::Project;
use crate::harness::binary;

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
