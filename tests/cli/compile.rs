//! Compiling in a child process: its limits, and modules whose component does not compile.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare::tooling::ModuleState;
use fanfare::{Builder, Compiling, Config, Host, Progress};
use rustix::process::Signal;
use serde_json::json;

use super::Project;
use crate::harness::{Log, binary, eventually, section, source_of, vector};

/// Returns why a module is refused, after checking that `echo` serves.
async fn refused(project: &Project, module: &str) -> String {
    let serving = project.serve(&[]).await;
    assert_eq!(serving.get("/api/echo/who").await.status, 200);
    assert_eq!(serving.get(&format!("/api/{module}/x")).await.status, 503);
    let status = serving.status(module).await;
    assert_eq!(status["state"], "refused", "{status}");
    status["reason"].as_str().unwrap().to_owned()
}

fn with_component(bytes: &[u8]) -> Project {
    Project::with(&["echo"])
        .file("modules/odd/module.json", r#"{ "component": "odd.wasm" }"#)
        .file("modules/odd/odd.wasm", bytes)
}

#[tokio::test]
async fn a_file_that_is_no_component_is_refused() {
    for bytes in [&b"this is no component"[..], b"", b"\0asm\x0d\0\x01\0\xff\xff\xff"] {
        let why = refused(&with_component(bytes), "odd").await;
        assert!(why.contains("odd.wasm: ") && why.lines().count() == 1, "{why}");
    }
}

#[tokio::test]
async fn a_core_module_is_refused_with_the_target_to_build_for() {
    let why = refused(&with_component(b"\0asm\x01\0\0\0"), "odd").await;
    assert!(why.contains("core module") && why.contains("wasm32-wasip2"), "{why}");
}

#[tokio::test]
pub async fn a_component_above_max_component_is_refused() {
    let large = vec![0; 1 << 20];
    let allowing = |bytes: usize| with_component(&large).config(json!({ "engine": { "maxComponent": bytes } }));
    let why = refused(&allowing(large.len()), "odd").await;
    assert!(!why.contains("engine.maxComponent"), "{why}");
    let why = refused(&allowing(large.len() - 1), "odd").await;
    assert!(why.contains("engine.maxComponent") && why.contains("1048576"), "{why}");
}

/// A component of one core module with this number of empty functions.
fn component_of(functions: u32) -> Vec<u8> {
    let many = |each: &'static [u8]| vector((0..functions).map(|_| each));
    let types = section(1, vector([[0x60, 0, 0]]));
    let module = [b"\0asm\x01\0\0\0".to_vec(), types, section(3, many(&[0])), section(10, many(&[2, 0, 0x0b]))];
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, module.concat())].concat()
}

#[tokio::test]
pub async fn a_compilation_above_compile_memory_is_refused() {
    let small = with_component(&component_of(10));
    let engine = json!({ "engine": { "compileMemory": "96MiB" } });
    let why = refused(&small.config(engine.clone()), "odd").await;
    assert!(why.contains("exports neither"), "the small component compiles: {why}");
    let why = refused(&with_component(&component_of(500_000)).config(engine), "odd").await;
    assert!(why.contains("engine.compileMemory"), "{why}");
}

/// A script that replaces the compiler.
fn script(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("compiler");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

#[tokio::test]
pub async fn a_compilation_above_compile_timeout_is_refused_and_ended() {
    let project = Project::with(&["echo"]).own_state().config(json!({ "engine": { "compileTimeout": "1s" } }));
    let config = Config::from_text(&project.read("fanfare.json"), project.path()).unwrap();
    let compiler = script(project.path(), "#!/bin/sh\necho $$ > \"${0%compiler}pid\"\nexec sleep 600\n");
    let host = Host::builder().config(config).compiler(compiler).start().await.unwrap();
    let ModuleState::Refused(why) = &host.roster().states()["echo"] else { panic!("echo is not refused") };
    assert!(why.contains("engine.compileTimeout, 1s"), "{why}");
    let pid = project.read("pid");
    let ended = || async {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        state.is_err() || state.is_ok_and(|state| state.contains(") Z"))
    };
    eventually("the child has ended", ended).await;
}

/// The state of a process in `/proc` and its parent. `None` if the process has ended.
fn process(id: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let (state, parent) = (fields.next()?.to_owned(), fields.next()?.parse().ok()?);
    // A zombie has ended, although its parent has not waited for it yet.
    (state != "Z").then_some((state, parent))
}

/// The child processes of a process.
fn children(parent: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id| process(*id).is_some_and(|(_, of)| of == parent)).collect()
}

#[tokio::test]
async fn the_compiler_ends_when_its_host_is_killed() {
    // Compiling this component takes far longer than the test.
    let project = with_component(&component_of(900_000)).own_state();
    let mut host = project.command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let id = host.id().unwrap();
    let compilers = || {
        let compiles = |id: &u32| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("odd.wasm")
        };
        children(id).into_iter().filter(compiles).collect::<Vec<_>>()
    };
    // The host compiles `echo` first.
    eventually("the compiler runs", || async { compilers().len() == 1 }).await;
    let compiler = compilers()[0];
    let adjusted = || std::fs::read_to_string(format!("/proc/{compiler}/oom_score_adj")).unwrap();
    eventually("the kernel would kill it first when memory runs out", || async { adjusted().trim() == "1000" }).await;
    host.kill().await.unwrap();
    eventually("the compiler has ended too", || async { process(compiler).is_none() }).await;
}

