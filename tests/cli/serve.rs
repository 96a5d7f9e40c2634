//! `fanfare serve`: starts, serves and stops.

use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinHandle;

use super::{Project, Serving};
use crate::harness::{Answer, Connection, TempDir, eventually};

#[tokio::test]
async fn serve_prints_the_addresses_and_the_state_of_every_module() {
    let project = Project::with(&["echo", "flags"])
        .file("modules/unbuilt/module.json", r#"{ "component": "unbuilt.wasm" }"#)
        .file("modules/broken/module.json", "{ not json")
        .file("modules/_draft/module.json", "{ not json")
        .file("modules/notes/README", "no module");
    let serving = project.serve(&[]).await;
    assert_eq!(serving.get("/api/echo/who").await.status, 200);
    assert_eq!(serving.operator("GET", "/readyz").await.status, 200);
    let (code, modules) = serving.stop().await;
    assert_eq!(code, Some(0));
    let lines: Vec<&str> = modules.lines().map(str::trim).collect();
    let names: Vec<&str> = lines.iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["broken", "echo", "flags", "unbuilt"], "{modules}");
    assert!(lines[0].contains("refused: "), "{modules}");
    assert!(lines[1].contains("/api/echo/") && lines[1].contains("routes, generation "), "{modules}");
    let missing = "waiting: the component modules/unbuilt/unbuilt.wasm does not exist: put the file there, ";
    assert!(lines[3].contains(missing), "{modules}");
}

#[tokio::test]
async fn without_a_modules_folder_serve_starts_with_no_modules() {
    let project = Project::with(&[]).config(json!({ "modulesDir": "nowhere" }));
    let serving = project.serve(&[]).await;
    assert!(serving.get("/").await.text().contains("There are no modules yet"));
    eventually("the log names the folder", || async { serving.log().contains("nowhere") }).await;
}

