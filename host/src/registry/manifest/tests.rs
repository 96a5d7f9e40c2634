use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::model::Startup;
use super::*;
use crate::config::{Config, Limits, unsupported};
use crate::registry::segment::Segment;

const DIR: &str = "/modules/test-party";

/// A manifest with these further members.
fn with(members: &str) -> String {
    format!("{{\"component\": \"a.wasm\", {members}}}")
}

fn load(text: &str) -> Result<Manifest, ManifestError> {
    Manifest::from_text(Path::new(DIR), text)
}

fn faults(text: &str) -> Vec<String> {
    load(text).err().map(|error| error.faults.list().iter().map(ToString::to_string).collect()).unwrap_or_default()
}

/// The one fault, without its place.
fn fault(members: &str) -> String {
    let list = faults(&with(members));
    assert_eq!(list.len(), 1, "{members}: {list:?}");
    list[0].splitn(4, ':').nth(3).unwrap().trim().to_owned()
}

/// A manifest with these routes, each `METHOD path`, and further members.
fn routed(routes: &[&str], members: &str) -> String {
    let route = |text: &&str| {
        let (method, path) = text.split_once(' ').unwrap();
        json!({ "method": method, "path": path, "handler": "h" }).to_string()
    };
    let routes: Vec<String> = routes.iter().map(route).collect();
    with(&format!("\"routes\": [{}], {members}", routes.join(", ")))
}

/// Which of the routes a broadcast's `path` means.
fn meant(routes: &[&str], path: &str) -> Result<usize, String> {
    let text = routed(routes, &format!("\"broadcasts\": {{\"b\": {{\"path\": \"{path}\"}}}}"));
    load(&text).map(|manifest| manifest.broadcasts["b"]).map_err(|error| error.to_string())
}

#[test]
fn the_file_of_the_design_is_read() {
    let text = r#"{
      "$schema": "../../schema/module.schema.json",
      "component": "test_party.wasm",                       // may point into target/
      "routes": [
        { "method": "post", "path": "test/feat/broadcast", "handler": "broadcast", "middlewares": "inner" },
        { "path": "test/feat/emit", "handler": "emit" },
        { "method": "GET", "path": "{name}/a%20b", "handler": "get", "middlewares": ["inner", "test"] },
        { "method": "GET", "path": "{name}/lead", "handler": "get" },
      ],
      "broadcasts":    { "broadcastTest": { "path": "test/feat/broadcast" } },
      "startups":      { "warm":  { "type": "all", "path": "test/feat/emit" }, "lead": { "type": "worker", "path": "GET {name}/lead" }, "x": { "path": "test/feat/emit" } },
      "build":         { "command": "cargo build --release --target wasm32-wasip2", "watch": ["src"] },
      "config":        { "greeting": "hello" },
      "capabilities":  { "broadcast": ["flags", "test-party"], "rpc": ["chat"], "reload": true },
      "limits":        { "memory": "64MiB", "timeout": "5s", "cpu": "500ms", "concurrency": 64 },
    }"#;
    let manifest = load(text).unwrap();
    assert_eq!(
        (manifest.name.as_str(), manifest.component.as_path()),
        ("test-party", Path::new("/modules/test-party/test_party.wasm"))
    );
    assert_eq!(manifest.routes[1].method, Method::POST);
    assert_eq!(manifest.routes[2].path, [Segment::Param("name".into()), Segment::Literal("a b".into())]);
    assert_eq!(manifest.routes[2].middlewares, [Middleware::Inner, Middleware::Test]);
    assert_eq!(manifest.broadcasts["broadcastTest"], 0);
    assert_eq!(manifest.startups["warm"], Startup { route: 1, everywhere: true });
    assert_eq!(manifest.startups["lead"], Startup { route: 3, everywhere: false });
    assert!(manifest.startups["x"].everywhere);
    assert_eq!(manifest.build.as_ref().unwrap().watch, [Path::new("src")]);
    assert_eq!(manifest.capabilities.broadcast.0, ["flags"], "its own name needs no grant");
    assert_eq!(manifest.isolation, Isolation::Resident);
    assert_eq!(&*manifest.digest_bytes, text.as_bytes());
    assert_eq!(Value::from(manifest.config), json!({"greeting": "hello"}));
}

