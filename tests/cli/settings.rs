//! `check`, `config`, `schema` and `grant`, which need no running host.

use serde_json::{Value, json};

use super::Project;
use super::project::CommandOutput;

#[tokio::test]
async fn check_prints_all_faults_at_once() {
    let project = Project::with(&["echo"])
        .file("fanfare.json", "{\n  \"wokers\": 2,\n  \"http\": { \"listen\": \"nowhere\" }\n}\n")
        .file("modules/one/module.json", "{\n  \"component\": \"one.wasm\",\n  \"rotues\": []\n}\n")
        .file(
            "modules/two/module.json",
            "{\n  \"component\": \"two.wasm\",\n  \"limits\": { \"memory\": \"1TiB\" }\n}\n",
        )
        .file("modules/two/two.wasm", "");
    let ran = project.run(&["check"]).await;
    assert_eq!(ran.code, 1);
    for words in [
        ["fanfare.json:2", "wokers", "workers"],
        ["fanfare.json:3", "http.listen", "nowhere"],
        ["modules/one/module.json:3", "rotues", "routes"],
        ["modules/one/module.json:2", "component", "modules/one/one.wasm does not exist"],
        ["modules/two/module.json:3", "limits.memory", "1TiB"],
    ] {
        let line = |line: &&str| words.iter().all(|word| line.contains(word));
        assert!(ran.out.lines().any(|text| line(&text)), "{words:?} in one line of:\n{}", ran.out);
    }
    let json = project.run(&["check", "--json"]).await;
    assert_eq!(json.code, 1);
    assert_eq!(json.json()["faults"].as_array().unwrap().len(), 5, "{}", json.out);
}

#[tokio::test]
async fn check_accepts_a_valid_project() {
    let project = Project::with(&["echo", "flags"]);
    let ran = project.run(&["check"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "2 modules checked, no faults\n"));
    let elsewhere = Project::with(&[]).run(&["check", project.path().to_str().unwrap()]).await;
    assert_eq!((elsewhere.code, elsewhere.out.as_str()), (0, "2 modules checked, no faults\n"));
}

#[tokio::test]
async fn config_prints_the_origin_of_each_value() {
    let project = Project::with(&[]).file(
        "fanfare.json",
        "{\n  \"workers\": 2,\n  \"environments\": { \"test\": { \"http\": { \"maxBody\": \"1MiB\" } } }\n}\n",
    );
    let args = ["config", "--env=test", "--admin=127.0.0.1:9"];
    let mut command = project.command(&args);
    command.env("FANFARE_HTTP_LISTEN", "127.0.0.1:7");
    let ran = CommandOutput::of(command).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    for words in [
        ["workers = 2", "fanfare.json:2"],
        ["http.listen = \"127.0.0.1:7\"", "FANFARE_HTTP_LISTEN"],
        ["admin.listen = \"127.0.0.1:9\"", "--admin"],
        ["http.maxBody = \"1MiB\"", "environments.test"],
        ["calls.maxDepth = 16", "default"],
    ] {
        let found = ran.out.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "{words:?} in one line of:\n{}", ran.out);
    }
    let mut command = project.command(&args);
    command.env("FANFARE_JSON", "true").env("FANFARE_HTTP_LISTEN", "127.0.0.1:7");
    let json = CommandOutput::of(command).await.json();
    let listen = json["values"].as_array().unwrap().iter().find(|value| value["key"] == "http.listen").unwrap();
    assert_eq!(listen["value"], "127.0.0.1:7");
    assert!(listen["origin"].to_string().contains("FANFARE_HTTP_LISTEN"), "{listen}");
}