#[tokio::test]
async fn serve_warns_about_a_listener_whose_module_does_not_exist() {
    let listeners = json!([{ "path": "/v1/", "module": "eco" }, { "path": "/v2/", "module": "echo" }]);
    let project = Project::with(&["echo"]).config(json!({ "websocket": { "listeners": listeners } }));
    let serving = project.serve(&[]).await;
    let warning = "websocket.listeners[0].module: there is no such module in ";
    eventually("the log names the listener", || async { serving.log().contains(warning) }).await;
    let log = serving.log();
    let line = log.lines().find(|line| line.contains(warning)).unwrap();
    let wanted = [r#""level":"WARN""#, "rejects each client of this listener with 404", "did you mean", "fanfare.json"];
    assert!(wanted.iter().all(|part| line.contains(part)), "{line}");
    assert!(!log.contains("websocket.listeners[1]"), "{log}");
}

#[tokio::test]
async fn serve_and_status_warn_about_settings_of_a_module_that_does_not_exist() {
    let project = Project::with(&["echo"]).config(json!({ "modules": { "ecko": {}, "echo": {} } }));
    let serving = project.serve(&[]).await;
    let warning = "modules.ecko: there is no such module in modules; did you mean ";
    eventually("the log names it", || async { serving.log().contains(warning) }).await;
    let status = project.run(&["status", "--admin", &serving.admin()]).await;
    assert!(status.out.contains(warning) && !status.out.contains("modules.echo: "), "{}", status.out);
}

#[tokio::test]
async fn strict_exits_with_the_reason_if_a_module_is_not_ready() {
    let broken = Project::with(&["echo"])
        .file("modules/broken/module.json", r#"{ "component": "broken.wasm", "rotues": [] }"#)
        .file("modules/broken/broken.wasm", "no component");
    let serving = broken.serve(&[]).await;
    assert_eq!(serving.get("/api/echo/who").await.status, 200);
    serving.stop().await;
    let strict = broken.run(&["serve", "--strict", "--log=off"]).await;
    assert_eq!((strict.code, strict.out.as_str()), (1, ""), "{}", strict.err);
    assert!(strict.err.contains("broken: ") && strict.err.contains("rotues"), "{}", strict.err);

    let failing =
        Project::with(&["startup"]).config(json!({ "modules": { "startup": { "config": { "mode": "fails" } } } }));
    let strict = failing.run(&["serve", "--strict", "--log=off"]).await;
    assert_eq!(strict.code, 1);
    assert!(strict.err.contains("startup `warm` failed: the startup fails as configured"), "{}", strict.err);
    let strict =
        failing.config(json!({ "isolate": { "maxRestarts": 0 } })).run(&["serve", "--strict", "--log=off"]).await;
    let failed = "startup in worker-0: failed after 0 restarts (isolate.maxRestarts) within 60s (isolate.restartWindow): \
                  run `fanfare reload startup`\n";
    assert!(strict.err.contains(failed), "{}", strict.err);

    let whole = Project::with(&["echo"]);
    assert_eq!(whole.serve(&["--strict"]).await.stop().await.0, Some(0));
    // Without --strict, the last good generation would serve.
    let worse = whole.file("modules/echo/module.json", "{");
    let strict = worse.run(&["serve", "--strict", "--log=off"]).await;
    assert!(
        strict.code == 1
            && strict
                .err
                .contains("echo: the last good generation serves, because the module's files cannot be loaded"),
        "{}",
        strict.err
    );
}

#[tokio::test]
async fn a_port_in_use_is_one_error_with_address_key_and_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let project = Project::with(&["echo"]);
    for (flag, key) in [("--listen", "http.listen"), ("--admin", "admin.listen")] {
        let ran = project.run(&["serve", flag, &address]).await;
        assert_eq!((ran.code, ran.err.lines().count()), (1, 1), "{}", ran.err);
        for word in [&address, key, flag] {
            assert!(ran.err.contains(word), "{word} in {}", ran.err);
        }
    }
}

/// Starts a request that runs until the route `release` of `waits` is called.
async fn held(serving: &Serving) -> JoinHandle<Answer> {
    let mut connection = Connection::open(serving.http).await;
    let held = tokio::spawn(async move { connection.send("POST", "/api/waits/hold", &[], "to the end").await });
    let running = || async {
        let status = serving.status("waits").await;
        status["isolates"].as_array().unwrap().iter().any(|isolate| isolate["inFlight"] == 1)
    };
    eventually("the call runs", running).await;
    held
}

/// A host with a call that runs until it is released.
async fn holding() -> (Project, Serving, JoinHandle<Answer>) {
    let grants = json!({ "rpc": ["*"], "broadcast": ["*"] });
    let project = Project::with(&["waits"]).config(json!({
        "shutdown": { "drain": "1m" },
        "modules": { "waits": { "grants": grants, "limits": { "timeout": "1m" } } },
    }));
    let serving = project.serve(&[]).await;
    let held = held(&serving).await;
    (project, serving, held)
}

async fn wait_until_draining(admin: SocketAddr) {
    let draining =
        || async { Connection::open(admin).await.send("GET", "/readyz", &[], "").await.text().trim() == "draining" };
    eventually("the host drains", draining).await;
}

#[tokio::test]
async fn the_first_signal_waits_for_running_calls() {
    for signal in [Signal::TERM, Signal::INT] {
        let (_project, mut serving, held) = holding().await;
        serving.signal(signal);
        wait_until_draining(serving.admin).await;
        serving.operator("POST", "/v1/modules/waits/call?path=release&target=workers").await;
        let answer = held.await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, "to the end"));
        assert_eq!(serving.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn the_second_signal_exits_at_once() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let (_project, mut serving, held) = holding().await;
        serving.signal(signal);
        wait_until_draining(serving.admin).await;
        serving.signal(signal);
        assert_eq!(serving.ended().await.code(), Some(code));
        held.abort();
    }
}

