//! Modules in memory.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fanfare::api::ReloadOutcome;
use fanfare::{CallOptions, Host, Module, RunningHost, StartError, SwapError};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::{Started, TempDir, TestHost, binary, eventually, source_of};

/// A test guest under another name.
fn module(guest: &str, name: &str) -> Module {
    patched(guest, name, json!({}))
}

/// A test guest under another name, with other values in its manifest.
pub fn patched(guest: &str, name: &str, patch: Value) -> Module {
    let dir = source_of(guest);
    let mut manifest: Value = serde_json::from_slice(&fs::read(dir.join("module.json")).unwrap()).unwrap();
    for (key, value) in patch.as_object().unwrap() {
        manifest[key] = value.clone();
    }
    let component = fs::read(dir.join(manifest["component"].as_str().unwrap())).unwrap();
    Module::new(name, manifest.to_string(), component)
}

async fn text(host: &RunningHost, module: &str, route: &str) -> String {
    let reply = host.call(module, route, (), CallOptions::default()).await;
    reply.map_or_else(|error| error.to_string(), |reply| reply.payload.to_text().into_owned())
}

/// The names in the folder of the modules.
fn folders(host: &Started) -> usize {
    fs::read_dir(host.dir.path().join("modules")).map_or(0, |entries| entries.count())
}

#[tokio::test]
async fn a_host_starts_with_modules_in_memory_and_without_a_folder() {
    let dir = TempDir::new();
    dir.make_state_dir();
    let settings = json!({
        "stateDir": TempDir::STATE, "workers": 2,
        "http": { "listen": "127.0.0.1:0" }, "admin": { "listen": "127.0.0.1:0" },
    });
    let builder = Host::builder().text(settings.to_string(), dir.path()).compiler(binary());
    let host = builder.module(module("echo", "first")).module(module("counts", "second")).start().await.unwrap();
    assert!(host.not_ready().is_empty(), "{:?}", host.not_ready());
    assert!(text(&host, "first", "who").await.contains("worker-"));
    assert_eq!(host.emit("second", "append", "x", CallOptions::default()).unwrap().accepted, 2);
    assert!(!dir.path().join("modules").exists());
}

#[tokio::test]
async fn a_component_in_memory_is_compiled_and_leaves_no_copy() {
    let dir = TempDir::new();
    let settings = json!({
        "workers": 1, "http": { "listen": "127.0.0.1:0" }, "admin": { "listen": "127.0.0.1:0" },
    });
    let builder = Host::builder().text(settings.to_string(), dir.path()).compiler(binary());
    let host = builder.module(module("echo", "compiled")).start().await.unwrap();
    assert!(host.not_ready().is_empty(), "{:?}", host.not_ready());
    let cache = fs::read_dir(dir.path().join(".fanfare/cache")).unwrap();
    let mut kinds: Vec<_> = cache.map(|entry| entry.unwrap().path().extension().unwrap().to_owned()).collect();
    kinds.sort();
    assert_eq!(kinds, ["cwasm", "sha256"]);
}

#[tokio::test]
async fn two_modules_with_one_name_or_a_wrong_name_stop_the_start() {
    let error = |names: &[&str]| {
        let builder = names
            .iter()
            .fold(Host::builder().compiler(binary()), |builder, name| builder.module(Module::new(*name, "{}", "")));
        let error = builder.bind().err().unwrap();
        assert!(matches!(error, StartError::Module { .. }), "{error}");
        error.to_string()
    };
    assert_eq!(error(&["a", "a"]), "Builder::module: \"a\" names two modules: rename one of them");
    assert!(error(&["a/b"]).starts_with("Builder::module: \"a/b\" is not "));
}