#[test]
fn the_component_alone_is_enough() {
    let manifest = load("{\"component\": \"./target/x/a.wasm\"}").unwrap();
    assert_eq!(manifest.component, Path::new("/modules/test-party/target/x/a.wasm"));
    assert!(manifest.routes.is_empty() && !manifest.has_component());
    assert_eq!(faults("{}"), ["/modules/test-party/module.json:1:1: component: is required"]);
}

#[test]
fn the_component_is_a_file_inside_the_folder() {
    for (path, rule) in [
        ("/a.wasm", "must be relative to the module's folder, found \"/a.wasm\""),
        ("../a.wasm", "must stay inside"),
        ("a/../../test-party/a.wasm", "must stay inside"),
        ("", "must be a path"),
        (".", "must name a file"),
        ("a/..", "must name a file"),
    ] {
        let list = faults(&format!("{{\"component\": \"{path}\"}}"));
        assert!(list.len() == 1 && list[0].contains(": component: ") && list[0].contains(rule), "{path}: {list:?}");
    }
}

#[test]
fn the_folders_name_is_the_modules() {
    for (dir, good) in
        [("/m/a", true), ("/m/a-1", true), ("/m/A", false), ("/m/1a", false), ("/m/a_b", false), ("/", false)]
    {
        let loaded = Manifest::from_text(Path::new(dir), "{\"component\": \"a\"}");
        assert_eq!(loaded.is_ok(), good, "{dir}");
    }
    let (longest, longer) = (format!("/m/{}", "a".repeat(64)), format!("/m/{}", "a".repeat(65)));
    assert!(Manifest::from_text(Path::new(&longest), "{\"component\": \"a\"}").is_ok());
    let error = Manifest::from_text(Path::new(&longer), "{\"component\": \"a\"}").unwrap_err().to_string();
    assert!(error.contains("at most 64") && error.contains("rename the folder"), "{error}");
}

#[test]
fn what_is_not_served_yet_is_refused_by_name() {
    for key in unsupported::MODULE {
        assert_eq!(fault(&format!("\"{key}\": {{}}")), format!("{key}: not supported by this version yet"));
    }
    for key in unsupported::CAPABILITIES {
        assert_eq!(
            fault(&format!("\"capabilities\": {{\"{key}\": []}}")),
            format!("capabilities.{key}: not supported by this version yet")
        );
    }
    for name in unsupported::MIDDLEWARES {
        let fault =
            fault(&format!("\"routes\": [{{\"path\": \"a\", \"handler\": \"h\", \"middlewares\": [\"{name}\"]}}]"));
        assert_eq!(fault, format!("routes[0].middlewares[0]: \"{name}\": not supported by this version yet"));
    }
}

#[test]
fn unknown_keys_and_names_name_the_nearest() {
    assert_eq!(fault("\"route\": []"), "route: unknown key; did you mean \"routes\"?");
    let route = |members: &str| fault(&format!("\"routes\": [{{\"path\": \"a\", \"handler\": \"h\", {members}}}]"));
    assert_eq!(route("\"methods\": \"get\""), "routes[0].methods: unknown key; did you mean \"method\"?");
    assert_eq!(
        route("\"middlewares\": \"iner\""),
        "routes[0].middlewares: must be one of \"inner\" and \"test\", found \"iner\"; did you mean \"inner\"?"
    );
    assert_eq!(
        route("\"middlewares\": [\"iner\"]"),
        "routes[0].middlewares[0]: must be one of \"inner\" and \"test\", found \"iner\"; did you mean \"inner\"?"
    );
    assert_eq!(
        route("\"method\": \"head\""),
        "routes[0].method: must be one of \"get\", \"post\", \"put\", \"patch\" and \"delete\", found \"head\""
    );
    assert_eq!(fault("\"isolation\": \"new\""), "isolation: must be one of \"resident\" and \"fresh\", found \"new\"");
    assert_eq!(fault("\"limits\": {\"memroy\": 1}"), "limits.memroy: unknown key; did you mean \"memory\"?");
    assert!(
        fault("\"broadcasts\": {\"a b\": {\"path\": \"x\"}}, \"routes\": [{\"path\": \"x\", \"handler\": \"h\"}]")
            .contains("must be a name of 1 to 128")
    );
}