#[tokio::test]
async fn an_unread_log_does_not_block_the_host() {
    // The limits are high, because handling the lines counts as processor time of the guest.
    let limits = json!({ "logRate": 1_000_000, "cpu": "5s" });
    let project = Project::with(&["floods", "echo"])
        .config(json!({ "limits": { "max": limits }, "modules": { "floods": { "limits": limits } } }));
    let mut serving = project.start_with(project.command(&["serve"]), Stdio::piped()).await;
    let lost = async || {
        let metrics = serving.operator("GET", "/metrics").await;
        let value = metrics.text().lines().find_map(|line| line.strip_prefix("fanfare_log_lines_lost_total "));
        value.unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(lost().await, 0);
    let flood = json!({ "lines": 5_000, "length": 200 }).to_string();
    for _ in 0..3 {
        let mut connection = Connection::open(serving.http).await;
        assert_eq!(connection.send("POST", "/api/floods/print", &[], flood.as_str()).await.text(), "ok");
    }
    assert!(lost().await > 0, "some lines are dropped");
    assert_eq!(serving.get("/api/echo/who").await.status, 200);
    serving.signal(Signal::TERM);
    assert_eq!(serving.ended().await.code(), Some(0));
}

#[tokio::test]
async fn calls_that_outlast_the_drain_are_cut_off() {
    let project = Project::with(&["never"]).config(json!({ "shutdown": { "drain": "300ms" } }));
    let serving = project.serve(&[]).await;
    let mut connection = Connection::open(serving.http).await;
    tokio::spawn(async move { connection.send("POST", "/api/never/never", &[], "").await });
    let running = || async {
        let status = serving.status("never").await;
        status["isolates"].as_array().unwrap().iter().any(|isolate| isolate["inFlight"] == 1)
    };
    eventually("the call runs", running).await;
    assert_eq!(serving.stop().await.0, Some(0));
    assert!(project.read("log").contains("cut off"), "{}", project.read("log"));
}

#[tokio::test]
async fn variables_have_the_effect_of_flags() {
    let project = Project::with(&[]).config(json!({ "workers": 1, "http": { "listen": "192.0.2.1:1" } }));
    let elsewhere = Project::with(&["echo"]);
    let mut command = project.command(&["serve"]);
    let modules = elsewhere.path().join("modules");
    command
        .env("FANFARE_HTTP_LISTEN", "127.0.0.1:0")
        .env("FANFARE_WORKERS", "3")
        .env("FANFARE_MODULES_DIR", &modules)
        .env("FANFARE_STRICT", "1")
        .env("FANFARE_ENV", "production")
        .env("FANFARE_LOG", "off");
    let serving = project.start(command).await;
    let status = serving.operator("GET", "/v1/status").await.json();
    assert_eq!((&status["workers"], &status["environment"]), (&json!(3), &json!("production")));
    assert_eq!(serving.get("/api/echo/who").await.status, 200);
    assert_eq!(serving.log(), "");
}

#[tokio::test]
async fn a_second_host_with_the_same_state_dir_is_refused_until_the_first_one_has_ended() {
    let project = Project::with(&["echo"]).config(json!({ "node": { "id": "first-1" } }));
    for command in ["serve", "dev"] {
        let mut serving = project.start(project.command(&[command])).await;
        let state = project.path().join(TempDir::STATE);
        for other in ["serve", "dev"] {
            let ran = project.run(&[other]).await;
            assert_eq!((ran.code, ran.err.lines().count()), (1, 1), "{}", ran.err);
            let pid = serving.pid().as_raw_nonzero();
            for part in [state.to_str().unwrap(), "first-1", &format!("process {pid}"), "set stateDir"] {
                assert!(ran.err.contains(part), "{part} in {}", ran.err);
            }
        }
        // Commands that do not serve use the folder meanwhile.
        assert_eq!(project.run(&["check"]).await.code, 0);
        // The lock ends with the process, however that ends.
        serving.signal(Signal::KILL);
        serving.ended().await;
    }
    project.serve(&[]).await.stop().await;
}
