//! `fanfare dev`: builds and swaps a module when its sources change.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

use super::project::{memory_of, pid_of};
use super::{Project, Serving};
use crate::harness::{Connection, eventually, not_run, source_of};

/// A module whose build copies `src/next.wasm`, or fails if `src/broken` exists.
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

/// A component with a unique digest, because a custom section contains `variant`.
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
async fn saving_a_source_builds_and_swaps_the_module() {
    let project = project();
    let serving = dev(&project, &[]).await;
    assert_eq!(serving.get("/api/made/who").await.status, 200, "a missing component is built first: {}", serving.log());
    let before = generation(&serving).await;
    project.dir.write("modules/made/src/next.wasm", component("echo", "two"));
    eventually("the new generation serves", || async { generation(&serving).await != before }).await;
    eventually("the time is printed", || async {
        serving.log().lines().any(|line| line.starts_with("made: live ") && line.contains(" s after save (build "))
    })
    .await;

    project.dir.write("modules/made/src/broken", "");
    eventually("the failure is printed", || async {
        serving.log().contains("failed with exit status: 1")
            && serving.log().contains("made: the build failed, so the previous generation keeps serving")
    })
    .await;
    assert_eq!(serving.get("/api/made/who").await.status, 200);
    let why = "the last build failed, and `fanfare dev` has printed its output: made: ";
    let note = serving.status("made").await["note"].to_string();
    assert!(note.contains(why) && serving.get("/").await.text().contains("the last build failed"), "{note}");

    let built = serving.log().matches("\nbuilt").count();
    fs::remove_file(project.path().join("modules/made/src/broken")).unwrap();
    eventually("the module is built again", || async { serving.log().matches("\nbuilt").count() == built + 1 }).await;
    eventually("the component is unchanged", || async {
        serving.log().contains(" s and did not change the component")
    })
    .await;
    assert_eq!(serving.status("made").await["note"], Value::Null);
    assert_eq!(serving.stop().await.0, Some(0));
}

/// A module whose component is beside its sources and older than them.
fn outdated() -> Project {
    let manifest = json!({
        "component": "out.wasm",
        "routes": [{ "method": "get", "path": "who", "handler": "who" }],
        "build": { "command": "cp src/next.wasm out.wasm", "watch": ["src"] },
    });
    let project = Project::with(&[])
        .file("modules/made/module.json", manifest.to_string())
        .file("modules/made/src/next.wasm", component("echo", "one"))
        .file("modules/made/out.wasm", component("echo", "old"));
    age(&project, "modules/made/out.wasm");
    project
}

/// Makes a file an hour old.
fn age(project: &Project, file: &str) {
    let file = fs::File::options().append(true).open(project.path().join(file)).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
}

#[tokio::test]
async fn a_component_that_is_older_than_its_sources_is_built_at_the_start() {
    let project = outdated();
    let serving = dev(&project, &[]).await;
    assert!(serving.log().contains("made: building"), "{}", serving.log());
    assert_eq!(fs::read(project.path().join("modules/made/out.wasm")).unwrap(), component("echo", "one"));
    serving.stop().await;
    let serving = dev(&project, &[]).await;
    assert!(!serving.log().contains("made: building"), "it is up to date: {}", serving.log());
}

#[tokio::test]
async fn a_component_that_is_checked_in_is_not_built_at_the_start() {
    let project = outdated();
    let git = |args: &[&str]| std::process::Command::new("git").args(args).current_dir(project.path()).output();
    if git(&["init", "--quiet"]).is_err() {
        return not_run("git");
    }
    assert!(git(&["add", "--force", "modules"]).unwrap().status.success());
    let serving = dev(&project, &[]).await;
    assert!(!serving.log().contains("made: building"), "{}", serving.log());
    project.dir.write("modules/made/src/next.wasm", component("echo", "two"));
    eventually("a save builds it", || async { serving.log().contains("made: live ") }).await;
}

/// [`project`] with a second module of the same kind.
fn two_modules() -> Project {
    let project = project();
    let manifest = project.read("modules/made/module.json");
    project.file("modules/other/module.json", manifest).file("modules/other/src/next.wasm", component("echo", "one"))
}