#[tokio::test]
async fn the_compiler_exits_if_its_host_has_ended() {
    let project = Project::with(&["echo"]);
    let compile = |parent: u32| {
        let parent = format!("--parent={parent}");
        let project = &project;
        async move { project.run(&["compile-component", "modules/echo/echo.wasm", "out.cwasm", &parent]).await }
    };
    let orphan = compile(1).await;
    assert!(
        orphan.code == 3 && orphan.err.contains("the process that started this compilation has ended"),
        "{}",
        orphan.err
    );
    assert!(!project.path().join("out.cwasm").exists());
    assert_eq!(compile(std::process::id()).await.code, 0);
}

#[tokio::test]
async fn the_compiler_has_a_limit_of_processor_time() {
    let project = with_component(&component_of(900_000));
    let mut command = project.command(&["compile-component", "modules/odd/odd.wasm", "out.cwasm", "--cpu=1"]);
    let ended = command.stderr(Stdio::null()).spawn().unwrap().wait().await.unwrap();
    assert_eq!(ended.signal(), Some(Signal::XCPU.as_raw()), "{ended}");
}

#[tokio::test]
async fn a_killed_compiler_does_not_stop_the_host() {
    let project = Project::with(&["echo"]).own_state();
    let config = Config::from_text(&project.read("fanfare.json"), project.path()).unwrap();
    let compiler = script(project.path(), "#!/bin/sh\necho 'out of luck' >&2\nkill -9 $$\n");
    let host = Host::builder().config(config).compiler(compiler).start().await.unwrap();
    let ModuleState::Refused(why) = &host.roster().states()["echo"] else { panic!("echo is not refused") };
    assert!(why.contains("out of luck") && why.contains("signal"), "{why}");
}

#[tokio::test]
async fn a_component_replaced_during_loading_is_not_compiled() {
    let project = Project::with(&["echo"]);
    let compile = |digest: &str| format!("--digest={digest}");
    let run = |digest: String| {
        let project = &project;
        async move { project.run(&["compile-component", "modules/echo/echo.wasm", "out.cwasm", &digest]).await }
    };
    let other = run(compile(&"0".repeat(64))).await;
    assert!(other.code == 3 && other.err.contains("the file was replaced during the load"), "{}", other.err);
    assert!(!project.path().join("out.cwasm").exists());
    let bytes = std::fs::read(project.path().join("modules/echo/echo.wasm")).unwrap();
    let same = run(compile(&fanfare::tooling::files::digest_of(&mut bytes.as_slice()).unwrap())).await;
    assert_eq!(same.code, 0, "{}", same.err);
    assert!(project.path().join("out.cwasm").exists());
}

/// Records progress, and releases the compiler at the first report.
struct Recorder {
    go: PathBuf,
    reports: Mutex<Vec<String>>,
}

impl Progress for Recorder {
    fn interval(&self) -> Duration {
        Duration::from_millis(10)
    }

    fn report(&self, compiling: &Compiling<'_>) {
        let Compiling { module, index, total, .. } = compiling;
        self.reports.lock().unwrap().push(format!("{module}, {index} of {total}"));
        std::fs::write(&self.go, "").unwrap();
    }

    fn finished(&self) {
        self.reports.lock().unwrap().push("ended".to_owned());
    }
}

/// A host whose compiler waits until a file exists, and that file. `module` is unique to the test.
fn slow(module: &str) -> (Project, Builder, PathBuf) {
    let echo = source_of("echo");
    let read = |name: &str| std::fs::read(echo.join(name)).unwrap();
    let project = Project::with(&[])
        .own_state()
        .file(&format!("modules/{module}/module.json"), read("module.json"))
        .file(&format!("modules/{module}/echo.wasm"), read("echo.wasm"))
        .file("modules/unbuilt/module.json", r#"{ "component": "unbuilt.wasm" }"#);
    let config = Config::from_text(&project.read("fanfare.json"), project.path()).unwrap();
    let wait = "until [ -e \"${0%compiler}go\" ]; do sleep 0.01; done";
    let compiler = script(project.path(), &format!("#!/bin/sh\n{wait}\nexec '{}' \"$@\"\n", binary().display()));
    let (host, go) = (Host::builder().config(config).compiler(compiler), project.path().join("go"));
    (project, host, go)
}

#[tokio::test]
async fn a_slow_compilation_reports_progress_until_it_ends() {
    let (_project, host, go) = slow("slow-told");
    let recorder = Arc::new(Recorder { go, reports: Mutex::default() });
    let running = host.progress(recorder.clone()).start().await.unwrap();
    assert!(matches!(running.roster().states()["slow-told"], ModuleState::Installed(_)));
    let reports = recorder.reports.lock().unwrap().clone();
    let (last, rest) = reports.split_last().unwrap();
    assert!(!rest.is_empty() && rest.iter().all(|report| report == "slow-told, 1 of 2"), "{reports:?}");
    assert_eq!(last, "ended");
}

#[tokio::test]
async fn a_slow_compilation_is_logged() {
    let log = Log::capture();
    let (_project, host, go) = slow("slow-logged");
    let release = async {
        eventually("it is logged", || async { log.contains(&["compiling module 1 of 2, 2 s so far", "slow-logged"]) })
            .await;
        std::fs::write(go, "").unwrap();
    };
    let (running, ()) = tokio::join!(host.start(), release);
    assert!(matches!(running.unwrap().roster().states()["slow-logged"], ModuleState::Installed(_)));
}
