//! Commands find the project, the module and the host from the folder that they run in.

use std::fs;

use serde_json::{Value, json};

use super::Project;
use super::project::CommandOutput;
use crate::harness::eventually;

#[tokio::test]
async fn commands_talk_to_the_host_of_the_project_around_the_folder() {
    let (one, other) = (Project::with(&["echo"]), Project::with(&["echo", "flags"]));
    let (of_one, of_other) = (one.serve(&[]).await, other.serve(&[]).await);
    let (one, other) = (one.found(&of_one), other.found(&of_other));
    fs::create_dir_all(one.path().join("modules/echo/src")).unwrap();
    for (project, serving) in [(&one, &of_one), (&other, &of_other)] {
        let root = project.path().display();
        let line = format!("host node-1 in {root} at {}\n", serving.admin());
        for folder in [".", "modules", "modules/echo"] {
            let status = project.run_in(folder, &["status"]).await;
            assert_eq!((status.code, status.host.as_str(), status.err.as_str()), (0, line.as_str(), ""), "{folder}");
        }
        let json = project.run(&["status", "--json"]).await;
        assert_eq!((json.host.as_str(), &json.json()["root"]), ("", &json!(root.to_string())));
    }
    let reloaded = one.run_in("modules/echo/src", &["reload", "."]).await;
    assert!(reloaded.code == 0 && reloaded.out.starts_with("echo: restarted"), "{}{}", reloaded.out, reloaded.err);
    let all = one.run_in("modules/echo", &["reload"]).await;
    assert_eq!((all.code, all.out.lines().count()), (0, 1), "only the modules of this project: {}", all.out);

    // The folder of a module chooses the project, too.
    let flags = other.path().join("modules/flags/");
    let flags = one.run(&["call", "-X", "PUT", flags.to_str().unwrap(), "dark", "true"]).await;
    assert!(flags.code == 0 && flags.host.contains(&of_other.admin()), "{}{}", flags.host, flags.err);
    assert_eq!(one.run(&["call", "echo", "echo", "1"]).await.out, "1\n");

    let stray = one.config(json!({ "admin": { "listen": of_other.admin() } }));
    let (here, there, admin) = (stray.path().display(), other.path().display(), of_other.admin());
    let words = format!("the host at {admin} is node-1 in {there}, not that of this project, {here}");
    let reloads = of_other.metric("fanfare_reloads_total", &[]).await;
    for args in [&["reload"][..], &["reload", "flags", "--json"], &["rollback", "flags"], &["workers", "kill"]] {
        let refused = stray.run(args).await;
        let why = format!("error: {words}: nothing was changed; start this project's host with");
        assert!(
            refused.code == 1 && refused.out.is_empty() && refused.err.starts_with(&why),
            "{args:?}: {}",
            refused.err
        );
    }
    assert_eq!(of_other.metric("fanfare_reloads_total", &[]).await, reloads, "no module was reloaded");
    for args in [&["status"][..], &["workers"], &["call", "flags", "/", "-X", "GET"], &["emit", "flags", "none"]] {
        let warned = stray.run(args).await;
        assert!(warned.host.starts_with(&format!("warning: {words}; set ")), "{args:?}: {}{}", warned.host, warned.err);
    }
    let one = stray;

    for args in [&["reload", "--admin"][..], &["reload", "--json", "--admin"]] {
        let admin = of_other.admin();
        let warned = one.run(&[args, &[&admin]].concat()).await;
        let (here, there) = (one.path().display(), other.path().display());
        let words =
            format!("warning: the host at {admin} is node-1 in {there}, not that of this project, {here}; set ");
        assert!(warned.code == 0 && warned.host.starts_with(&words), "{}{}", warned.host, warned.err);
    }
}

