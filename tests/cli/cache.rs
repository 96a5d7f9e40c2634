//! The cache of compiled components on disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use super::Project;
use crate::harness::{section, source_of, vector};

/// The compiled components in the cache.
fn artefacts(project: &Project) -> Vec<PathBuf> {
    let entries = fs::read_dir(project.path().join(".fanfare/cache")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).collect()
}

/// The files with compiled functions in the cache.
fn functions(project: &Project) -> Vec<PathBuf> {
    let entries = fs::read_dir(project.path().join(".fanfare/cache")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "functions")).collect()
}

/// A project whose module `echo` is large enough for its functions to be kept.
fn with_large_echo() -> Project {
    let manifest = fs::read(source_of("echo").join("module.json")).unwrap();
    let project = Project::with(&[]).own_state().file("modules/echo/module.json", manifest);
    project.file("modules/echo/echo.wasm", large_echo(0))
}

/// The component `echo` with 1 MiB of other bytes, whose functions are the same for each `byte`.
fn large_echo(byte: u8) -> Vec<u8> {
    let component = fs::read(source_of("echo").join("echo.wasm")).unwrap();
    let ballast = section(0, [vector([b"b"]), vec![byte; 1 << 20]].concat());
    [component, ballast].concat()
}

/// Starts a host, calls `echo`, stops the host; returns the log.
async fn start(project: &Project) -> String {
    let serving = project.serve(&["--strict"]).await;
    assert_eq!(serving.get("/api/echo/who").await.status, 200);
    assert_eq!(serving.stop().await.0, Some(0));
    project.read("log")
}

/// The number of components that the log reports as compiled.
fn compiled(log: &str) -> usize {
    log.lines().filter(|line| line.contains(r#""message":"compiled""#)).count()
}

#[tokio::test]
async fn a_second_start_compiles_nothing() {
    let project = Project::with(&["echo", "flags"]).own_state();
    assert_eq!(compiled(&start(&project).await), 2);
    assert_eq!(artefacts(&project).len(), 2);
    assert_eq!(compiled(&start(&project).await), 0);
    let mode = fs::metadata(project.path().join(".fanfare")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "other users cannot put machine code into the cache");
}

#[tokio::test]
async fn a_cache_that_others_can_write_is_refused() {
    let project = Project::with(&["echo"]).own_state();
    let cache = project.path().join(".fanfare/cache");
    fs::create_dir_all(&cache).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
    let ran = project.run(&["serve"]).await;
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains(".fanfare/cache: other users can write this folder") && ran.err.contains("chmod"),
        "{}",
        ran.err
    );
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(compiled(&start(&project).await), 1);
}

#[tokio::test]
async fn a_damaged_artefact_is_compiled_again() {
    let project = Project::with(&["echo"]).own_state();
    start(&project).await;
    let artefact = &artefacts(&project)[0];
    let good = fs::read(artefact).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    for tampered in [bad, good[..middle].to_vec(), Vec::new()] {
        fs::write(artefact, tampered).unwrap();
        let log = start(&project).await;
        assert_eq!(compiled(&log), 1, "{log}");
        assert!(log.contains("does not match its digest"), "{log}");
        assert_eq!(compiled(&start(&project).await), 0);
    }
    // Without its digest, the host cannot trust the artefact.
    fs::remove_file(artefact.with_extension("sha256")).unwrap();
    assert_eq!(compiled(&start(&project).await), 1);
}

#[tokio::test]
pub async fn the_cache_stays_within_its_size() {
    const ROOM: u64 = 1 << 20;
    let modules = ["counts", "deep", "serial", "waits", "traps", "echo"];
    let grants = json!({ "rpc": ["*"], "broadcast": ["*"] });
    let modules_config = json!({ "waits": { "grants": grants } });
    let project = Project::with(&modules).own_state().config(json!({ "modules": modules_config }));
    let size = |project: &Project| artefacts(project).iter().map(|path| fs::metadata(path).unwrap().len()).sum::<u64>();
    start(&project).await;
    assert!(size(&project) > ROOM, "the test needs more than {ROOM} bytes: {}", size(&project));
    fs::remove_dir_all(project.path().join(".fanfare")).unwrap();

    let project = project.config(json!({ "engine": { "cacheSize": ROOM } }));
    start(&project).await;
    assert!((1..=ROOM).contains(&size(&project)), "{}", size(&project));
    let digests = fs::read_dir(project.path().join(".fanfare/cache")).unwrap().count() - artefacts(&project).len();
    assert_eq!(digests, artefacts(&project).len(), "no digest of a removed artefact remains");
}

#[tokio::test]
async fn a_changed_component_takes_its_unchanged_functions_from_the_cache() {
    let project = with_large_echo();
    let serving = project.serve(&["--strict"]).await;
    let compiled = serving.metric("fanfare_functions_compiled_total", &[]).await;
    assert!(compiled > 100.0 && serving.metric("fanfare_functions_reused_total", &[]).await == 0.0, "{compiled}");
    let before = fs::read(&artefacts(&project)[0]).unwrap();

    let file = project.path().join("modules/echo/echo.wasm");
    fs::write(file.with_extension("new"), large_echo(1)).unwrap();
    fs::rename(file.with_extension("new"), file).unwrap();
    assert_eq!(serving.operator("POST", "/v1/modules/echo/reload").await.status, 200);
    // wasmtime translates a few functions differently each time, and they are compiled again.
    let reused = serving.metric("fanfare_functions_reused_total", &[]).await;
    let again = serving.metric("fanfare_functions_compiled_total", &[]).await - compiled;
    assert!(reused > 0.75 * compiled && reused + again == compiled, "{compiled}, {again} again, {reused} reused");
    assert_eq!(serving.get("/api/echo/who").await.status, 200);
    let log = serving.log();
    assert!(log.contains(&format!("{again} compiled, {reused} reused")), "{log}");
    let all = artefacts(&project);
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|artefact| fs::read(artefact).unwrap() == before), "the same functions, the same bytes");
}

#[tokio::test]
pub async fn kept_functions_stay_within_their_size() {
    let mut project = with_large_echo();
    start(&project).await;
    let size = fs::metadata(&functions(&project)[0]).unwrap().len();
    // wasmtime translates a few functions differently each time, so the size varies a little.
    for (allowed, files) in [(size + size / 20, 1), (size - size / 20, 0), (0, 0)] {
        fs::remove_dir_all(project.path().join(".fanfare")).unwrap();
        project = project.config(json!({ "engine": { "functionCacheSize": allowed } }));
        let serving = project.serve(&["--strict"]).await;
        assert_eq!(functions(&project).len(), files, "{allowed} of {size} bytes");
        assert_eq!(serving.get("/api/echo/who").await.status, 200);
        serving.stop().await;
    }

    // A file that is too large now, and that the next compilation does not use.
    let cache = project.path().join(".fanfare/cache");
    fs::write(cache.join("old.functions"), "old").unwrap();
    fs::write(project.path().join("modules/echo/echo.wasm"), large_echo(2)).unwrap();
    let serving = project.serve(&["--strict"]).await;
    assert_eq!(
        (functions(&project).len(), serving.metric("fanfare_function_files_removed_total", &[]).await),
        (0, 1.0)
    );
}