#[test]
fn values_of_another_kind_are_refused() {
    assert_eq!(fault("\"routes\": {}"), "routes: must be an array, found an object");
    assert_eq!(fault("\"routes\": [null]"), "routes[0]: must be an object, found null");
    assert_eq!(fault("\"routes\": [{\"path\": 1, \"handler\": \"h\"}]"), "routes[0].path: must be a string, found 1");
    assert_eq!(fault("\"routes\": [{\"path\": \"a\"}]"), "routes[0].handler: is required");
    assert_eq!(fault("\"capabilities\": {\"reload\": 1}"), "capabilities.reload: must be true or false, found 1");
    assert!(
        fault("\"capabilities\": {\"rpc\": [\"Chat\"]}").contains("must be \"*\" for all modules, or a module name")
    );
    assert!(fault("\"build\": {\"command\": \" \"}").contains("build.command: must be a command"));
    assert!(
        fault("\"build\": {\"command\": \"x\", \"watch\": [\"../src\"]}").contains("build.watch[0]: must stay inside")
    );
    assert!(fault("\"startups\": {\"s\": {\"type\": \"some\", \"path\": \"\"}}, \"routes\": [{\"path\": \"\", \"handler\": \"h\"}]").contains("startups.s.type: must be one of \"all\" and \"worker\""));
}

#[test]
fn all_faults_come_at_once() {
    let text = r#"{ "component": "../a.wasm", "hooks": {},
      "routes": [ { "path": "/a", "handler": "h", "method": "x" }, { "path": "b", "handler": "h" }, { "path": "b", "handler": "h" }, { "path": 7 } ],
      "limits": { "cpu": 0, "memory": "1" }, "isolation": "fresh", "broadcasts": { "x": { "path": "/b" } } }"#;
    let list = faults(text);
    let keys: Vec<&str> = list.iter().map(|fault| fault.split(':').nth(3).unwrap().trim()).collect();
    assert_eq!(
        keys,
        [
            "component",
            "hooks",
            "routes[0].path",
            "routes[0].method",
            "routes[2].path",
            "routes[3].handler",
            "routes[3].path",
            "limits.cpu",
            "limits.memory",
            "isolation",
            "broadcasts.x.path",
        ]
    );
}

#[test]
fn one_method_and_shape_is_one_route() {
    assert!(load(&routed(&["get a/{x}", "post a/{x}", "get a/x", "get {x}/a", "get a"], "")).is_ok());
    for (one, other) in [("get a", "GET a"), ("get a/{x}", "get a/{y}"), ("get a%62", "get ab"), ("get ", "get ")] {
        let list = faults(&routed(&[one, other], ""));
        assert!(
            list.len() == 1
                && list[0].contains("routes[1].path: GET ")
                && list[0].contains("is already routes[0] (/modules/"),
            "{list:?}"
        );
    }
}

#[test]
fn faulty_paths_are_refused() {
    let list = faults(&routed(&["get a//b"], ""));
    assert!(list[0].contains("routes[0].path: must have no empty segment (`//`), found \"a//b\""), "{list:?}");
}

#[test]
fn a_reference_means_post_or_the_only_one() {
    assert_eq!(meant(&["get a", "post a"], "a"), Ok(1));
    assert_eq!(meant(&["get a", "post b"], "a"), Ok(0));
    assert_eq!(meant(&["get a", "post a"], "get a"), Ok(0));
    assert_eq!(meant(&["get a", "put a"], "PUT a"), Ok(1));
    assert_eq!(meant(&["get "], ""), Ok(0));
    assert_eq!(meant(&["get a/{x}"], "a/{x}"), Ok(0));
    let error = meant(&["get a", "put a"], "a").unwrap_err();
    assert!(
        error.contains("broadcasts.b.path: must name the method")
            && error.contains("write one of GET and PUT before it"),
        "{error}"
    );
    let error = meant(&["get a"], "put a").unwrap_err();
    assert!(error.contains("the path has no method PUT, only GET"), "{error}");
    let error = meant(&["get test/emit"], "test/emti").unwrap_err();
    assert!(error.contains("must be the path of a route of this module; did you mean \"test/emit\"?"), "{error}");
    assert!(meant(&["get a"], "/a").unwrap_err().contains("no slash at its ends"));
    assert!(meant(&["get a"], "head a").unwrap_err().contains("a method and a path"));
}

