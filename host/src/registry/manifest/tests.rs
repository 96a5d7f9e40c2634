use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::channels::Channel;
use super::model::Startup;
use super::*;
use crate::call::ChannelAction;
use crate::registry::segment::Segment;

mod hooks;
mod operator;
mod routes;
mod schedules;
mod subscriptions;

const DIR: &str = "/modules/test-party";

/// Returns a manifest with these further members.
fn with(members: &str) -> String {
    format!("{{\"component\": \"a.wasm\", {members}}}")
}

fn load(text: &str) -> Result<Manifest, ManifestError> {
    Manifest::from_text(Path::new(DIR), text)
}

fn faults(text: &str) -> Vec<String> {
    load(text).err().map(|error| error.faults.list().iter().map(ToString::to_string).collect()).unwrap_or_default()
}

/// Returns the only fault of a manifest with these further members, without its place.
fn fault(members: &str) -> String {
    let list = faults(&with(members));
    assert_eq!(list.len(), 1, "{members}: {list:?}");
    list[0].splitn(4, ':').nth(3).unwrap().trim().to_owned()
}

/// Returns a manifest with these routes, each written `METHOD path`, and further members.
fn routed(routes: &[&str], members: &str) -> String {
    let route = |text: &&str| {
        let (method, path) = text.split_once(' ').unwrap();
        json!({ "method": method, "path": path, "handler": "h" }).to_string()
    };
    let routes: Vec<String> = routes.iter().map(route).collect();
    with(&format!("\"routes\": [{}], {members}", routes.join(", ")))
}

#[test]
fn a_syntax_error_is_the_only_fault() {
    let text = "{ \"component\": \"a.wasm\"\n \"routes\": [] }";
    let faults = Manifest::from_text(std::path::Path::new("m"), text).unwrap_err().to_string();
    assert!(faults.lines().count() == 1 && faults.contains("is not JSON: expected comma"), "{faults}");
}

#[test]
fn every_section_of_a_manifest_is_read() {
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
      "capabilities":  { "broadcast": ["flags", "test-party"], "rpc": ["chat"], "reload": true, "sse": ["news", "test-party/*"], "channels": ["lobby"] },
      "streams":       { "test-party/*": { "path": "GET {name}/lead" }, "news": {} },
      "channels":      { "test-party/*": { "path": "GET {name}/lead", "on": ["publish"], "history": 10 }, "news": {} },
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
    assert_eq!(manifest.capabilities.sse.0, ["news"]);
    assert_eq!(manifest.streams.find("test-party/a").unwrap().1.route, Some(3));
    assert_eq!(manifest.streams.find("news").unwrap().1.route, None);
    assert_eq!(manifest.channels.find("test-party/a").unwrap().1.asks(ChannelAction::Publish), Some(3));
    assert_eq!(manifest.channels.find("test-party/a").unwrap().1.asks(ChannelAction::Subscribe), None);
    assert_eq!(manifest.channels.find("news").unwrap().1, &Channel::default());
    assert_eq!(manifest.capabilities.channels.0, ["lobby", "news"]);
    assert_eq!(manifest.isolation, Isolation::Resident);
    assert_eq!(&*manifest.digest_bytes, text.as_bytes());
    assert_eq!(Value::from(manifest.config), json!({"greeting": "hello"}));
}

#[test]
fn only_the_component_is_required() {
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
fn the_name_of_the_folder_is_the_name_of_the_module() {
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
fn unknown_keys_and_names_suggest_the_nearest_one() {
    assert_eq!(fault("\"route\": []"), "route: unknown key; did you mean \"routes\"?");
    let route = |members: &str| fault(&format!("\"routes\": [{{\"path\": \"a\", \"handler\": \"h\", {members}}}]"));
    assert_eq!(route("\"methods\": \"get\""), "routes[0].methods: unknown key; did you mean \"method\"?");
    assert_eq!(
        route("\"middlewares\": \"iner\""),
        "routes[0].middlewares: must be \"inner\", \"session\", \"test\", \"cors\", or a route of a module, such as \"limiter/check\" or \"/check\" for an own route, found \"iner\""
    );
    assert!(route("\"middlewares\": [\"iner\"]").starts_with("routes[0].middlewares[0]: must be \"inner\""));
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
fn values_of_the_wrong_type_are_rejected() {
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
fn all_faults_are_reported_at_once() {
    let text = r#"{ "component": "../a.wasm", "channels": { "a": { "path": "/x" } },
      "routes": [ { "path": "/a", "handler": "h", "method": "x" }, { "path": "b", "handler": "h" }, { "path": "b", "handler": "h" }, { "path": 7 } ],
      "limits": { "cpu": 0, "memory": "1" }, "isolation": "fresh", "broadcasts": { "x": { "path": "/b" } } }"#;
    let list = faults(text);
    let keys: Vec<&str> = list.iter().map(|fault| fault.split(':').nth(3).unwrap().trim()).collect();
    assert_eq!(
        keys,
        [
            "component",
            "channels.a.path",
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
fn one_invalid_module_does_not_affect_the_others_of_a_scan() {
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
    let state = |folder: &ModuleFolder| match folder.state {
        FolderState::Ready(_) => "ready",
        FolderState::Waiting(_) => "waiting",
        FolderState::Refused(_) => "refused",
    };
    let found: Vec<(String, &str)> =
        scan(root).unwrap().iter().map(|folder| (folder.name.clone(), state(folder))).collect();
    let found: Vec<(&str, &str)> = found.iter().map(|(name, state)| (name.as_str(), *state)).collect();
    assert_eq!(found, [("Upper", "refused"), ("bad", "refused"), ("ready", "ready"), ("waiting", "waiting")]);
    assert!(scan(&root.join("none")).is_err());
}

#[test]
fn a_damaged_file_causes_no_panic() {
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
fn a_module_may_have_at_most_1024_of_each_entry() {
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
fn a_hostile_file_is_checked_quickly() {
    let started = std::time::Instant::now();
    let long = "k".repeat(500_000);
    load(&with(&format!("\"config\": {{\"{long}\": [{}1]}}", "1,".repeat(200_000)))).unwrap();
    let wrong: Vec<String> = (0..20_000).map(|index| format!("\"b{index}\": {{\"path\": \"x{index}\"}}")).collect();
    assert!(!faults(&with(&format!("\"broadcasts\": {{{}}}", wrong.join(",")))).is_empty());
    let unknown: Vec<String> = (0..60_000).map(|index| format!("\"x{index}\": 1")).collect();
    assert_eq!(load(&with(&unknown.join(","))).unwrap_err().faults.list().len(), 100);
    assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
}