#[tokio::test]
async fn temporary_files_of_editors_start_no_build() {
    for name in [".next.wasm.swp", "next.wasm~"] {
        let project = two_modules();
        let serving = dev(&project, &[]).await;
        project.dir.write(&format!("modules/made/src/{name}"), "");
        project.dir.write("modules/other/src/next.wasm", component("echo", "two"));
        eventually("the other module is live", || async { serving.log().contains("other: live ") }).await;
        assert_eq!(serving.log().matches("made: building").count(), 1, "only the first build: {}", serving.log());
    }
}

#[tokio::test]
async fn dev_of_one_module_builds_no_other() {
    let project = two_modules();
    let serving = dev(&project, &["modules/made"]).await;
    project.dir.write("modules/other/src/next.wasm", component("echo", "two"));
    project.dir.write("modules/made/src/next.wasm", component("echo", "two"));
    eventually("the module is live", || async { serving.log().contains("made: live ") }).await;
    assert!(!serving.log().contains("other: building"), "{}", serving.log());
}

#[tokio::test]
async fn a_module_in_a_folder_that_was_empty_is_built() {
    let project = project().config(json!({ "swap": { "watch": true } }));
    let serving = dev(&project, &[]).await;
    fs::create_dir(project.path().join("modules/other")).unwrap();
    // When this save is live, `dev` has also seen the empty folder.
    project.dir.write("modules/made/src/next.wasm", component("echo", "two"));
    eventually("the module is live", || async { serving.log().contains("made: live ") }).await;
    fs::create_dir(project.path().join("modules/other/src")).unwrap();
    project.dir.write("modules/other/module.json", project.read("modules/made/module.json"));
    eventually("the host lists the module", || async {
        serving.operator("GET", "/v1/status").await.text().contains("other")
    })
    .await;
    eventually("saving builds the module", || async {
        project.dir.write("modules/other/src/next.wasm", component("echo", "two"));
        serving.get("/api/other/who").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_module_created_while_dev_runs_is_built() {
    let project = Project::with(&["echo"]).config(json!({ "swap": { "watch": true } }));
    let serving = dev(&project, &[]).await;
    let made = self::project();
    project.dir.write("modules/made/src/next.wasm", component("echo", "one"));
    project.dir.write("modules/made/module.json", made.read("modules/made/module.json"));
    eventually("the module is built and served", || async { serving.get("/api/made/who").await.status == 200 }).await;
}

/// A named pipe, which a build reads, so that it ends only when the test has written to it.
fn gate(project: &Project) -> PathBuf {
    let gate = project.path().join("gate");
    mknodat(CWD, &gate, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    gate
}

#[tokio::test]
async fn a_module_that_dev_builds_is_not_reported_as_waiting() {
    let project = Project::with(&["echo"]).config(json!({ "swap": { "watch": true } }));
    let gate = gate(&project);
    let serving = dev(&project, &[]).await;
    let mut manifest: Value = serde_json::from_str(&self::project().read("modules/made/module.json")).unwrap();
    manifest["build"]["command"] = "cat ../../gate && mkdir -p target && cp src/next.wasm target/out.wasm".into();
    project.dir.write("modules/made/src/next.wasm", component("echo", "one"));
    project.dir.write("modules/made/module.json", manifest.to_string());
    eventually("it waits", || async { serving.operator("GET", "/v1/status").await.text().contains("waiting") }).await;
    // This blocks until the build reads the gate.
    tokio::task::spawn_blocking(move || fs::write(gate, "").unwrap()).await.unwrap();
    eventually("the module is live", || async { serving.log().contains("made: live ") }).await;
    let log = serving.log();
    assert!(log.contains("made: building") && !log.contains("waiting for the component"), "{log}");
}

#[tokio::test]
async fn a_build_that_fails_at_the_start_is_in_the_status() {
    let project = project().file("modules/made/src/broken", "");
    let serving = dev(&project, &[]).await;
    let made = serving.status("made").await;
    assert_eq!(made["state"], "waiting");
    assert!(made["note"].as_str().is_some_and(|note| note.starts_with("the last build failed, ")), "{made}");
    assert!(serving.get("/").await.text().contains("the last build failed, "));
}

#[tokio::test]
async fn rollout_delays_no_save() {
    let project = project();
    let mut manifest: Value = serde_json::from_str(&project.read("modules/made/module.json")).unwrap();
    manifest["rollout"] = json!({ "for": "1h" });
    let project = project.file("modules/made/module.json", manifest.to_string());
    let serving = dev(&project, &[]).await;
    for (variant, saves) in [("two", 1), ("six", 2)] {
        let before = generation(&serving).await;
        project.dir.write("modules/made/src/next.wasm", component("echo", variant));
        eventually("the module is live", || async { serving.log().matches("made: live ").count() == saves }).await;
        assert_ne!(generation(&serving).await, before);
    }
    assert!(!serving.log().contains("canary started"), "{}", serving.log());
}

/// `echo` has no handler `counts`, but `counter` does.
#[tokio::test]
async fn a_manifest_and_its_code_saved_together_show_no_error() {
    let project = project().config(json!({ "swap": { "watch": true } }));
    let mut manifest: Value = serde_json::from_str(&project.read("modules/made/module.json")).unwrap();
    manifest["build"]["command"] = "cat ../../gate && mkdir -p target && cp src/next.wasm target/out.wasm".into();
    let project = project
        .file("modules/made/module.json", manifest.to_string())
        .file("modules/other/module.json", r#"{ "component": "none.wasm" }"#);
    // A build ends only when the test opens the gate, long after the manifest was saved.
    let gate = gate(&project);
    let open = || {
        let gate = gate.clone();
        // This blocks until the build reads the gate.
        std::thread::spawn(move || fs::write(gate, "").unwrap())
    };
    open();
    let serving = dev(&project, &[]).await;
    let before = generation(&serving).await;
    manifest["routes"] = json!([{ "method": "get", "path": "counts", "handler": "counts" }]);
    project.dir.write("modules/made/src/next.wasm", component("counter", "two"));
    project.dir.write("modules/made/module.json", manifest.to_string());
    eventually("the build runs", || async { serving.log().matches("made: building").count() >= 2 }).await;
    // When the host has reported this later change, it has also seen the manifest.
    project.dir.write("modules/other/module.json", r#"{ "component": 1 }"#);
    eventually("the host has scanned", || async { serving.log().contains("component: must be") }).await;
    assert_eq!(generation(&serving).await, before);
    assert!(!serving.log().contains("counts"), "a false error: {}", serving.log());
    open();
    eventually("the new route serves", || async { serving.get("/api/made/counts").await.status == 200 }).await;
}

/// Lines of the log that have a level.
fn events(serving: &Serving) -> Vec<String> {
    serving.log().lines().filter(|line| line.contains("Z ")).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_log_is_short_and_says_nothing_that_worries() {
    let project = project();
    let serving = dev(&project, &[]).await;
    project.dir.write("modules/made/src/next.wasm", component("echo", "two"));
    eventually("the module is live", || async { serving.log().contains("made: live ") }).await;
    // The log has a thread of its own.
    eventually("the swap is logged", || async { serving.log().contains("made: swapped ") }).await;
    for line in events(&serving) {
        let (time, rest) = line.split_at(9);
        assert!(time.ends_with('Z') && time.chars().filter(|c| *c == ':').count() == 2, "{line}");
        assert!(rest.starts_with(" INFO  ") && !rest.contains("generation="), "{line}");
    }
}

#[tokio::test]
async fn a_panic_has_two_lines_and_the_position_in_the_source() {
    let build = json!({ "command": "cp src/next.wasm out.wasm", "watch": ["src"] });
    let route = json!({ "path": "panics", "handler": "panics" });
    let project = Project::with(&[])
        .file(
            "modules/made/module.json",
            json!({ "component": "out.wasm", "routes": [route], "build": build }).to_string(),
        )
        .file("modules/made/src/next.wasm", component("traps", "one"));
    let serving = dev(&project, &[]).await;
    let said = events(&serving).len();
    let problem = Connection::open(serving.http).await.send("POST", "/api/made/panics", &[], "two\nlines").await.json();
    let position = "panicked at traps/src/lib.rs:";
    assert!(problem["detail"].as_str().unwrap().contains(position), "{problem}");
    eventually("the crash and the restart are logged", || async { serving.log().contains(": restarts generation ") })
        .await;
    let log = serving.log();
    let lines = &events(&serving)[said..];
    assert!(lines.len() == 3 && lines[0].contains(" WARN  made worker-") && lines[0].contains(position), "{log}");
    let crashed = lines[1].contains(" ERROR made worker-") && lines[1].contains(": the instance crashed: ");
    assert!(lines[0].ends_with(": two lines") && crashed && lines[1].contains("handlers=[\"panics\"]"), "{log}");
    let crash = log.lines().skip_while(|line| !line.contains("the instance crashed"));
    assert!(crash.skip(1).filter(|line| line.starts_with("    at ")).count() <= 1, "{log}");
    assert!(!log.contains("RUST_BACKTRACE"), "{log}");
}

#[tokio::test]
async fn a_faulty_manifest_is_reported_while_dev_runs() {
    let project = project().config(json!({ "swap": { "watch": true } }));
    let serving = dev(&project, &[]).await;
    project.dir.write("modules/made/module.json", "{ \"component\": \"target/out.wasm\" \"routes\": [] }");
    eventually("the fault is reported", || async { serving.log().contains("is not JSON: expected comma") }).await;
    assert_eq!(serving.get("/api/made/who").await.status, 200);
}

#[tokio::test]
async fn dev_without_a_module_names_the_next_step() {
    let project = Project::with(&[]);
    let serving = dev(&project, &[]).await;
    eventually("the hint", || async { serving.log().contains(" has no modules yet: run `fanfare new hello`") }).await;
    let outside = Project::none().run(&["dev"]).await;
    let hint = "neither this folder nor one above it has a fanfare.json or modules; run `fanfare init` to make it one";
    assert!(outside.code == 1 && outside.err.contains(hint), "{}", outside.err);
}

#[tokio::test]
async fn a_pinned_generation_is_named_after_a_build_without_changes() {
    let project = project();
    let serving = dev(&project, &[]).await;
    let before = generation(&serving).await;
    project.dir.write("modules/made/src/next.wasm", component("echo", "two"));
    eventually("the new generation serves", || async { generation(&serving).await != before }).await;
    assert_eq!(serving.operator("POST", "/v1/modules/made/rollback").await.status, 200);
    project.dir.write("modules/made/src/other", "saved");
    let hint = "which serves until the component changes: run `fanfare reload made --force` to serve the build";
    eventually("the pin is named", || async { serving.log().contains(hint) }).await;
    assert_eq!(generation(&serving).await, before);
}

#[tokio::test]
async fn dev_builds_nothing_when_another_host_has_its_state() {
    let project = project();
    let _serving = dev(&project, &[]).await;
    project.dir.write("modules/made/src/next.wasm", component("echo", "two"));
    let other = project.run(&["dev"]).await;
    assert!(other.code == 1 && other.err.contains("stateDir"), "{}", other.err);
    assert!(!other.err.contains("building"), "{}", other.err);
}

#[tokio::test]
async fn a_missing_folder_is_an_error() {
    let ran = Project::with(&[]).run(&["dev", "nowhere"]).await;
    assert!(ran.code == 1 && ran.err.contains("there is no module nowhere in "), "{}", ran.err);
}

/// A project whose build starts a process, writes its id to `child`, and never ends.
fn hanging() -> Project {
    let manifest: Value = serde_json::from_str(&project().read("modules/made/module.json")).unwrap();
    let mut manifest = manifest;
    manifest["build"]["command"] = json!("sleep 1000 & echo $! > ../../new && mv ../../new ../../child && wait");
    project().file("modules/made/module.json", manifest.to_string())
}

/// Waits for the process that the build has started.
async fn child(project: &Project) -> Pid {
    let path = project.path().join("child");
    eventually("the build has started its process", || async { path.exists() }).await;
    Pid::from_raw(project.read("child").trim().parse().unwrap()).unwrap()
}

#[tokio::test]
async fn a_signal_while_a_module_is_built_ends_what_the_build_has_started() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 129), (Signal::QUIT, 131)] {
        let project = hanging();
        let mut command = project.command(&["dev"]);
        let mut dev = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        let started = child(&project).await;
        assert!(memory_of(started, "VmRSS").is_some());
        kill_process(pid_of(&dev), signal).unwrap();
        assert_eq!(dev.wait().await.unwrap().code(), Some(code));
        eventually("the process ends", || async { memory_of(started, "VmRSS").is_none() }).await;
    }
}

#[tokio::test]
async fn a_signal_while_dev_serves_ends_what_a_build_has_started() {
    for signal in [Signal::TERM, Signal::HUP] {
        let project = project();
        let mut serving = dev(&project, &[]).await;
        project.dir.write("modules/made/module.json", hanging().read("modules/made/module.json"));
        project.dir.write("modules/made/src/next.wasm", component("echo", "two"));
        let started = child(&project).await;
        assert_eq!(serving.get("/api/made/who").await.status, 200);
        serving.signal(signal);
        assert_eq!(serving.ended().await.code(), Some(0));
        eventually("the process ends", || async { memory_of(started, "VmRSS").is_none() }).await;
    }
}
