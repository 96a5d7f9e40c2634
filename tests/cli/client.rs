//! `status`, `emit`, `call`, `reload` and `rollback`, against a running host.

use serde_json::json;

use super::project::CommandOutput;
use super::{Project, Serving};

async fn running(modules: &[&str]) -> (Project, Serving) {
    let project = Project::with(modules);
    let serving = project.serve(&[]).await;
    (project, serving)
}

#[tokio::test]
async fn status_shows_every_module_and_why_one_is_refused() {
    let project = Project::with(&["echo"])
        .file("modules/broken/module.json", r#"{ "component": "broken.wasm" }"#)
        .file("modules/broken/broken.wasm", "no component");
    let serving = project.serve(&[]).await;
    let shown = project.run(&["status", "--admin", &serving.admin()]).await;
    assert_eq!(shown.code, 0, "{}", shown.err);
    let line = |words: &[&str]| shown.out.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(line(&["node-1", "development"]) && line(&["broken", "refused"]), "{}", shown.out);
    assert!(line(&["echo", "ready", "worker-0"]) && line(&["worker-1", "ready"]), "{}", shown.out);
    assert!(line(&["broken.wasm"]), "the reason: {}", shown.out);

    let url = format!("http://{}", serving.admin());
    let json = project.run(&["status", "--json", "--admin", &url]).await.json();
    assert_eq!(json["modules"][1]["isolates"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn emit_prints_the_receipt_or_the_reply_of_each_worker() {
    let (project, serving) = running(&["counts"]).await;
    let admin = serving.admin();
    let emit = async |more: &[&str]| {
        let args = [&["emit", "counts"][..], more, &["--admin", &admin]].concat();
        project.run(&args).await
    };
    let ran = emit(&["append", r#"{"n":1}"#]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.starts_with("append: id ") && ran.out.ends_with("seq 1, accepted by 2 workers\n"), "{}", ran.out);
    let receipt = emit(&["append", "--json"]).await.json();
    assert_eq!((&receipt["seq"], &receipt["accepted"]), (&json!(2), &json!(2)));

    let gathered = emit(&["misbehave", r#"{"worker":1,"how":"fail"}"#, "--gather"]).await;
    assert_eq!(gathered.code, 1);
    assert_eq!(gathered.out, "worker-0  200  fine\nworker-1  on-request (409): this handler fails on request\n");
    assert!(gathered.err.contains("1 of 2 workers failed"), "{}", gathered.err);

    let unknown = emit(&["apend"]).await;
    assert_eq!((unknown.code, unknown.out.as_str()), (1, ""));
    assert!(unknown.err.contains("it has: append, misbehave"), "{}", unknown.err);
    assert_eq!(emit(&["append", "{not json"]).await.code, 2);
}

#[tokio::test]
async fn call_prints_the_reply_of_the_route() {
    let (project, serving) = running(&["echo", "flags"]).await;
    let admin = serving.admin();
    let call = async |args: &[&str]| project.run(&[&["call"][..], args, &["--admin", &admin]].concat()).await;
    let ran = call(&["echo", "echo", r#"{"as" : "it is"}"#]).await;
    assert_eq!((ran.code, ran.out.trim_end()), (0, r#"{"as" : "it is"}"#), "{}", ran.err);
    assert_eq!(call(&["-X", "put", "flags", "dark", "true"]).await.code, 0);
    assert_eq!(call(&["-X", "GET", "flags", "dark"]).await.out.trim_end(), "true");
    let json = call(&["echo", "who", "--json", "--target", "worker-1"]).await.json();
    assert_eq!(json["status"], 200);
    assert!(json["payload"].as_str().unwrap().contains("worker-1"), "{json}");
    let inner = call(&["echo", "/inner", "1"]).await;
    assert_eq!((inner.code, inner.out.trim_end()), (0, "1"), "{}", inner.err);

    let fail = r#"{"name":"out-of-tea","message":"There is none.","status":418,"data":{"pots":1}}"#;
    let failed = call(&["echo", "fail", fail]).await;
    assert_eq!((failed.code, failed.out.as_str()), (1, ""));
    assert_eq!(failed.err, "error: out-of-tea (418): There is none.\n  data: {\"pots\":1}\n");
    let everywhere = call(&["echo", "fail", fail, "--target", "workers"]).await;
    let entry = |worker| format!("worker-{worker}  out-of-tea (418): There is none.\n  data: {{\"pots\":1}}\n");
    assert_eq!((everywhere.code, everywhere.out), (1, entry(0) + &entry(1)), "{}", everywhere.err);
    let missing = call(&["echo", "nothing"]).await;
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("not-found (404)"), "{}", missing.err);
}

#[tokio::test]
async fn message_prints_the_reply_of_the_module() {
    let project = Project::with(&["master", "echo"]);
    let hook = r#""hooks": { "masterMessage": { "path": "message" } }, "routes""#;
    let manifest = project.read("modules/master/module.json").replace(r#""routes""#, hook);
    std::fs::write(project.path().join("modules/master/module.json"), manifest).unwrap();
    let serving = project.serve(&[]).await;
    let admin = serving.admin();
    let message = async |args: &[&str]| project.run(&[&["message"][..], args, &["--admin", &admin]].concat()).await;
    let ran = message(&["worker-1", "master", r#"{"n":1}"#]).await;
    assert!(ran.code == 0 && ran.out.contains("worker-1") && ran.out.contains(r#"{"n":1}"#), "{}{}", ran.out, ran.err);
    assert_eq!(message(&["worker-0", "master", "--json"]).await.json()["status"], 200);
    let queued = message(&["worker-0", "master", "--no-wait"]).await;
    assert_eq!((queued.code, queued.out.as_str()), (0, "master in worker-0: queued\n"));
    let failed = message(&["worker-0", "master", r#"{"how":"fail"}"#]).await;
    assert_eq!(failed.err, "error: no-tea (418): There is no tea.\n  data: {\"pots\":0}\n");
    let missing = message(&["worker-9", "master"]).await;
    assert_eq!(
        (missing.code, missing.err.as_str()),
        (1, "error: not-found (404): there is no worker-9: this node has 2 workers\n")
    );
    let no_hook = message(&["worker-0", "echo"]).await;
    assert!(no_hook.code == 1 && no_hook.err.contains("echo has no hook `masterMessage`"), "{}", no_hook.err);
    assert_eq!(message(&["master", "master"]).await.code, 2);
}

#[tokio::test]
async fn without_a_host_every_command_says_how_to_start_one() {
    let project = Project::with(&[]);
    // A socket that is bound and does not listen reserves a port that refuses connections.
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    bound.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let unreachable = bound.local_addr().unwrap().as_socket().unwrap().to_string();
    for args in [&["status"][..], &["emit", "counts", "append"], &["call", "echo", "who"]] {
        let mut command = project.command(args);
        command.env("FANFARE_ADMIN_LISTEN", &unreachable);
        let ran = CommandOutput::of(command).await;
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{args:?}");
        assert!(ran.err.contains(&unreachable) && ran.err.contains("fanfare serve"), "{}", ran.err);
    }
    assert_eq!(project.run(&["status", "--admin", "not an address"]).await.code, 2);
}

#[tokio::test]
async fn reload_prints_the_outcome() {
    let (project, serving) = running(&["echo"]).await;
    let admin = serving.admin();
    let reload = async |module: &str| project.run(&["reload", "--admin", &admin, module]).await;
    let restarted = reload("echo").await;
    assert_eq!(restarted.code, 0, "{}", restarted.err);
    assert!(restarted.out.starts_with("echo: restarted, generation "), "{}", restarted.out);
    let manifest = project.read("modules/echo/module.json").replace("\"who\", \"handler\"", "\"whoever\", \"handler\"");
    std::fs::write(project.path().join("modules/echo/module.json"), manifest).unwrap();
    let swapped = reload("echo").await;
    assert!(swapped.code == 0 && swapped.out.contains(" replaced "), "{}{}", swapped.out, swapped.err);
    assert_eq!(serving.get("/api/echo/whoever").await.status, 200);
    std::fs::write(project.path().join("modules/echo/module.json"), "{").unwrap();
    let refused = reload("echo").await;
    assert!(refused.code == 1 && refused.err.contains("modules/echo/module.json:1:"), "{}", refused.err);
    assert_eq!(serving.get("/api/echo/whoever").await.status, 200);
    assert_eq!(reload("ghost").await.code, 1);
}

#[tokio::test]
async fn reload_without_a_module_reloads_all_and_prints_refusals() {
    let (project, serving) = running(&["echo", "counts"]).await;
    let admin = serving.admin();
    let all = project.run(&["reload", "--admin", &admin]).await;
    assert_eq!(all.code, 0, "{}", all.err);
    let lines: Vec<&str> = all.out.lines().collect();
    assert!(lines[0].starts_with("counts: restarted") && lines[1].starts_with("echo: restarted"), "{}", all.out);
    std::fs::write(project.path().join("modules/echo/module.json"), "{").unwrap();
    let refused = project.run(&["reload", "--admin", &admin]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.out.contains("echo: refused: modules/echo/module.json:1:"), "{}", refused.out);
    assert!(refused.err.contains("1 of 2 modules were refused"), "{}", refused.err);
    assert!(!refused.err.contains("restart"), "{}", refused.err);
    let mut settings: serde_json::Value = serde_json::from_str(&project.read("fanfare.json")).unwrap();
    settings["calls"] = json!({ "maxDepth": 7 });
    std::fs::write(project.path().join("fanfare.json"), settings.to_string()).unwrap();
    for args in [&["reload"][..], &["reload", "counts"]] {
        let warned = project.run(&[args, &["--admin", &admin]].concat()).await;
        assert!(warned.err.contains("changes in fanfare.json that need a restart: calls.maxDepth"), "{}", warned.err);
    }
    let json = project.run(&["reload", "--json", "--admin", &admin]).await;
    assert_eq!((json.code, &json.json()[1]["outcome"]), (1, &json!("refused")));
    let status = project.run(&["status", "--admin", &admin]).await;
    assert!(
        status.out.contains(
            "the previous generation keeps serving, because the module's files are refused: modules/echo/module.json:1:"
        ),
        "{}",
        status.out
    );
}

#[tokio::test]
async fn rollback_prints_how_long_it_holds() {
    let (project, serving) = running(&["echo"]).await;
    let admin = serving.admin();
    let file = project.path().join("modules/echo/module.json");
    let manifest = project.read("modules/echo/module.json").replace("\"who\", \"handler\"", "\"whoever\", \"handler\"");
    std::fs::write(file, manifest).unwrap();
    assert_eq!(project.run(&["reload", "echo", "--admin", &admin]).await.code, 0);
    let back = project.run(&["rollback", "echo", "--admin", &admin]).await;
    assert_eq!(back.code, 0, "{}", back.err);
    assert!(back.out.contains("pinned until the folder changes or `fanfare reload echo --force`"), "{}", back.out);
    assert_eq!(serving.get("/api/echo/who").await.status, 200);
    let none = project.run(&["rollback", "echo", "--admin", &admin, "--to", "zzz"]).await;
    assert!(
        none.code == 1
            && none.err.contains("echo has no retained generation zzz; retained generations, newest first: "),
        "{}",
        none.err
    );
    let forced = project.run(&["reload", "echo", "--force", "--admin", &admin]).await;
    assert_eq!(forced.code, 0, "{}", forced.err);
    assert_eq!(serving.get("/api/echo/whoever").await.status, 200);
}
