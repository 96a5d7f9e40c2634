//! What guests learn of errors of the host.

use serde_json::{Value, json};

use crate::cli::project::Project;
use crate::harness::Connection;

#[tokio::test]
async fn a_guest_gets_no_backtrace_of_the_host() {
    let asked = json!({ "dirs": { "/data": "rw" } });
    let project = Project::with(&["outside"]);
    let mut manifest: Value = serde_json::from_str(&project.read("modules/outside/module.json")).unwrap();
    manifest["capabilities"] = asked.clone();
    manifest["limits"] = json!({ "disk": "64KiB" });
    let granted = json!({ "outside": { "grants": asked, "dirs": { "/data": { "path": "data" } } } });
    let project = project
        .file("modules/outside/module.json", manifest.to_string())
        .file("data/empty", "")
        .config(json!({ "modules": granted }));
    let mut command = project.command(&["serve"]);
    command.env("RUST_BACKTRACE", "1");
    let serving = project.start(command).await;
    let body = json!({ "do": "fail", "folder": "/data" }).to_string();
    let answer = Connection::open(serving.http).await.send("POST", "/api/outside/files", &[], body).await;
    assert_eq!(answer.json(), "No space left on device (os error 28)");
}
