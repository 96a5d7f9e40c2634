//! Tests of `fanfare check`.

use tempfile::TempDir;

use super::*;

/// A project in a temporary folder.
struct Project(TempDir);

impl Project {
    fn new(files: &[(&str, &str)]) -> Project {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = root.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        Project(root)
    }

    /// A project whose modules all have the component `a.wasm`.
    fn built(files: &[(&str, &str)]) -> Project {
        let project = Project::new(files);
        for (file, _) in files.iter().filter(|(file, _)| file.ends_with("/module.json")) {
            std::fs::write(project.0.path().join(file).with_file_name("a.wasm"), "").unwrap();
        }
        project
    }

    fn check(&self, below: &str, check_component: ComponentCheck<'_>) -> Report {
        let args = CheckArgs { dir: Some(self.0.path().join(below)), ..CheckArgs::default() };
        check(&args, check_component)
    }
}

fn none(_: &Manifest, _: &Config) -> Vec<Fault> {
    Vec::new()
}

fn keys(report: &Report) -> Vec<&str> {
    report.faults.iter().map(|fault| fault.key.as_str()).collect()
}

const ASKS: &str = r#"{"component": "a.wasm", "capabilities": {"rpc": ["b"]}, "limits": {"memory": "1GiB"}}"#;

#[test]
fn check_reports_every_fault_of_every_file() {
    let project = Project::built(&[
        ("fanfare.json", r#"{"workers": 0, "modules": {"asks": {"grants": {"rpc": ["b"]}}, "good": {}, "goood": {}}}"#),
        ("modules/asks/module.json", ASKS),
        ("modules/bad/module.json", r#"{"routes": 1}"#),
        ("modules/good/module.json", r#"{"component": "a.wasm"}"#),
    ]);
    let report = project.check("", &none);
    assert_eq!(keys(&report), ["workers", "limits.memory", "component", "routes"]);
    assert_eq!(
        report.modules,
        [("asks".into(), State::Refused), ("bad".into(), State::Refused), ("good".into(), State::Ready)]
    );
    assert!(
        report.warnings[0].to_string().contains("modules.goood: there is no such module in")
            && report.warnings[0].message.contains("did you mean \"good\"?")
    );
    assert!(report.as_text().ends_with("3 modules checked, 4 faults\n"), "{}", report.as_text());
    let json: serde_json::Value = serde_json::from_str(&report.as_json()).unwrap();
    assert_eq!((&json["faults"][0]["key"], &json["faults"][0]["line"]), (&json!("workers"), &json!(1)));
}

#[test]
fn grants_and_limits_are_checked_only_if_the_settings_for_modules_are_valid() {
    let files = |modules: &'static str| [("fanfare.json", modules), ("modules/asks/module.json", ASKS)];
    assert_eq!(keys(&Project::built(&files("{}")).check("", &none)), ["capabilities.rpc[0]", "limits.memory"]);
    assert_eq!(
        keys(&Project::built(&files(r#"{"modules": {"asks": {"grants": 1}}}"#)).check("", &none)),
        ["modules.asks.grants"]
    );
}

#[test]
fn a_module_is_checked_with_the_settings_of_its_project() {
    let project = Project::new(&[
        ("fanfare.json", r#"{"modules": {"asks": {"grants": {"rpc": ["b"]}, "limits": {"memory": "1MiB"}}}}"#),
        ("modules/asks/module.json", ASKS),
        ("modules/bad/module.json", "{"),
    ]);
    let report = project.check("modules/asks", &none);
    assert_eq!(keys(&report), ["component"], "{:?}", report.faults);
    assert_eq!(report.modules, [("asks".into(), State::Waiting)]);
    let fault = report.faults[0].to_string();
    assert!(fault.contains("modules/asks/module.json:1:15: component: the component "), "{fault}");
    assert!(
        fault.ends_with("/asks/a.wasm does not exist: put the file there, or set `component` to the file"),
        "{fault}"
    );
}

#[test]
fn a_connection_that_the_settings_lack_is_a_fault_at_the_subscription() {
    let manifest = r#"{
      "component": "a.wasm",
      "routes": [{ "path": "on", "handler": "on" }],
      "subscriptions": {
        "a": { "redis": "news", "path": "on" },
        "b": { "redis": "news", "connection": "cashe", "path": "on" },
        "c": { "event": "a/x", "path": "on" },
        "d": { "redis": "news", "path": "on", "env": ["production"] }
      }
    }"#;
    let check = |redis: &str| {
        let grants = r#""modules": {"a": {"grants": {"subscribe": ["redis:*", "redis.cashe:*"]}}}"#;
        let settings = format!("{{{redis}{grants}}}");
        let files =
            [("fanfare.json", settings.as_str()), ("modules/a/module.json", manifest), ("modules/a/a.wasm", "")];
        Project::new(&files).check("", &none)
    };
    let report = check(r#""redis": {"cache": {"url": "redis://127.0.0.1"}}, "#);
    let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    assert_eq!(keys(&report), ["subscriptions.a.connection", "subscriptions.b.connection"], "{faults:?}");
    assert!(
        faults[1].contains("modules/a/module.json:6:")
            && faults[1].ends_with(
                "needs the connection `cashe`, which `redis` in fanfare.json does not have: add it there, or name another connection; did you mean \"cache\"?"
            ),
        "{faults:?}"
    );
    assert_eq!(report.modules, [("a".into(), State::Refused)]);
    let url = r#"{"url": "redis://127.0.0.1"}"#;
    let report = check(&format!(r#""redis": {{"default": {url}, "cashe": {url}}}, "#));
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let report = check(r#""redis": {"default": {"url": 1}}, "#);
    assert!(keys(&report).iter().all(|key| key.starts_with("redis")), "{:?}", report.faults);
}

#[test]
fn a_listener_whose_module_does_not_exist_is_a_warning() {
    let check = |module: &str| {
        let settings = format!(
            "{{\"websocket\": {{\"listeners\": [\n{{\"path\": \"/v1/\", \"module\": \"lobby\"}},\n\
             {{\"path\": \"/v2/\", \"module\": \"{module}\"}}]}}}}"
        );
        let files = [("fanfare.json", settings.as_str()), ("modules/lobby/module.json", r#"{"component": "a.wasm"}"#)];
        Project::built(&files).check("", &none)
    };
    let report = check("loby");
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let warnings: Vec<String> = report.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("fanfare.json:3:")
            && warnings[0].contains(": websocket.listeners[1].module: there is no such module in ")
            && warnings[0].ends_with("add the module, or name another one; did you mean \"lobby\"?"),
        "{warnings:?}"
    );
    assert!(check("lobby").warnings.is_empty());
}

/// The warnings about `cluster.routers`, whose entry for the type `chat` is on line 2. The entries
/// of the types `gate` and `chat` are on the lines 4 and 5.
fn router_warnings(router: &str, gate: &str, chat: &str) -> Vec<String> {
    let settings = format!(
        "{{\"cluster\": {{ \"routers\": {{\n\"chat\": {router}\n}}, \"servers\": {{\n\
         \"gate\": {{ {gate} \"servers\": [{{ \"id\": \"gate-\", \"port\": [4001, 4002], \"frontend\": true, \"clientPort\": 8080 }}] }},\n\
         \"chat\": {{ {chat} \"servers\": [{{ \"id\": \"chat-1\", \"port\": 4003 }}] }} }} }} }}"
    );
    let gate = r#"{"component": "a.wasm", "routes": [{"path": "pick", "handler": "pick", "middlewares": "inner"},
        {"path": "say", "handler": "say", "middlewares": "session"}]}"#;
    let chat = r#"{"component": "a.wasm"}"#;
    let files =
        [("fanfare.json", settings.as_str()), ("modules/gate/module.json", gate), ("modules/chat/module.json", chat)];
    let report = Project::built(&files).check("", &none);
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    report.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_route_function_that_is_on_no_frontend_is_a_warning() {
    let (pick, chat) = (r#"{ "module": "gate", "path": "pick" }"#, r#""modules": "chat","#);
    let warnings = router_warnings(pick, r#""modules": [],"#, chat);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("fanfare.json:2:")
            && warnings[0]
                .contains(": cluster.routers.chat.module: \"gate-0\" and \"gate-1\" do not serve this module (")
            && warnings[0].contains("fanfare.json:4:"),
        "{warnings:?}"
    );
    for gate in [r#""modules": "gate","#, ""] {
        assert_eq!(router_warnings(pick, gate, chat), Vec::<String>::new(), "{gate}");
    }
    let own = router_warnings(pick, r#""modules": "chat","#, chat);
    assert_eq!(own, Vec::<String>::new(), "the frontends forward nothing to this type");
    assert_eq!(router_warnings(pick, r#""modules": "chat","#, "").len(), 1, "it may have further modules");
}

#[test]
fn a_router_without_a_route_or_without_modules_behind_it_is_a_warning() {
    let (gate, chat) = (r#""modules": "gate","#, r#""modules": "chat","#);
    for (path, why) in [("pikc", "gate has no such route; did you mean \"pick\"?"), ("say", "it is `session`")] {
        let warnings = router_warnings(&format!(r#"{{ "module": "gate", "path": "{path}" }}"#), gate, chat);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].contains("fanfare.json:2:")
                && warnings[0].contains(": cluster.routers.chat.path: ")
                && warnings[0].contains(why)
                && warnings[0].contains("gate/module.json:1:"),
            "{warnings:?}"
        );
    }
    let warnings = router_warnings(r#"{ "session": "chatServer" }"#, gate, r#""modules": [],"#);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("fanfare.json:2:") && warnings[0].contains("the servers of this type serve no modules"),
        "{warnings:?}"
    );
    assert_eq!(router_warnings(r#"{ "session": "chatServer" }"#, gate, chat), Vec::<String>::new());
}

#[test]
fn a_key_of_tokens_that_cannot_be_read_is_a_fault_of_the_project() {
    let settings = |auth: &str| format!("{{\"websocket\": {{\"auth\": {{\n{auth}}}}}}}");
    let check = |settings: &str, below: &str| {
        let module = r#"{"component": "a.wasm"}"#;
        let secret = "k".repeat(32);
        let files = [("fanfare.json", settings), ("modules/a/module.json", module), ("secret.txt", &secret)];
        Project::built(&files).check(below, &none)
    };
    let missing = settings(
        r#""keyFile": "none.txt", "verifyKeys": [
        { "file": "secret.txt" },
        { "variable": "FANFARE_TEST_NO_SUCH_VARIABLE" },
        { "file": "none.pem", "algorithm": "EdDSA" }]"#,
    );
    let report = check(&missing, "");
    let places = ["keyFile", "verifyKeys[1].variable", "verifyKeys[2].file"].map(|key| format!("websocket.auth.{key}"));
    assert_eq!(keys(&report), places, "{:?}", report.faults);
    let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    for (fault, line) in faults.iter().zip([2, 4, 5]) {
        assert!(fault.contains(&format!("fanfare.json:{line}:")), "{fault}");
    }
    assert!(
        faults[0].contains("none.txt cannot be read") && faults[0].contains("`openssl rand -hex 32 > "),
        "{faults:?}"
    );
    assert!(check(&missing, "modules/a").faults.is_empty(), "a module alone needs no keys");

    let report = check(&settings(r#""keyFile": "secret.txt", "algorithm": "RS256""#), "");
    assert_eq!(keys(&report), ["websocket.auth.keyFile"]);
    assert!(report.faults[0].message.contains("has no private key in PEM"), "{:?}", report.faults);
    let report = check(&settings(r#""keyFile": "secret.txt", "keyVariable": "B""#), "");
    assert_eq!(keys(&report), ["websocket.auth.keyVariable"]);
    let report = check(&settings(r#""keyFile": "secret.txt""#), "");
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

#[test]
fn the_component_check_runs_for_ready_modules() {
    let project = Project::new(&[
        ("modules/a/module.json", r#"{"component": "a.wasm"}"#),
        ("modules/a/a.wasm", ""),
        ("modules/b/module.json", r#"{"component": "a.wasm"}"#),
    ]);
    let report =
        project.check("", &|manifest, _| vec![Fault::new(&manifest.source.origin, "component", "exports nothing")]);
    assert_eq!(keys(&report), ["component", "component"]);
    assert_eq!(report.faults[0].message, "exports nothing");
    assert_eq!(report.modules, [("a".into(), State::Refused), ("b".into(), State::Waiting)]);
}

#[test]
fn all_faults_of_a_module_are_reported_at_once() {
    let project = Project::new(&[
        (
            "modules/a/module.json",
            r#"{
                "component": "a.wasm", "streems": {}, "capabilities": { "rpc": ["gone", "b"] },
                "routes": [
                    { "path": "one", "handlr": "one" },
                    { "path": "two", "handler": "two", "middlewares": ["gone/gate"] },
                    { "path": "three", "handler": "three", "middlewares": ["b/gate"] }
                ]
            }"#,
        ),
        ("modules/a/a.wasm", ""),
        ("modules/b/module.json", r#"{ "component": "b.wasm", "routs": [] }"#),
    ]);
    let report = project.check("", &|manifest, config| {
        assert_eq!(manifest.name, "a", "the component of b does not exist");
        assert_eq!(config.module("a").grants, manifest.capabilities, "the component is checked as if it had grants");
        assert_eq!(manifest.routes.iter().map(|route| &*route.handler).collect::<Vec<_>>(), ["", "two", "three"]);
        let fault = |key: &str| Fault::new(&manifest.source.nearest(&KeyPath::of(&["routes"])).origin, key, "wrong");
        // The second could be a consequence of the other faults.
        vec![fault("routes[1].handler"), fault("component")]
    });
    let expected = ["streems", "capabilities.rpc[0]", "capabilities.rpc[1]", "routes[1].handler", "routes[0].handlr"];
    let chained = ["routes[1].middlewares", "routes[2].middlewares"];
    let found = keys(&report);
    for key in expected.into_iter().chain(chained).chain(["routes[0].handler", "component", "routs"]) {
        assert_eq!(found.iter().filter(|found| **found == key).count(), 1, "{key} in {found:?}");
    }
    assert_eq!(found.len(), 10, "{:?}", report.faults);
    for (key, why) in chained.into_iter().zip(["there is no module gone", "b is refused: correct its own faults first"])
    {
        assert!(
            report.faults.iter().any(|fault| fault.key == key && fault.message.ends_with(why)),
            "{:?}",
            report.faults
        );
    }
    assert_eq!(report.modules, [("a".into(), State::Refused), ("b".into(), State::Refused)]);
}

#[test]
fn a_missing_folder_is_a_fault_only_if_it_was_named() {
    assert!(Project::new(&[("fanfare.json", "{}")]).check("", &none).faults.is_empty());
    let nothing = Project::new(&[("x", "")]).check("", &none).faults;
    assert!(nothing[0].to_string().contains(" is no project: neither this folder"), "{nothing:?}");
    let report = Project::new(&[("fanfare.json", r#"{"modulesDir": "mods"}"#)]).check("", &none);
    assert!(report.faults[0].to_string().contains("fanfare.json:1:16: modulesDir: cannot read the folder"));
    assert!(Project::new(&[]).check("none", &none).faults[0].to_string().contains("neither a folder nor"));
}

#[test]
fn components_without_a_manifest_are_faults_of_the_project() {
    let project = Project::new(&[("fanfare.json", "{}"), ("modules/loose.wasm", ""), ("modules/bare/x.wasm", "")]);
    let faults: Vec<String> = project.check("", &none).faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults.len(), 2, "{faults:?}");
    let bare = "modules/bare:1:1: is not loaded, because it has no module.json: write to ";
    assert!(faults[0].contains(bare) && faults[0].contains(r#"{ "component": "x.wasm", "routes": [] }"#), "{faults:?}");
    let loose = "modules/loose.wasm:1:1: is not loaded, because a module is a folder with a module.json: move ";
    assert!(faults[1].contains(loose), "{faults:?}");
}

#[test]
fn a_timeout_without_a_unit_is_a_warning() {
    let check = |timeout: &str| {
        let manifest = format!(r#"{{"component": "a.wasm", "limits": {{"timeout": {timeout}}}}}"#);
        Project::built(&[("fanfare.json", "{}"), ("modules/a/module.json", &manifest)]).check("", &none)
    };
    let report = check("5");
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    let warning = "modules/a/module.json:1:47: limits.timeout: 5 means 5 ms: write \"5ms\", or \"5s\" for 5 seconds";
    assert!(report.as_text().contains(warning), "{}", report.as_text());
    for clear in ["\"5ms\"", "\"5s\"", "1000"] {
        assert!(check(clear).warnings.is_empty(), "{clear}");
    }
}

#[test]
fn one_module_of_a_project_is_checked_with_the_routes_of_the_others() {
    let shop = r#"{
        "component": "a.wasm", "capabilities": {"rpc": ["gates"]},
        "routes": [{ "path": "buy", "handler": "buy", "middlewares": ["gates/gate"] }]
    }"#;
    let gates = |path: &str| {
        format!(
            r#"{{ "component": "a.wasm", "routes": [{{ "path": "{path}", "handler": "h", "middlewares": "inner" }}] }}"#
        )
    };
    let project = |gates: &str| {
        let grants = r#"{ "modules": { "shop": { "grants": { "rpc": ["gates"] } } } }"#;
        let files =
            [("fanfare.json", grants), ("modules/shop/module.json", shop), ("modules/gates/module.json", gates)];
        Project::built(&files)
    };
    for whole in ["", "modules/shop"] {
        assert_eq!(keys(&project(&gates("gate")).check(whole, &none)), [""; 0], "{whole}");
        let report = project(&gates("other")).check(whole, &none);
        assert_eq!(keys(&report), ["routes[0].middlewares"], "{whole}");
        assert_eq!(report.modules.last().unwrap().1, State::Refused);
    }
}

#[test]
fn a_call_of_a_refused_module_is_told_from_one_of_a_missing_module() {
    let calls =
        r#"{ "component": "a.wasm", "calls": { "gone/a": {}, "shop/a": {} }, "capabilities": { "rpc": ["*"] } }"#;
    let project = Project::built(&[
        ("fanfare.json", r#"{ "modules": { "cart": { "grants": { "rpc": ["*"] } } } }"#),
        ("modules/cart/module.json", calls),
        ("modules/shop/module.json", r#"{ "component": "a.wasm", "routs": [] }"#),
    ]);
    let args = CheckArgs { dir: Some(project.0.path().to_owned()), callers: true, ..CheckArgs::default() };
    let report = check(&args, &none);
    let faults: Vec<_> = report.faults.iter().filter(|fault| fault.key.starts_with("calls")).collect();
    let messages: Vec<_> = faults.iter().map(|fault| (fault.key.as_str(), fault.message.as_str())).collect();
    let refused = "shop is refused: correct its own faults first";
    assert_eq!(messages, [("calls.gone/a", "there is no module gone"), ("calls.shop/a", refused)]);
}

#[test]
fn a_call_of_the_own_module_needs_no_capability() {
    let own = r#"{ "component": "a.wasm", "calls": { "/a": {}, "broadcast /b": {}, "broadcast cart/c": {} },
        "routes": [{ "path": "a", "handler": "a", "middlewares": "inner" }], "broadcasts": { "b": { "path": "a" } } }"#;
    let project = Project::built(&[("fanfare.json", "{}"), ("modules/cart/module.json", own)]);
    let args = CheckArgs { dir: Some(project.0.path().to_owned()), callers: true, ..CheckArgs::default() };
    let report = check(&args, &none);
    let why = "cart has no such broadcast; did you mean \"b\"? (its broadcasts: ";
    assert_eq!(keys(&report), ["calls[\"broadcast cart/c\"]"], "{:?}", report.faults);
    assert!(report.faults[0].message.starts_with(why), "{:?}", report.faults);
}