#[test]
fn startups_take_no_routes_that_are_closed_in_some_environments() {
    let text = |startup: &str| {
        let routes = r#"[{ "path": "a", "handler": "h" }, { "path": "b", "handler": "h", "middlewares": ["test"] }]"#;
        with(&format!("\"routes\": {routes}, \"startups\": {{\"s\": {{\"path\": \"{startup}\"}}}}"))
    };
    assert!(load(&text("a")).is_ok());
    let fault = &faults(&text("b"))[0];
    assert!(fault.contains("startups.s.path: must be a route without the middleware `test`"), "{fault}");
}

#[test]
fn fresh_instances_take_no_broadcasts() {
    let text = |more: &str| routed(&["post a"], &format!("\"isolation\": \"fresh\", \"broadcasts\": {{{more}}}"));
    assert_eq!(load(&text("")).unwrap().isolation, Isolation::Fresh);
    assert!(
        faults(&text("\"b\": {\"path\": \"a\"}"))[0]
            .contains("isolation: must be \"resident\" for a module with broadcasts")
    );
}

#[test]
fn every_limit_can_be_asked_for_down_to_its_minimum() {
    for key in Limits::KEYS {
        let least = match *key {
            "memory" => 65_536,
            "hostcallFuel" => 1_024,
            "nested" => 2,
            _ => 1,
        };
        assert!(load(&with(&format!("\"limits\": {{\"{key}\": {least}}}"))).is_ok(), "{key}");
        let fault = fault(&format!("\"limits\": {{\"{key}\": {}}}", least - 1));
        assert!(fault.starts_with(&format!("limits.{key}: must be at least ")), "{fault}");
    }
}

#[test]
fn limits_stop_at_the_ceiling_and_both_places_are_named() {
    let manifest = |memory: &str| load(&with(&format!("\"limits\": {{\"memory\": \"{memory}\"}}"))).unwrap();
    let config = |text: &str| Config::from_text(text, Path::new("/")).unwrap();
    let plain = config("{}");
    assert_eq!(effective_limits(&manifest("256MiB"), &plain).unwrap().memory, 256 << 20);
    let error = effective_limits(&manifest("257MiB"), &plain).unwrap_err().to_string();
    assert_eq!(
        error,
        "/modules/test-party/module.json:1:46: limits.memory: must be at most 256MiB, the operator's ceiling limits.max.memory (default), found 257MiB: ask for less, or raise the ceiling"
    );
    let low = config("{\"limits\": {\"max\": {\"memory\": \"1MiB\", \"concurrency\": 2}}}");
    let error = effective_limits(&manifest("2MiB"), &low).unwrap_err().to_string();
    assert!(error.contains("limits.max.memory (fanfare.json:1:31), found 2MiB"), "{error}");
    assert_eq!(effective_limits(&manifest("1MiB"), &low).unwrap().concurrency, 2, "a default is lowered");
    let own = config("{\"modules\": {\"test-party\": {\"limits\": {\"memory\": \"128KiB\"}}}}");
    assert_eq!(
        effective_limits(&manifest("257MiB"), &own).unwrap().memory,
        128 << 10,
        "the operator's word comes last"
    );
}

#[test]
fn what_is_asked_and_not_granted_is_a_fault_with_the_command() {
    let manifest =
        load(&with("\"capabilities\": {\"broadcast\": [\"flags\", \"chat\"], \"rpc\": [\"*\"], \"reload\": true}"))
            .unwrap();
    let config = |grants: &str| {
        Config::from_text(&format!("{{\"modules\": {{\"test-party\": {{\"grants\": {grants}}}}}}}"), Path::new("/"))
            .unwrap()
    };
    assert!(check_grants(&manifest, &config("{\"broadcast\": [\"*\"], \"rpc\": [\"*\"], \"reload\": true}")).is_ok());
    let list = check_grants(&manifest, &config("{\"broadcast\": [\"flags\"], \"rpc\": [\"chat\"]}")).unwrap_err();
    let list: Vec<String> = list.list().iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect();
    assert_eq!(
        list,
        [
            "capabilities.broadcast[1]: asks to emit broadcasts of chat, which is not granted: run `fanfare grant test-party`",
            "capabilities.rpc[0]: asks to call routes of every module, which is not granted: run `fanfare grant test-party`",
            "capabilities.reload: asks to reload modules, which is not granted: run `fanfare grant test-party`",
        ]
    );
}