#[tokio::test]
async fn a_module_is_installed_replaced_with_its_state_and_removed() {
    // A module in memory never waits for its files.
    let host = TestHost::empty().workers(1).config(json!({ "swap": { "removal": "1m" } }));
    let host = host.start().await;
    let running = host.running();
    let begun = Instant::now();
    let installed = running.install(module("snapshot", "kept")).await.unwrap();
    assert_eq!((installed.outcome, installed.module.as_str()), (ReloadOutcome::Started, "kept"));
    text(running, "kept", "count").await;
    let unchanged = running.install(module("snapshot", "kept")).await.unwrap();
    assert_eq!(unchanged.outcome, ReloadOutcome::Unchanged);
    let error = running.install(patched("snapshot", "kept", json!({ "rutes": [] }))).await.unwrap_err();
    assert!(error.to_string().contains("rutes"), "{error}");
    assert!(running.not_ready()[0].contains("the previous generation keeps serving"), "{:?}", running.not_ready());
    assert!(text(running, "kept", "look").await.contains(r#""count":1,"from":null"#));

    let config = json!({ "load": "ok", "save": "ok", "more": 1 });
    let swapped = running.install(patched("snapshot", "kept", json!({ "config": config }))).await.unwrap();
    assert_eq!((swapped.outcome, swapped.from), (ReloadOutcome::Swapped, installed.generation));
    let state = text(running, "kept", "look").await;
    assert!(state.contains(r#""count":1"#) && state.contains(r#""loaded":1"#), "the state was handed over: {state}");
    assert!(running.not_ready().is_empty());
    assert_eq!(running.reload("kept").await.unwrap().outcome, ReloadOutcome::Swapped);

    let removed = running.remove("kept").await.unwrap();
    assert_eq!(removed.outcome, ReloadOutcome::Removed);
    assert_eq!(text(running, "kept", "look").await, "there is no module kept");
    assert_eq!(running.install(module("snapshot", "kept")).await.unwrap().outcome, ReloadOutcome::Started);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(folders(&host), 0, "nothing was written into modulesDir");
}

#[tokio::test]
async fn a_watched_folder_changes_nothing_while_a_module_in_memory_hides_it() {
    let host = TestHost::with("echo").watched().start().await;
    let running = host.running();
    let installed = running.install(patched("echo", "echo", json!({ "config": { "a": 1 } }))).await.unwrap();
    let file = host.dir.path().join("modules/echo/module.json");
    let changed = fs::read_to_string(&file).unwrap().replacen('{', r#"{ "config": { "b": 1 },"#, 1);
    fs::write(&file, &changed).unwrap();
    let folder = host.dir.path().join("modules/late");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(source_of("echo").join("echo.wasm"), folder.join("echo.wasm")).unwrap();
    fs::write(folder.join("module.json"), &changed).unwrap();
    // The watcher requests the reloads of one scan together.
    eventually("the watcher has seen both folders", || async {
        !text(running, "late", "who").await.contains("no module")
    })
    .await;
    let serves = || running.status().modules.into_iter().find(|module| module.name == "echo").unwrap();
    let (full, short) = (serves().generation.unwrap(), installed.generation.unwrap());
    assert!(full.starts_with(&short), "{full} {short}");
    let swapped = running.remove("echo").await.unwrap();
    assert_eq!((swapped.outcome, swapped.from), (ReloadOutcome::Swapped, Some(short)));
}

#[tokio::test]
async fn a_rollback_returns_to_the_previous_module_in_memory() {
    let host = TestHost::empty().start().await;
    let running = host.running();
    let first = running.install(module("echo", "back")).await.unwrap();
    let second = running.install(patched("echo", "back", json!({ "config": { "a": 1 } }))).await.unwrap();
    let back = running.rollback("back", None).await.unwrap();
    assert_eq!((back.from, &back.generation, back.pinned), (second.generation.clone(), &first.generation, true));
    let pinned = running.reload("back").await.unwrap();
    assert_eq!((&pinned.generation, pinned.pinned), (&first.generation, true), "the pin holds");
    let third = running.install(patched("echo", "back", json!({ "config": { "a": 2 } }))).await.unwrap();
    assert_eq!((third.from, third.pinned), (first.generation, false), "another module ends the pin");
}

#[tokio::test]
async fn a_module_in_memory_hides_a_folder_until_it_is_removed() {
    let host = TestHost::with("echo").start().await;
    let running = host.running();
    let folder = running.status().modules[0].generation.clone();
    let installed = running.install(patched("echo", "echo", json!({ "config": { "a": 1 } }))).await.unwrap();
    assert_eq!(installed.outcome, ReloadOutcome::Swapped);
    assert_ne!(running.status().modules[0].generation, folder);
    assert_eq!(running.remove("echo").await.unwrap().outcome, ReloadOutcome::Swapped);
    assert_eq!(running.status().modules[0].generation, folder);
    let error = running.remove("echo").await.unwrap_err();
    assert!(matches!(error, SwapError::NotInMemory(_)), "{error}");
    assert_eq!(
        error.to_string(),
        "there is no module echo in memory; remove its folder to remove a module of modulesDir"
    );
}

#[tokio::test]
async fn a_rejected_module_has_the_errors_of_a_folder() {
    let host = TestHost::empty().config(json!({ "engine": { "maxComponent": 1_000_000 } })).start().await;
    let running = host.running();
    let component = vec![0; 1_000_001];
    let manifest = r#"{ "component": "odd.wasm" }"#;
    for (name, manifest, component, says) in [
        ("Odd", manifest, &b""[..], "memory:/Odd/module.json:1:1: the name must be "),
        ("odd", r#"{ "component": "odd.wasm", "rutes": [] }"#, b"", "memory:/odd/module.json:1:28: rutes: unknown key"),
        ("odd", manifest, b"\0asm\x01\0\0\0", "memory:/odd/odd.wasm: the file is a core module"),
        ("odd", manifest, b"no component", "memory:/odd/odd.wasm: the file is not a WebAssembly component"),
        ("odd", manifest, &component, "memory:/odd/odd.wasm has 1000001 bytes: more than engine.maxComponent"),
    ] {
        let error = running.install(Module::new(name, manifest, component.to_vec())).await.unwrap_err();
        assert!(matches!(error, SwapError::Module(_)) && error.to_string().contains(says), "{error}");
    }
    assert!(running.not_ready()[0].starts_with("odd: memory:/odd/odd.wasm"), "{:?}", running.not_ready());
    assert_eq!(running.remove("odd").await.unwrap().outcome, ReloadOutcome::Removed);
    assert!(running.not_ready().is_empty());
}

#[tokio::test]
async fn a_broken_module_in_memory_does_not_stop_the_start() {
    let dir = TempDir::new();
    dir.make_state_dir();
    let settings = json!({
        "stateDir": TempDir::STATE, "workers": 1,
        "http": { "listen": "127.0.0.1:0" }, "admin": { "listen": "127.0.0.1:0" },
    });
    let builder = Host::builder().text(settings.to_string(), dir.path()).compiler(binary());
    let host = builder.module(Module::new("broken", "{", "")).module(module("echo", "sound")).start().await.unwrap();
    assert!(host.not_ready().len() == 1 && host.not_ready()[0].starts_with("broken: memory:/broken/module.json:1:"));
    assert!(text(&host, "sound", "who").await.contains("worker-"));
}

#[tokio::test]
async fn a_stopped_host_installs_and_removes_nothing() {
    let host = TestHost::empty().start().await;
    let running = host.running();
    running.install(module("echo", "late")).await.unwrap();
    running.shutdown().await;
    assert!(matches!(running.install(module("echo", "later")).await, Err(SwapError::Stopping)));
    assert!(matches!(running.remove("late").await, Err(SwapError::Stopping)));
}

#[tokio::test]
async fn no_call_fails_while_modules_in_memory_are_replaced() {
    let host = Arc::new(TestHost::empty().start().await);
    host.running().install(module("echo", "busy")).await.unwrap();
    let (done, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (host, done, served) = (host.clone(), done.clone(), served.clone());
            tokio::spawn(async move {
                while !done.load(Ordering::Acquire) {
                    let reply = host.running().call("busy", "echo", "hello", CallOptions::default()).await.unwrap();
                    assert_eq!(reply.payload, "hello".into());
                    served.fetch_add(1, Ordering::AcqRel);
                }
            })
        })
        .collect();
    for number in 0..10 {
        let from = served.load(Ordering::Acquire);
        eventually("calls are served", || async { served.load(Ordering::Acquire) > from + 20 }).await;
        let next = patched("echo", "busy", json!({ "config": { "number": number } }));
        assert_eq!(host.running().install(next).await.unwrap().outcome, ReloadOutcome::Swapped);
    }
    done.store(true, Ordering::Release);
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn an_installation_continues_when_its_future_is_dropped() {
    let host = TestHost::empty().start().await;
    let running = host.running();
    {
        let install = std::pin::pin!(running.install(module("echo", "dropped")));
        assert!(futures_util::poll!(install).is_pending());
    }
    eventually("the module serves", || async { text(running, "dropped", "who").await.contains("worker-") }).await;
    {
        let remove = std::pin::pin!(running.remove("dropped"));
        assert!(futures_util::poll!(remove).is_pending());
    }
    eventually("the module is removed", || async { text(running, "dropped", "who").await.contains("no module") }).await;
    assert_eq!(running.install(module("echo", "dropped")).await.unwrap().outcome, ReloadOutcome::Started);
}

#[tokio::test]
async fn a_removal_whose_future_is_dropped_leaves_the_name_to_a_folder() {
    // A file that is missing for less than a minute is being written.
    let host = TestHost::empty().config(json!({ "swap": { "removal": "1m", "patience": "1m" } })).start().await;
    let running = host.running();
    running.install(module("echo", "later")).await.unwrap();
    {
        let remove = std::pin::pin!(running.remove("later"));
        assert!(futures_util::poll!(remove).is_pending());
    }
    eventually("the module is removed", || async { text(running, "later", "who").await.contains("no module") }).await;
    let folder = host.dir.path().join("modules/later");
    fs::create_dir_all(&folder).unwrap();
    for file in ["echo.wasm", "module.json"] {
        fs::copy(source_of("echo").join(file), folder.join(file)).unwrap();
    }
    assert_eq!(running.reload("later").await.unwrap().outcome, ReloadOutcome::Started);
    let manifest = fs::read(folder.join("module.json")).unwrap();
    fs::remove_file(folder.join("module.json")).unwrap();
    let mut reload = std::pin::pin!(running.reload("later"));
    assert!(timeout(Duration::from_millis(200), &mut reload).await.is_err(), "the host waits for the file");
    fs::write(folder.join("module.json"), &manifest).unwrap();
    assert_eq!(reload.await.unwrap().outcome, ReloadOutcome::Swapped);
}

#[tokio::test]
async fn a_start_with_a_broken_module_serves_the_last_good_generation() {
    let dir = TempDir::new();
    dir.make_state_dir();
    let settings = json!({
        "stateDir": TempDir::STATE, "workers": 1,
        "http": { "listen": "127.0.0.1:0" }, "admin": { "listen": "127.0.0.1:0" },
    });
    let builder = || Host::builder().text(settings.to_string(), dir.path()).compiler(binary());
    let host = builder().module(module("echo", "restarted")).start().await.unwrap();
    let good = host.status().modules[0].generation.clone();
    host.shutdown().await;
    let host = builder().module(Module::new("restarted", r#"{ "component": "a.wasm" }"#, "broken")).start().await;
    let host = host.unwrap();
    assert_eq!(host.status().modules[0].generation, good);
    assert!(host.not_ready()[0].contains("the last good generation serves"), "{:?}", host.not_ready());
}