#[tokio::test]
async fn a_mistyped_module_is_named_as_the_nearest_one() {
    let project = Project::with(&["echo"]);
    let serving = project.serve(&[]).await;
    let admin = serving.admin();
    for args in [&["call", "ecko", "who"][..], &["emit", "ecko", "x"], &["reload", "ecko"], &["rollback", "ecko"]] {
        let failed = project.run(&[args, &["--admin", &admin]].concat()).await;
        assert!(failed.code == 1 && failed.err.ends_with("; did you mean \"echo\"?\n"), "{args:?}: {}", failed.err);
    }
    let unknown_route = project.run(&["call", "echo", "whom", "--admin", &admin]).await;
    assert!(unknown_route.code == 1 && !unknown_route.err.contains("did you mean"), "{}", unknown_route.err);
}

#[tokio::test]
async fn a_command_without_a_host_names_the_address_of_the_settings() {
    let project = Project::with(&[]).config(json!({
        "admin": { "listen": "localhost:1" },
        "environments": { "test": { "admin": { "listen": ":2" } } },
    }));
    for (args, address) in [
        (&["status"][..], "127.0.0.1:1"),
        (&["reload", "--env", "test"], "127.0.0.1:2"),
        (&["status", "--admin", ":3"], "127.0.0.1:3"),
    ] {
        let failed = project.run(args).await;
        let words = format!("error: cannot connect to a host at {address}: ");
        assert!(failed.code == 1 && failed.err.starts_with(&words), "{args:?}: {}", failed.err);
    }
    let mut command = project.command(&["status"]);
    command.env("FANFARE_ADMIN_LISTEN", "http://127.0.0.1:4");
    let failed = CommandOutput::of(command).await;
    assert!(failed.err.contains("cannot connect to a host at 127.0.0.1:4: "), "{}", failed.err);
    let wrong = project.run(&["status", "--admin", "nowhere"]).await;
    assert_eq!((wrong.code, wrong.out.as_str()), (2, ""), "{}", wrong.err);
    assert!(wrong.err.starts_with("error: --admin \"nowhere\" must be `host:port`, "), "{}", wrong.err);
    let free = Project::with(&[]).run(&["status"]).await;
    assert!(free.code == 1 && free.err.contains("admin.listen is 127.0.0.1:0, where the host"), "{}", free.err);
}

#[tokio::test]
async fn the_settings_of_another_user_are_ignored_with_a_warning() {
    let project = Project::with(&["echo"]).config(json!({ "admin": { "listen": ":1" } }));
    let file = project.path().join("fanfare.json");
    // Only root can give a file away.
    if std::os::unix::fs::chown(&file, Some(4_242), None).is_err() {
        return;
    }
    let config = project.run_in("modules", &["config", "--json"]).await;
    let warning =
        format!("warning: {} is ignored, because it and this folder belong to different users", file.display());
    assert!(config.err.starts_with(&warning), "{}", config.err);
    assert!(!config.json()["root"].as_str().unwrap().ends_with(project.path().to_str().unwrap()), "{}", config.out);
    let named = project.run_in("modules", &["status", "--config", "../fanfare.json"]).await;
    assert!(named.err.contains("cannot connect to a host at 127.0.0.1:1: "), "{}", named.err);
    let own = project.run(&["config", "--json"]).await;
    assert_eq!((own.err.as_str(), &own.json()["root"]), ("", &json!(project.path().to_str().unwrap())));
}

#[tokio::test]
async fn a_listener_may_be_named_by_its_port() {
    let project = Project::with(&["echo"]).config(json!({ "http": { "listen": ":0" } }));
    let serving = project.serve(&["--admin", "localhost:0"]).await;
    assert!(serving.http.ip().is_loopback() && serving.admin.ip().is_loopback());
    assert_eq!(project.run(&["status", "--admin", &format!(":{}", serving.admin.port())]).await.code, 0);
}

