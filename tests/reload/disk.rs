//! Files and folders that are unreadable, missing or of the wrong kind.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};

use super::*;

/// Much longer than an immediate answer takes, and short enough to catch a reload that never ends.
const AT_ONCE: Duration = Duration::from_secs(15);

fn make_irregular(what: &str, path: &Path) {
    match what {
        "a folder" => fs::create_dir(path).unwrap(),
        "a pipe" => mkfifoat(CWD, path, Mode::RWXU).unwrap(),
        "a socket" => drop(UnixListener::bind(path).unwrap()),
        "a device" => symlink("/dev/zero", path).unwrap(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_path_that_is_not_a_regular_file_is_rejected_at_once() {
    let host = TestHost::with("echo").config(json!({ "swap": { "removal": "1m", "patience": "1h" } })).start().await;
    assert_eq!(host.count("worker-0", "echo").await, 1);
    for file in ["echo.wasm", "module.json"] {
        let path = host.folder("echo").join(file);
        for what in ["a folder", "a pipe", "a socket", "a device"] {
            let away = host.dir.path().join("away");
            fs::rename(&path, &away).unwrap();
            make_irregular(what, &path);
            let both = async {
                let one = host.operate("modules/echo/reload").await;
                (one, host.operate("reload").await)
            };
            let (one, all) = tokio::time::timeout(AT_ONCE, both).await.expect("both reloads end");
            for why in [&one["detail"], &all[0]["reason"]] {
                let why = why.as_str().unwrap_or_default();
                assert!(why.contains(file) && why.contains(&format!("is not a file but {what}")), "{one} {all}");
            }
            if what == "a folder" {
                fs::remove_dir(&path).unwrap()
            } else {
                fs::remove_file(&path).unwrap()
            }
            fs::rename(&away, &path).unwrap();
        }
    }
    assert_eq!(host.count("worker-0", "echo").await, 2, "the same instance");
    assert_eq!(host.operate("modules/echo/reload").await["outcome"], "swapped");
}

/// Replaces a file or folder with a link to itself, which exists and cannot be read.
fn replace_with_loop(path: &Path) -> PathBuf {
    let away = path.with_extension("away");
    fs::rename(path, &away).unwrap();
    symlink(path, path).unwrap();
    away
}

fn put_back(path: &Path, away: PathBuf) {
    fs::remove_file(path).unwrap();
    fs::rename(away, path).unwrap();
}

#[tokio::test]
async fn a_module_that_cannot_be_read_is_not_removed() {
    let host = TestHost::empty().and_as("echo", "looped").watched();
    let host = host.config(json!({ "swap": { "removal": "0ms", "poll": "50ms" } })).start().await;
    let folder = host.folder("looped");
    for (round, path) in (1..).zip([folder.clone(), folder.join("module.json"), folder.join("echo.wasm")]) {
        assert_eq!(host.count("worker-0", "looped").await, round, "the same instance");
        let away = match path == folder {
            // A folder next to it would be a module.
            true => {
                let away = host.dir.path().join("away");
                fs::rename(&path, &away).unwrap();
                symlink(&path, &path).unwrap();
                away
            }
            false => replace_with_loop(&path),
        };
        eventually("the status notes it", || async { host.note("looped").await.contains("cannot be read") }).await;
        assert_eq!(host.operate("modules/looped/reload").await["code"], "refused");
        put_back(&path, away);
        eventually("the note is removed", || async { host.note("looped").await.is_empty() }).await;
    }
}

#[tokio::test]
async fn modules_keep_serving_while_their_folder_cannot_be_read() {
    let host = TestHost::empty().and_as("echo", "unlisted").watched();
    let host = host.config(json!({ "swap": { "removal": "0ms", "poll": "50ms" } })).start().await;
    assert_eq!(host.count("worker-0", "unlisted").await, 1);
    let modules = host.dir.path().join("modules");
    let away = replace_with_loop(&modules);
    let notes = || async { host.status().await["notes"].to_string() };
    eventually("the status notes it", || async { notes().await.contains("modulesDir") }).await;
    assert_eq!(host.operate("modules/unlisted/reload").await["code"], "refused");
    assert_eq!(host.count("worker-0", "unlisted").await, 2, "the same instance");
    put_back(&modules, away);
    eventually("the notice is removed", || async { notes().await == "[]" }).await;
    eventually("the module's note is removed", || async { host.note("unlisted").await.is_empty() }).await;
    assert_eq!(host.count("worker-0", "unlisted").await, 3, "the same instance");
    let told = host.log.lines(&[modules.to_str().unwrap(), "cannot be read, loaded modules keep serving"]);
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test]
async fn a_file_in_place_of_a_folder_does_not_remove_the_module_until_the_file_is_removed() {
    let host = TestHost::empty().and_as("echo", "replaced").watched();
    let host = host.config(json!({ "swap": { "removal": "0ms", "poll": "50ms" } })).start().await;
    let folder = host.folder("replaced");
    fs::rename(&folder, host.dir.path().join("away")).unwrap();
    fs::write(&folder, "no folder").unwrap();
    eventually("the status notes it", || async { host.note("replaced").await.contains("cannot be read") }).await;
    assert_eq!(host.get("/api/replaced/who").await.status, 200);
    fs::remove_file(&folder).unwrap();
    eventually("the module is removed", || async { host.get("/api/replaced/who").await.status == 404 }).await;
}

#[tokio::test]
async fn a_start_reports_a_folder_that_it_cannot_read() {
    let host = TestHost::with("echo");
    let host = host.file("modules/file", "no module");
    let started = host.start().await;
    symlink(started.folder("looped"), started.folder("looped")).unwrap();
    let host = TestHost::empty().again(started.leave().await).start().await;
    let looped = host.module("looped").await;
    assert_eq!(looped["state"], "refused");
    assert!(looped["reason"].as_str().unwrap().contains("cannot be read"), "{looped}");
    let status = host.status().await;
    assert_eq!(status["modules"].as_array().unwrap().len(), 2, "a file is not a module: {status}");
}

/// A host with a `stateDir` of its own.
async fn with_own_state() -> Started {
    TestHost::with("echo").config(json!({ "stateDir": "own" })).start().await
}

#[tokio::test]
async fn a_removed_state_folder_is_created_again() {
    let host = with_own_state().await;
    let state = host.dir.path().join("own");
    fs::remove_dir_all(&state).unwrap();
    host.put_manifest("echo", &with_route("two"));
    assert_eq!(host.operate("modules/echo/reload").await["outcome"], "swapped");
    assert!(state.join("generations/echo/index.json").is_file() && state.join("cache").is_dir());
}

#[tokio::test]
async fn an_unusable_state_folder_is_reported_instead_of_the_component() {
    let host = with_own_state().await;
    let state = host.dir.path().join("own");
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "no folder").unwrap();
    host.put_manifest("echo", &with_route("two"));
    let refused = host.operate("modules/echo/reload").await;
    let why = refused["detail"].as_str().unwrap();
    assert!(why.contains(state.to_str().unwrap()) && why.contains("set stateDir"), "{refused}");
    assert!(!why.contains("echo.wasm"), "{refused}");
    assert_eq!(host.get("/api/echo/who").await.status, 200);
    fs::remove_file(&state).unwrap();
    assert_eq!(host.operate("modules/echo/reload").await["outcome"], "swapped");
}