#[test]
fn values_of_a_module_are_laid_over_one_another() {
    let manifest = load(&with("\"config\": {\"a\": {\"b\": 1, \"c\": 2}, \"d\": [1], \"e\": 1}")).unwrap();
    let text = r#"{"modules": {"test-party": {"config": {"a": {"c": null, "x": 3}, "d": [2]}, "subdomains": {"acme": {"config": {"a": null, "e": 2}}}}}}"#;
    let operator = Config::from_text(text, Path::new("/")).unwrap().module("test-party");
    assert_eq!(effective_config(&manifest, &operator, None), json!({"a": {"b": 1, "x": 3}, "d": [2], "e": 1}));
    assert_eq!(effective_config(&manifest, &operator, Some("acme")), json!({"d": [2], "e": 2}));
    assert_eq!(effective_config(&manifest, &operator, Some("other")), effective_config(&manifest, &operator, None));
}

#[test]
fn a_folder_of_modules_is_scanned_and_one_bad_module_harms_no_other() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for (name, text) in [
        ("ready", "{\"component\": \"a.wasm\"}"),
        ("waiting", "{\"component\": \"a.wasm\"}"),
        ("bad", "{"),
        ("_old", "{"),
        (".git", "{"),
        ("Upper", "{\"component\": \"a.wasm\"}"),
    ] {
        std::fs::create_dir_all(root.join(name)).unwrap();
        std::fs::write(root.join(name).join(FILE_NAME), text).unwrap();
    }
    std::fs::create_dir_all(root.join("empty")).unwrap();
    std::fs::write(root.join("file"), "").unwrap();
    std::fs::write(root.join("ready/a.wasm"), "").unwrap();
    let state = |scanned: &Scanned| match scanned.found {
        Found::Ready(_) => "ready",
        Found::Waiting(_) => "waiting",
        Found::Refused(_) => "refused",
    };
    let found: Vec<(String, &str)> =
        scan(root).unwrap().iter().map(|scanned| (scanned.name.clone(), state(scanned))).collect();
    let found: Vec<(&str, &str)> = found.iter().map(|(name, state)| (name.as_str(), *state)).collect();
    assert_eq!(found, [("Upper", "refused"), ("bad", "refused"), ("ready", "ready"), ("waiting", "waiting")]);
    assert!(scan(&root.join("none")).is_err());
}

#[test]
fn no_changed_file_panics() {
    let text = routed(
        &["get a/{x}", "post b"],
        "\"broadcasts\": {\"b\": {\"path\": \"post b\"}}, \"build\": {\"command\": \"c\", \"watch\": [\"s\"]}",
    );
    for at in 0..text.len() {
        for with in ["{", "[", "\"", "%", "/", "..", "-1", "null", "\\"] {
            let (before, after) = text.split_at(at);
            let _ = load(&format!("{before}{with}{}", after.get(1..).unwrap_or_default()));
        }
    }
}

#[test]
fn a_module_has_at_most_1024_of_each() {
    let text = |routes: usize, broadcasts: usize| {
        let routes: Vec<String> = (0..routes).map(|index| format!("get r{index}")).collect();
        let names: Vec<String> = (0..broadcasts).map(|index| format!("\"b{index}\": {{\"path\": \"r0\"}}")).collect();
        let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
        let section = |key: &str| format!("\"{key}\": {{{}}}", names.join(","));
        routed(&routes, &format!("{}, {}", section("broadcasts"), section("startups")))
    };
    assert!(load(&text(1024, 1024)).is_ok());
    let list = faults(&text(1025, 1));
    assert!(list.len() == 1 && list[0].contains("routes: must have at most 1024 entries, found 1025"), "{list:?}");
    let list = faults(&text(1, 1025));
    assert!(
        list.len() == 2 && list[0].contains("broadcasts: must have at most 1024") && list[1].contains("startups: "),
        "{list:?}"
    );
}

#[test]
fn a_hostile_file_costs_little() {
    let started = std::time::Instant::now();
    let long = "k".repeat(500_000);
    load(&with(&format!("\"config\": {{\"{long}\": [{}1]}}", "1,".repeat(200_000)))).unwrap();
    let wrong: Vec<String> = (0..20_000).map(|index| format!("\"b{index}\": {{\"path\": \"x{index}\"}}")).collect();
    assert!(!faults(&with(&format!("\"broadcasts\": {{{}}}", wrong.join(",")))).is_empty());
    let unknown: Vec<String> = (0..60_000).map(|index| format!("\"x{index}\": 1")).collect();
    assert_eq!(load(&with(&unknown.join(","))).unwrap_err().faults.list().len(), 100);
    assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
}