#[tokio::test]
async fn commands_work_from_every_folder_of_a_project() {
    let project = Project::with(&["echo", "flags"]).file("docs/notes.md", "");
    for (folder, modules) in [(".", 2), ("modules", 2), ("docs", 2), ("modules/echo", 1)] {
        let checked = project.run_in(folder, &["check", "--json"]).await;
        let found = checked.json()["modules"].as_array().unwrap().len();
        assert_eq!((checked.code, found), (0, modules), "{folder}: {}", checked.out);
        let config = project.run_in(folder, &["config", "--json"]).await.json();
        assert_eq!(config["root"], json!(project.path().to_str().unwrap()), "{folder}");
    }
    for argument in ["echo", "modules/echo", "./modules/echo/", "modules/echo/../echo"] {
        let checked = project.run(&["check", argument]).await;
        assert_eq!((checked.code, checked.out.as_str()), (0, "1 module checked, no faults\n"), "{argument}");
    }
    assert_eq!(project.run_in("docs", &["check", "flags"]).await.out, "1 module checked, no faults\n");
    let inspected = project.run_in("docs", &["inspect", "echo", "--json"]).await;
    let file = inspected.json()["file"].as_str().unwrap().to_owned();
    assert!(file.ends_with("modules/echo/echo.wasm"), "{file}");
    let wrong = project.run(&["check", "ecko"]).await;
    assert!(wrong.code == 1 && wrong.out.contains("there is no module ecko in modules; did you mean \"echo\"?"));
    for args in [&["build", "ecko"][..], &["test", "ecko"], &["grant", "ecko"]] {
        let wrong = project.run(args).await;
        assert!(wrong.code == 1 && wrong.err.contains("did you mean \"echo\"?"), "{args:?}: {}", wrong.err);
    }
    let granted = project.run_in("modules/echo", &["grant", "."]).await;
    assert_eq!((granted.code, granted.out.lines().next()), (0, Some("echo asks for nothing")), "{}", granted.err);

    let mut serve = project.command(&["serve"]);
    serve.current_dir(project.path().join("modules/echo"));
    let serving = project.start(serve).await;
    assert_eq!(serving.get("/api/flags/").await.status, 200, "the whole project is served");
    assert_eq!(serving.get("/api/echo/who").await.status, 200);
}

#[tokio::test]
async fn check_names_a_wrong_key_a_missing_grant_and_a_missing_handler_at_once() {
    let manifest = json!({
        "component": "traps.wasm", "limit": {}, "capabilities": { "rpc": ["other"] },
        "routes": [{ "path": "wrong", "handlr": "ok" }, { "path": "ok", "handler": "okk" }]
    });
    let project = Project::with(&["traps"]).file("modules/traps/module.json", manifest.to_string());
    let checked = project.run(&["check"]).await;
    assert_eq!(checked.code, 1);
    let found = |words: &str| checked.out.matches(words).count();
    let missing = ": routes[1].handler: must be a handler of the component, found `okk`; did you mean \"ok\"?";
    for words in [": limit: ", ": capabilities.rpc[0]: ", ": routes[0].handlr: ", ": routes[0].handler: ", missing] {
        assert_eq!(found(words), 1, "{words} in {}", checked.out);
    }
    assert!(checked.out.ends_with("1 module checked, 5 faults\n"), "{}", checked.out);
}

#[tokio::test]
async fn a_folder_without_a_project_is_not_checked_in_silence() {
    let checked = Project::none().run(&["check"]).await;
    assert!(checked.code == 1 && checked.out.contains("is no project: neither this folder nor"), "{}", checked.out);
    assert!(!checked.out.contains(":1:1"), "{}", checked.out);
    for command in [&["grant"][..], &["build"], &["test"], &["build", "hello"], &["grant", "hello"]] {
        let refused = Project::none().run(command).await;
        assert!(refused.code == 1 && refused.err.contains(". is no project: neither"), "{command:?}: {}", refused.err);
        assert!(refused.err.contains("fanfare init"), "{command:?}: {}", refused.err);
    }
    let unknown = Project::with(&[]).run(&["check", "nope"]).await;
    assert!(unknown.code == 1 && unknown.out.starts_with("there is no module nope in "), "{}", unknown.out);
}

