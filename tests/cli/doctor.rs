//! `fanfare doctor`: what it finds in a healthy project, and in ones that lack something.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::{Project, project::CommandOutput};
use crate::harness::Nats;

/// The findings of a check, each as `state: text`.
fn findings(ran: &CommandOutput, check: &str) -> Vec<String> {
    let all = ran.json();
    let of_check = all["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == check);
    let text =
        |finding: &Value| format!("{}: {}", finding["state"].as_str().unwrap(), finding["text"].as_str().unwrap());
    of_check.map(text).collect()
}

#[tokio::test]
async fn a_healthy_project_has_no_faults() {
    let project = Project::with(&["echo", "flags"]).config(json!({ "modules": {
        "flags": { "grants": { "broadcast": ["flags"] } } } }));
    let ran = project.run(&["doctor"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    let lines: Vec<&str> = ran.out.lines().collect();
    let has = |start: &str, end: &str| lines.iter().any(|line| line.starts_with(start) && line.ends_with(end));
    assert!(has("ok  ", "fanfare.json, environment development"), "{}", ran.out);
    assert!(has("ok  ", "modules     2 modules, no faults"), "{}", ran.out);
    assert!(has("ok  ", "memory      room for 8 instances, which a swap of all modules needs"), "{}", ran.out);
    assert!(lines.iter().any(|line| line.starts_with("0 faults, ")), "{}", ran.out);
}

#[tokio::test]
async fn outside_a_project_it_checks_the_machine() {
    let ran = Project::none().run(&["doctor", "--json", "--listen", ":0", "--admin", ":0"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    let settings = findings(&ran, "settings");
    assert!(settings[0].starts_with("note: no fanfare.json") && settings[0].contains("`fanfare init`"), "{settings:?}");
    assert_eq!((findings(&ran, "modules").len(), findings(&ran, "tools").len()), (0, 6));
}

#[tokio::test]
async fn faults_of_settings_modules_and_grants_are_listed_with_their_remedies() {
    let project = Project::with(&["echo", "test-party"]);
    let manifest = project.read("modules/echo/module.json").replacen("\"routes\"", "\"rutes\"", 1);
    let project = project.file("modules/echo/module.json", manifest).config(json!({ "workrs": 2, "modules": {} }));
    let ran = project.run(&["doctor", "--json"]).await;
    assert_eq!(ran.code, 1, "{}", ran.out);
    let settings = findings(&ran, "settings");
    assert!(settings.len() == 1 && settings[0].contains("did you mean \"workers\"?"), "{settings:?}");
    let modules = findings(&ran, "modules");
    assert!(modules.iter().any(|text| text.starts_with("fault: ") && text.contains("rutes")), "{modules:?}");
    let grants = findings(&ran, "grants");
    assert!(grants.len() == 1 && grants[0].contains("fanfare grant test-party"), "{grants:?}");
}

#[tokio::test]
async fn a_port_in_use_is_a_fault_unless_the_host_of_the_project_uses_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let project = Project::with(&["echo"]).config(json!({ "http": { "listen": address } }));
    let ran = project.run(&["doctor", "--json"]).await;
    let ports = findings(&ran, "ports");
    let text = format!("fault: {address} is in use by another program; stop it, or set http.listen to another address");
    assert!(ran.code == 1 && ports.contains(&text), "{ports:?}");
    drop(taken);

    let serving = project.serve(&[]).await;
    let http = json!({ "listen": serving.http });
    let project = project.found(&serving).config(json!({ "http": http }));
    let ran = project.run(&["doctor", "--json"]).await;
    let ports = findings(&ran, "ports");
    assert!(ran.code == 0 && ports.len() == 2, "{}", ran.out);
    assert!(
        ports.iter().all(|text| text.starts_with("ok: ") && text.ends_with(", the host of this project")),
        "{ports:?}"
    );
}

#[tokio::test]
async fn low_limits_are_warnings_that_name_the_setting() {
    let project = Project::with(&["echo"]).config(json!({ "engine": { "addressSpace": "8GiB", "pool": 0 } }));
    let ran = super::project::CommandOutput::of(project.command_with_files(&["-n 300"], &["doctor", "--json"])).await;
    assert_eq!(ran.code, 0, "{}", ran.out);
    let files = findings(&ran, "open files");
    assert!(
        files[0].starts_with("warning: the limit of 300 allows ") && files[0].contains("LimitNOFILE="),
        "{files:?}"
    );
    let memory = findings(&ran, "memory");
    assert!(memory[0].starts_with("warning: a swap of all modules needs more: 4 memories need "), "{memory:?}");
}

#[tokio::test]
async fn the_tools_of_a_language_are_a_fault_only_if_a_module_uses_it() {
    let project = Project::with(&["echo"]).file("modules/echo/package.json", "{}");
    let bin = project.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let mut command = project.command(&["doctor", "--json"]);
    command.env("PATH", &bin);
    let ran = CommandOutput::of(command).await;
    let tools = findings(&ran, "tools");
    assert_eq!((ran.code, tools.len()), (1, 6), "{tools:?}");
    assert!(tools[0].starts_with("note: Rust, which no module here uses: cargo: install Rust"), "{tools:?}");
    assert!(
        tools[1].starts_with("fault: JavaScript, which echo uses: Node.js 20 or later: install it from "),
        "{tools:?}"
    );
    assert!(tools[1].ends_with("; npm: install it from https://nodejs.org"), "{tools:?}");
    for (note, language) in tools[2..].iter().zip(["Python", "C", "Zig", "Go"]) {
        assert!(note.starts_with(&format!("note: {language}, which no module here uses: ")), "{tools:?}");
    }

    // A tool that is too old does not count.
    for (tool, says) in [("node", "false"), ("npm", "10.0.0")] {
        std::fs::write(bin.join(tool), format!("#!/bin/sh\necho {says}\n")).unwrap();
        std::fs::set_permissions(bin.join(tool), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = project.command(&["doctor", "--json"]);
    command.env("PATH", &bin);
    let tools = findings(&CommandOutput::of(command).await, "tools");
    assert!(
        tools[1].ends_with("Node.js 20 or later (the node in PATH is older): install it from https://nodejs.org"),
        "{tools:?}"
    );
}

#[tokio::test]
async fn what_the_nats_servers_keep_is_told() {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let told_with = async |cluster: Value, monitor: &str| {
        let project = Project::with(&["echo"]).config(json!({ "cluster": cluster }));
        let ran = project.run(&["doctor", "--json", "--nats-monitor", monitor]).await;
        assert_eq!(ran.code, 0, "{}", ran.out);
        let found = findings(&ran, "nats");
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    };
    let told = async |url: &str, monitor: &str| told_with(json!({ "nats": url }), monitor).await;
    let nobody = free().to_string();
    let away = told(&format!("nats://{nobody}"), &nobody).await;
    assert!(away.starts_with("warning: nats://127.0.0.1:") && away.contains("start it, or correct"), "{away}");
    let monitor = free();
    let port = monitor.port().to_string();
    let Some(nats) = Nats::with(&["--http_port", &port]).await else { return };
    let every = told(&nats.url(), &monitor.to_string()).await;
    assert!(every.starts_with("ok: ") && every.contains("may lose the last 120s"), "{every}");
    let elsewhere = json!({ "nats": nats.url(), "jetStreamDomain": "hub" });
    let elsewhere = told_with(elsewhere, &monitor.to_string()).await;
    assert!(elsewhere.starts_with("note: ") && elsewhere.contains("this server has no domain"), "{elsewhere}");
    let unknown = told(&nats.url(), &nobody).await;
    assert!(unknown.starts_with("note: ") && unknown.contains("`http_port`"), "{unknown}");
    let other = Nats::without_jetstream().await.unwrap();
    let wrong = told(&other.url(), &monitor.to_string()).await;
    assert!(wrong.contains(&format!("belongs to the server of port {}", nats.port)), "{wrong}");
    let monitor = free();
    let text = format!("http: \"{monitor}\"\njetstream {{ sync_interval: always }}");
    let always = Nats::configured(&text).await.unwrap();
    let kept = told(&always.url(), &monitor.to_string()).await;
    assert!(kept.starts_with("ok: ") && kept.ends_with("and over the loss of power"), "{kept}");
}