#[tokio::test]
async fn config_prints_only_the_faults_of_an_invalid_file() {
    let project = Project::with(&[]).config(json!({ "workers": 0 }));
    let ran = project.run(&["config"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("workers"), "{}", ran.err);
}

#[tokio::test]
async fn schema_prints_json_schemas() {
    let project = Project::with(&[]);
    for (which, key) in [("module", "component"), ("config", "modulesDir")] {
        let schema = project.run(&["schema", which]).await.json();
        assert!(schema["properties"][key].is_object(), "{which}");
    }
    assert_eq!(project.run(&["schema", "nothing"]).await.code, 2);
}

#[tokio::test]
async fn a_module_loads_after_grant_has_written_its_capabilities() {
    let project = Project::with(&["waits", "echo"]);
    let check = project.run(&["check"]).await;
    assert_eq!(check.code, 1);
    assert!(check.out.contains("fanfare grant waits"), "check prints the command that grants: {}", check.out);

    let unknown = project.run(&["grant", "wait"]).await;
    assert!(unknown.code == 1 && unknown.err.contains("there is no module wait in "), "{}", unknown.err);
    assert!(unknown.err.contains("did you mean \"waits\"?"), "{}", unknown.err);
    let before = project.read("fanfare.json");
    let asked = project.run(&["grant", "waits"]).await;
    assert_eq!(asked.code, 1, "without a terminal, only --yes confirms");
    assert!(asked.out.contains("rpc: echo") && asked.err.contains("--yes"), "{} {}", asked.out, asked.err);
    assert_eq!(project.read("fanfare.json"), before);

    let granted = project.run(&["grant", "waits", "--yes"]).await;
    assert_eq!(granted.code, 0, "{}", granted.err);
    let written: Value = serde_json::from_str(&project.read("fanfare.json")).unwrap();
    assert_eq!(written["modules"]["waits"]["grants"]["broadcast"], json!(["counts"]));
    assert_eq!(project.run(&["check"]).await.code, 0);
    let serving = project.serve(&["--strict"]).await;
    assert_eq!(serving.get("/api/waits/ok").await.status, 200);
}

#[tokio::test]
async fn grant_prints_json() {
    let project = Project::with(&["waits", "echo"]);
    let asked = project.run(&["grant", "waits", "--json"]).await;
    assert_eq!(asked.code, 1);
    let (json, before) = (asked.json(), project.read("fanfare.json"));
    assert_eq!((&json["module"], &json["written"]), (&json!("waits"), &json!(false)), "{json}");
    assert_eq!((&json["granted"]["rpc"], &json["missing"]["broadcast"]), (&json!([]), &json!(["counts"])), "{json}");
    assert_eq!(json["asked"]["broadcast"], json["missing"]["broadcast"]);

    let written = project.run(&["grant", "waits", "--json", "--yes"]).await;
    assert_eq!(written.code, 0, "{}", written.err);
    assert_eq!((&written.json()["written"], &written.json()["missing"]), (&json!(true), &json["missing"]));
    assert_ne!(project.read("fanfare.json"), before);
    let again = project.run(&["grant", "waits", "--json"]).await;
    assert_eq!((again.code, &again.json()["written"]), (0, &json!(false)));
    assert_eq!(again.json()["granted"], json["missing"]);
}

#[tokio::test]
async fn grant_fails_while_a_secret_is_missing() {
    let project = Project::with(&["outside"]);
    let mut manifest: Value = serde_json::from_str(&project.read("modules/outside/module.json")).unwrap();
    manifest["capabilities"] = json!({ "secrets": ["hmac"] });
    let project = project.file("modules/outside/module.json", manifest.to_string());
    let granted = project.run(&["grant", "outside", "--yes"]).await;
    assert!(granted.code == 1 && granted.out.contains("\nstill missing: "), "{}{}", granted.out, granted.err);
    let again = project.run(&["grant", "outside", "--json"]).await;
    assert_eq!((again.code, again.json()["stillMissing"].as_array().unwrap().len()), (1, 1), "nothing to grant");
    let mut settings: Value = serde_json::from_str(&project.read("fanfare.json")).unwrap();
    settings["modules"]["outside"]["secrets"] = json!({ "hmac": { "file": "secrets/hmac.txt" } });
    let project = project.file("secrets/hmac.txt", "sure").file("fanfare.json", settings.to_string());
    let complete = project.run(&["grant", "outside"]).await;
    assert_eq!(complete.code, 0, "{}{}", complete.out, complete.err);
}

#[tokio::test]
async fn an_invalid_command_line_exits_with_2() {
    let project = Project::with(&[]);
    for args in [&["serve", "--wokers=2"][..], &["sevre"], &["emit"], &["call", "-X", "FETCH", "echo", "who"], &[]] {
        let ran = project.run(args).await;
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}");
        assert!(!ran.err.is_empty());
    }
    let version = project.run(&["--version"]).await;
    assert_eq!((version.code, version.out), (0, format!("fanfare {}\n", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn grants_of_stream_keys_are_asked_for_by_capabilities_and_streams() {
    let project = Project::with(&["echo"]);
    let mut manifest: Value = serde_json::from_str(&project.read("modules/echo/module.json")).unwrap();
    manifest["capabilities"] = json!({ "sse": ["echo/*", "orders/*"] });
    manifest["streams"] = json!({ "news": { "path": "echo" } });
    manifest["channels"] = json!({ "rooms/*": {} });
    let project = project.file("modules/echo/module.json", manifest.to_string());
    let check = project.run(&["check"]).await;
    assert_eq!(check.code, 1);
    for fault in [
        "capabilities.sse[1]: asks to publish to streams of orders/*, which is not granted: run `fanfare grant echo`",
        "streams.news: asks to publish to streams of news, which is not granted: run `fanfare grant echo`",
        "channels.rooms/*: asks to use the channels rooms/*, which is not granted: run `fanfare grant echo`",
    ] {
        assert!(check.out.contains(fault), "{}", check.out);
    }
    let granted = project.run(&["grant", "echo", "--yes"]).await;
    assert!(granted.out.contains("echo asks for sse: news, sse: orders/*, channels: rooms/*\n"), "{}", granted.out);
    assert_eq!(granted.code, 0, "{}", granted.err);
    let settings: Value = serde_json::from_str(&project.read("fanfare.json")).unwrap();
    assert_eq!(settings["modules"]["echo"]["grants"]["sse"], json!(["news", "orders/*"]));
    assert_eq!(settings["modules"]["echo"]["grants"]["channels"], json!(["rooms/*"]));
    assert_eq!(project.run(&["check"]).await.code, 0);
}

#[tokio::test]
async fn check_names_both_modules_that_declare_a_pattern() {
    let all = json!({ "grants": { "sse": ["*"], "channels": ["*"] } });
    let grants = json!({ "modules": { "echo": all, "flags": all } });
    let mut project = Project::with(&["echo", "flags"]).file("fanfare.json", grants.to_string());
    for module in ["echo", "flags"] {
        let file = format!("modules/{module}/module.json");
        let mut manifest: Value = serde_json::from_str(&project.read(&file)).unwrap();
        manifest["streams"] = json!({ "news/*": {} });
        manifest["channels"] = json!({ "rooms/*": {} });
        project = project.file(&file, manifest.to_string());
    }
    let check = project.run(&["check"]).await;
    assert_eq!(check.code, 1);
    for taken in ["streams.news/*", "channels.rooms/*"] {
        let taken = format!("{taken}: the module echo declares this pattern already");
        assert!(check.out.contains(&taken) && check.out.contains("modules/flags/module.json:1:"), "{}", check.out);
    }
}

#[tokio::test]
async fn check_reports_a_channel_whose_route_has_no_broker() {
    let project = Project::with(&["echo"]).config(json!({ "brokers": 0 }));
    let mut manifest: Value = serde_json::from_str(&project.read("modules/echo/module.json")).unwrap();
    manifest["channels"] = json!({ "echo/*": { "path": "echo" } });
    let project = project.file("modules/echo/module.json", manifest.to_string());
    let check = project.run(&["check"]).await;
    let fault = "channels.echo/*.path: needs a broker to run the route in, but `brokers` is 0 (";
    assert!(check.code == 1 && check.out.contains(fault), "{}", check.out);
}