#[tokio::test]
async fn components_without_a_module_are_named_with_a_manifest_to_paste() {
    let project = Project::with(&["echo"])
        .file("modules/loose.wasm", "")
        .file("modules/bare/bare.wasm", "")
        .file("modules/typo/module.json", "{ \"component\": \"typos.wasm\" }")
        .file("modules/typo/typo.wasm", "");
    let bare = "is not loaded, because it has no module.json: write to modules/bare/module.json: \
                { \"component\": \"bare.wasm\", \"routes\": [] }";
    let loose = "is not loaded, because a module is a folder with a module.json: move the file into modules/loose, \
                 and write to modules/loose/module.json: { \"component\": \"loose.wasm\", \"routes\": [] }";
    let typo = "the component modules/typo/typos.wasm does not exist: did you mean modules/typo/typo.wasm?";
    let checked = project.run(&["check"]).await;
    assert_eq!(checked.code, 1);
    for words in [bare, loose, typo] {
        assert!(checked.out.contains(words), "{words} in:\n{}", checked.out);
    }
    assert!(checked.out.ends_with("2 modules checked, 3 faults\n"), "{}", checked.out);

    let serving = project.serve(&[]).await;
    eventually("the log names all", || async {
        [bare, loose, typo].iter().all(|words| serving.log().contains(&words.replace('"', "\\\"")))
    })
    .await;
    let status = project.run(&["status", "--admin", &serving.admin()]).await;
    for words in [bare, loose, typo] {
        assert!(status.out.contains(words), "{words} in:\n{}", status.out);
    }
    let json: Value = serving.operator("GET", "/v1/status").await.json();
    assert_eq!(json["notes"].as_array().unwrap().len(), 1, "{json}");

    fs::remove_file(project.path().join("modules/loose.wasm")).unwrap();
    fs::remove_file(project.path().join("modules/bare/bare.wasm")).unwrap();
    assert_eq!(project.run(&["reload", "echo", "--admin", &serving.admin()]).await.code, 0);
    project.run(&["reload", "--admin", &serving.admin()]).await;
    let json: Value = serving.operator("GET", "/v1/status").await.json();
    assert_eq!(json["notes"], json!([]), "after they were removed");
    let (_, printed) = serving.stop().await;
    for words in [bare, loose, typo] {
        assert!(printed.contains(words), "{words} in:\n{printed}");
    }
}

#[tokio::test]
async fn a_component_without_a_manifest_that_appears_later_is_named_too() {
    let project = Project::with(&["echo"]).config(json!({ "swap": { "watch": true, "poll": "100ms" } }));
    let serving = project.serve(&[]).await;
    let project = project.file("modules/late.wasm", "");
    let notes = async || serving.operator("GET", "/v1/status").await.json()["notes"].to_string();
    eventually("the status names it", || async { notes().await.contains("modules/late.wasm is not loaded") }).await;
    fs::remove_file(project.path().join("modules/late.wasm")).unwrap();
    eventually("the note is gone", || async { notes().await == "[]" }).await;
}

#[tokio::test]
async fn check_names_each_fault_once_at_its_place_and_none_that_follows_from_another() {
    let asks = json!({ "component": "echo.wasm", "capabilities": { "env": ["HOME"] }, "routes": [
        { "path": "go", "handler": "ehco" },
    ] });
    let project = Project::with(&["echo"]).file("modules/echo/module.json", format!("{asks:#}"));
    let granted = |grants: &str| json!({ "modules": { "echo": { grants: { "env": ["HOME"] } } } });
    let project = project.config(granted("grants"));
    let checked = project.run(&["check"]).await.out;
    let faults: Vec<&str> = checked.lines().collect();
    assert!(faults.len() == 2 && faults[1] == "1 module checked, 1 fault", "{checked}");
    let at = line_of(&project, "\"handler\"");
    let begins = format!("modules/echo/module.json:{at}:");
    assert!(faults[0].starts_with(&begins) && faults[0].matches("module.json").count() == 1, "{checked}");
    assert!(faults[0].contains("routes[0].handler: must be a handler of the component"), "{checked}");

    let project = Project::with(&["echo"]).config(granted("grant"));
    let checked = project.run(&["check"]).await.out;
    assert!(checked.contains("unknown key") && checked.ends_with("1 module checked, 1 fault\n"), "{checked}");
}

/// The number of the first line of the manifest that contains `text`.
fn line_of(project: &Project, text: &str) -> usize {
    project.read("modules/echo/module.json").lines().position(|line| line.contains(text)).unwrap() + 1
}
