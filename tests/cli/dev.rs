//! `fanfare dev`: what is saved is built and live.

use std::fs;

use serde_json::{Value, json};

use super::{Project, Serving};
use crate::harness::{eventually, source_of};

/// A module whose build copies what is in `src`, or fails when there is a file `broken`.
fn project() -> Project {
    let build = json!({
        "command": "test ! -e src/broken && echo built >&2 && mkdir -p target && cp src/next.wasm target/out.wasm",
        "watch": ["src"],
    });
    let manifest = json!({
        "component": "target/out.wasm",
        "routes": [{ "method": "get", "path": "who", "handler": "who" }],
        "build": build,
    });
    Project::with(&[])
        .file("modules/made/module.json", manifest.to_string())
        .file("modules/made/src/next.wasm", component("echo", "one"))
}

/// A component of its own digest: unlike the others it has a section that says so.
fn component(of: &str, variant: &str) -> Vec<u8> {
    let mut bytes = fs::read(source_of(of).join(format!("{of}.wasm"))).unwrap();
    let section = [&[7][..], b"variant", variant.as_bytes()].concat();
    bytes.extend([0, section.len().try_into().unwrap()]);
    bytes.extend(section);
    bytes
}

async fn dev(project: &Project, args: &[&str]) -> Serving {
    let mut command = project.command(&["dev"]);
    command.args(args);
    project.start(command).await
}

async fn generation(serving: &Serving) -> Value {
    serving.status("made").await["generation"].clone()
}

#[tokio::test]
async fn what_is_saved_is_built_and_live() {
    let project = project();
    let serving = dev(&project, &[]).await;
    assert_eq!(serving.get("/api/made/who").await.status, 200, "what is not there is built first: {}", serving.log());
    let before = generation(&serving).await;
    project.dir.write("modules/made/src/next.wasm", component("echo", "two"));
    eventually("it is live", || async { generation(&serving).await != before }).await;
    eventually("and how long it took is told", || async {
        serving.log().lines().any(|line| line.starts_with("made: live ") && line.contains(" s after it was saved"))
    })
    .await;

    project.dir.write("modules/made/src/broken", "");
    eventually("the failure is told", || async {
        serving.log().contains("ended with exit status: 1") && serving.log().contains("made: what served serves on")
    })
    .await;
    assert_eq!(serving.get("/api/made/who").await.status, 200);

    let built = serving.log().matches("\nbuilt").count();
    fs::remove_file(project.path().join("modules/made/src/broken")).unwrap();
    eventually("it is built again", || async { serving.log().matches("\nbuilt").count() == built + 1 }).await;
    eventually("to the same", || async { serving.log().contains("the component is the same") }).await;
    assert_eq!(serving.stop().await.0, Some(0));
}

/// [`project`] with a second such module.
fn two() -> Project {
    let project = project();
    let manifest = project.read("modules/made/module.json");
    project.file("modules/other/module.json", manifest).file("modules/other/src/next.wasm", component("echo", "one"))
}

#[tokio::test]
async fn what_editors_leave_beside_a_file_asks_for_no_build() {
    for name in [".next.wasm.swp", "next.wasm~"] {
        let project = two();
        let serving = dev(&project, &[]).await;
        project.dir.write(&format!("modules/made/src/{name}"), "");
        project.dir.write("modules/other/src/next.wasm", component("echo", "two"));
        eventually("the other one is live", || async { serving.log().contains("other: live ") }).await;
        assert_eq!(serving.log().matches("made: building").count(), 1, "at the start: {}", serving.log());
    }
}

#[tokio::test]
async fn in_the_folder_of_a_module_no_other_is_built() {
    let project = two();
    let serving = dev(&project, &["modules/made"]).await;
    project.dir.write("modules/other/src/next.wasm", component("echo", "two"));
    project.dir.write("modules/made/src/next.wasm", component("echo", "two"));
    eventually("it is live", || async { serving.log().contains("made: live ") }).await;
    assert!(!serving.log().contains("other: building"), "{}", serving.log());
}

#[tokio::test]
async fn a_folder_that_is_filled_later_is_built_too() {
    let project = project().config(json!({ "swap": { "watch": true } }));
    let serving = dev(&project, &[]).await;
    fs::create_dir(project.path().join("modules/other")).unwrap();
    // What is saved later is built, so the empty folder has been looked at.
    project.dir.write("modules/made/src/next.wasm", component("echo", "two"));
    eventually("it is live", || async { serving.log().contains("made: live ") }).await;
    fs::create_dir(project.path().join("modules/other/src")).unwrap();
    project.dir.write("modules/other/module.json", project.read("modules/made/module.json"));
    eventually("it is known", || async { serving.operator("GET", "/v1/status").await.text().contains("other") }).await;
    eventually("a save builds it", || async {
        project.dir.write("modules/other/src/next.wasm", component("echo", "two"));
        serving.get("/api/other/who").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_module_made_meanwhile_is_built_too() {
    let project = Project::with(&["echo"]).config(json!({ "swap": { "watch": true } }));
    let serving = dev(&project, &[]).await;
    let made = self::project();
    project.dir.write("modules/made/src/next.wasm", component("echo", "one"));
    project.dir.write("modules/made/module.json", made.read("modules/made/module.json"));
    eventually("it is built and served", || async { serving.get("/api/made/who").await.status == 200 }).await;
}

#[tokio::test]
async fn a_trial_holds_up_no_build() {
    let project = project();
    let mut manifest: Value = serde_json::from_str(&project.read("modules/made/module.json")).unwrap();
    manifest["rollout"] = json!({ "for": "1h" });
    let project = project.file("modules/made/module.json", manifest.to_string());
    let serving = dev(&project, &[]).await;
    for (variant, builds) in [("two", 2), ("six", 3)] {
        project.dir.write("modules/made/src/next.wasm", component("echo", variant));
        eventually("it is built", || async { serving.log().matches("\nbuilt").count() == builds }).await;
        eventually("it is on trial", || async { serving.log().matches("on trial for").count() == builds - 1 }).await;
    }
}

#[tokio::test]
async fn a_folder_that_is_none_is_refused() {
    let ran = Project::with(&[]).run(&["dev", "nowhere"]).await;
    assert!(ran.code == 1 && ran.err.contains("nowhere: is not a folder"), "{}", ran.err);
}
