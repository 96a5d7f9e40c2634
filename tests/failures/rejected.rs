//! Modules that the host rejects, and imports that are not granted.

use serde_json::{Value, json};

use super::steps::assert_names;
use crate::harness::{Log, Started, TestHost, json_of};

/// Starts a host with `echo` and a module that the host rejects, and returns the reason too.
async fn rejected(module: &str, host: TestHost) -> (Started, Value) {
    let host = host.and("echo").start().await;
    let listed = host.module(module).await;
    assert_eq!((&listed["state"], &listed["isolates"]), (&json!("refused"), &json!([])), "{listed}");
    assert_eq!(host.post("/api/echo/echo", "hello").await.text(), "hello", "other modules are served");
    let answer = host.post(&format!("/api/{module}/ok"), "").await;
    assert_eq!((answer.status, answer.code()), (503, "unavailable".to_owned()));
    assert_names(&answer.json()["detail"], &[module, "is refused", "`fanfare status`"]);
    assert!(host.log.contains(&["module rejected:", module]));
    (host, listed["reason"].clone())
}

#[tokio::test]
async fn a_component_without_a_handler_is_rejected() {
    let (_host, why) = rejected("wrong-exports", TestHost::with("wrong-exports")).await;
    assert_names(&why, &["wrong_exports.wasm", "exports neither", "fanfare:module/handler@0.1.0", "wit/"]);
}

#[tokio::test]
async fn a_component_that_waits_for_changes_of_a_store_is_rejected() {
    let watcher = "(component (instance $none) (export \"wasi:keyvalue/watcher@0.2.0-draft\" (instance $none)))";
    let host = TestHost::empty()
        .file("modules/watches/module.json", r#"{ "component": "watches.wasm" }"#)
        .file("modules/watches/watches.wasm", wat::parse_str(watcher).unwrap());
    let (_host, why) = rejected("watches", host).await;
    assert_names(&why, &["exports wasi:keyvalue/watcher@0.2.0-draft", "does not call", "events or to Redis"]);
}

#[tokio::test]
async fn a_component_whose_handler_has_another_type_is_rejected() {
    let (_host, why) = rejected("wrong-types", TestHost::with("wrong-types")).await;
    assert_names(&why, &["wrong_types.wasm", "an export does not have the types of wit/"]);
}

#[tokio::test]
async fn a_fresh_module_that_exports_snapshot_is_rejected() {
    let fresh = TestHost::with("counter").manifest("counter", json!({ "isolation": "fresh" }));
    let (_host, why) = rejected("counter", fresh).await;
    assert_names(&why, &["counter.wasm", "exports snapshot", "\"isolation\": \"fresh\""]);
}

#[tokio::test]
async fn an_import_without_a_capability_is_logged_once_at_debug_level() {
    let _host = TestHost::empty().and_as("ungranted", "unasking").workers(2).start().await;
    let lines = Log::capture().lines(&[
        "unasking",
        "imports broadcast, channels, events, publish, rpc, sse but module.json asks for no such capability",
    ]);
    assert!(lines.len() == 1 && lines[0].contains(" DEBUG "), "{lines:?}");
    let rights = json!({ "rpc": ["unasking-too"], "broadcast": ["unasking-too"], "sse": ["news"],
        "events": ["news"], "publish": ["redis:news"], "channels": ["news"] });
    let asks = TestHost::empty().and_as("ungranted", "asking").manifest("asking", json!({ "capabilities": rights }));
    let _host = asks.grant("asking", rights).start().await;
    assert_eq!(Log::capture().lines(&["module=asking", "asks for no such capability"]), [""; 0]);
}

#[tokio::test]
async fn a_manifest_that_names_a_missing_handler_is_rejected() {
    let (_host, why) = rejected("describe-missing", TestHost::with("describe-missing")).await;
    assert_names(&why, &["describe-missing/module.json", "routes", "`gone`", "ok"]);
}

/// Returns the section of a module on the page for developers.
async fn section(host: &Started, module: &str) -> String {
    let page = host.get("/").await;
    let page = page.text();
    let start = page.find(&format!("<section aria-labelledby=\"module-{module}\">")).unwrap();
    let end = page[start..].find("</section>").unwrap();
    page[start..start + end].to_owned()
}

#[tokio::test]
async fn the_reason_for_rejecting_a_component_with_huge_names_is_short() {
    let imports: String = (0..50).map(|at| format!("(import \"{}{at}\" (func))", "a".repeat(90_000))).collect();
    let host = TestHost::empty()
        .file("modules/huge-names/module.json", r#"{ "component": "huge.wasm" }"#)
        .file("modules/huge-names/huge.wasm", wat::parse_str(format!("(component {imports})")).unwrap())
        .environment("development");
    let (host, why) = rejected("huge-names", host).await;
    assert_names(&why, &["imports aaaa", "more bytes): only fanfare:module and wasi"]);
    assert!(why.as_str().unwrap().len() < 40_000, "{}", why.as_str().unwrap().len());
    let lines = host.log.lines(&["module rejected:", "huge-names"]);
    assert!(!lines.is_empty() && lines.iter().all(|line| line.len() < 40_000));
    let section = section(&host, "huge-names").await;
    assert!(section.contains("imports aaaa") && section.len() < 10_000, "{}", section.len());
}

#[tokio::test]
async fn the_reason_for_rejecting_a_component_with_a_long_description_is_short() {
    // Describing this much takes long on a busy machine.
    let host = TestHost::with("describes").limit("describes", "cpu", "5s").environment("development");
    let host = host.config(json!({ "limits": { "max": { "cpu": "5s" } } }));
    let (host, why) = rejected("describes", host).await;
    assert_names(&why, &["routes[0].handler", "must be a handler of the component, found `gone`", "xxx"]);
    let most = 10_000;
    assert!(why.as_str().unwrap().len() < most, "{}", why.as_str().unwrap().len());
    assert!(!why.as_str().unwrap().contains('\u{1b}'));
    let lines = host.log.lines(&["module rejected:", "describes"]);
    assert!(!lines.is_empty() && lines.iter().all(|line| line.len() < most), "{lines:?}");
    let section = section(&host, "describes").await;
    assert!(section.len() < most, "{}", section.len());
    for (listed, most) in
        [(host.get("/api/describes/gone").await, most), (host.admin("GET", "/v1/status", "").await, 2 * most)]
    {
        assert!(listed.text().contains("describes") && listed.body.len() < most, "{}", listed.body.len());
    }
}

#[tokio::test]
async fn a_component_that_describes_too_many_handlers_is_rejected() {
    let (_host, why) = rejected("describes-more", TestHost::with("describes-more")).await;
    assert_names(&why, &["describe returns 2049 handlers: the host accepts at most 2048"]);
}

#[tokio::test]
async fn a_route_that_is_too_deep_or_too_long_is_rejected() {
    for (path, rule) in [
        (vec!["a"; 2_000].join("/"), "must have at most 64 segments and has 2000"),
        (vec!["{a}"; 200_000].join("/"), "must have at most 4096 bytes and has 799999"),
    ] {
        let routes = json!({ "routes": [{ "path": path, "handler": "ok" }] });
        let (_host, why) = rejected("loops", TestHost::with("loops").manifest("loops", routes)).await;
        assert_names(&why, &["loops/module.json:", "routes[0].path", rule]);
    }
}

#[tokio::test]
async fn a_capability_that_is_not_granted_is_rejected() {
    let asks = json!({ "capabilities": { "rpc": ["echo"], "broadcast": ["counts"] } });
    let (_host, why) = rejected("ungranted", TestHost::with("ungranted").manifest("ungranted", asks)).await;
    let words = ["ungranted/module.json", "capabilities.rpc", "call routes of echo", "`fanfare grant ungranted`"];
    assert_names(&why, &words);
    assert_names(&why, &["capabilities.broadcast", "emit broadcasts of counts"]);
}

#[tokio::test]
pub async fn a_limit_above_the_ceiling_is_rejected() {
    let limits = json!({ "limits": { "memory": "512MiB" } });
    let (_host, why) = rejected("loops", TestHost::with("loops").manifest("loops", limits)).await;
    assert_names(&why, &["loops/module.json", "limits.memory", "256MiB", "512MiB", "limits.max.memory"]);
}

#[tokio::test]
async fn a_call_of_a_module_that_is_not_loaded_is_unavailable_and_not_unknown() {
    let rights = json!({ "rpc": ["wrong-exports", "unbuilt"], "broadcast": [] });
    let host = TestHost::with("waits")
        .and("wrong-exports")
        .manifest("waits", json!({ "capabilities": rights }))
        .grant("waits", rights)
        .file("modules/unbuilt/module.json", r#"{ "component": "unbuilt.wasm" }"#)
        .environment("development")
        .start()
        .await;
    for (module, why) in [("wrong-exports", "is refused"), ("unbuilt", "waits for its component")] {
        let error = host.nested(0, json!({ "route": format!("{module}/ok") })).await["error"].clone();
        assert_eq!(error["kind"], "unavailable", "{error}");
        assert_names(&error["message"], &[module, why]);
        let there = host.call("worker-1", module, "ok", "").await;
        assert_eq!(there["code"], "unavailable", "{there}");
        let emitted = host.admin("POST", &format!("/v1/modules/{module}/broadcasts/x"), "").await;
        assert_eq!((emitted.status, emitted.code()), (503, "unavailable".to_owned()));
    }
    let page = host.get("/").await;
    let page = page.text();
    assert!(page.contains(r#"data-state="waiting""#) && page.contains("exports neither"), "{page}");
}

#[tokio::test]
async fn an_import_without_a_capability_returns_forbidden() {
    let host = TestHost::with("ungranted").and("echo").and("counts").start().await;
    let tries = [
        ("nested", json!({ "route": "echo/who" }), "rpc"),
        ("notify", json!({ "route": "echo/who" }), "rpc"),
        ("emit", json!({ "name": "append", "module": "counts" }), "broadcast"),
        ("gather", json!({ "name": "append", "module": "counts" }), "broadcast"),
    ];
    for (route, body, capability) in tries {
        let answer = host.post(&format!("/api/ungranted/{route}"), body.to_string()).await.json();
        assert_eq!(answer["error"]["kind"], "forbidden", "{route}: {answer}");
        assert_names(&answer["error"]["message"], &["ungranted", capability, "fanfare grant ungranted"]);
    }
    let refused = host.post("/api/ungranted/publish-to-channel", "lobby").await;
    assert_names(&refused.json()["detail"], &["ungranted", "capabilities.channels", "fanfare grant ungranted"]);
    assert!(host.post("/api/ungranted/publish-to-channel", "ungranted/lobby").await.status < 300, "its own channel");
    let everywhere = host.call("any", "ungranted", "every", json!({ "route": "echo/who" }).to_string()).await;
    for entry in json_of(&everywhere).as_array().unwrap() {
        assert_eq!(entry["outcome"]["error"]["kind"], "forbidden");
    }
    assert_eq!(host.count("worker-0", "echo").await, 1, "no call has reached the module");
}

#[tokio::test]
async fn the_log_warns_once_of_each_target_that_a_generation_lacks() {
    let name = "ungranted-logged";
    let host = TestHost::empty().and_as("ungranted", name).and("echo").and("counts").start().await;
    let warnings = |key: &str| {
        let capability = format!("capability=\"{key}\"");
        host.log.lines(&["WARN", "an import was refused", &format!("fanfare grant {name}"), &capability]).len()
    };
    let try_all = async || {
        for _ in 0..3 {
            host.post(&format!("/api/{name}/nested"), json!({ "route": "echo/who" }).to_string()).await;
            host.call("worker-0", name, "notify", json!({ "route": "counts/x" }).to_string()).await;
            host.call("worker-1", name, "emit", json!({ "name": "append", "module": "counts" }).to_string()).await;
        }
    };
    try_all().await;
    assert_eq!((warnings("rpc"), warnings("broadcast"), warnings("channels")), (2, 1, 0), "one for each target");
    let reload = async || host.admin("POST", &format!("/v1/modules/{name}/reload"), "").await;
    assert_eq!(reload().await.status, 200);
    try_all().await;
    assert_eq!((warnings("rpc"), warnings("broadcast")), (4, 2), "a reload loads the generation again");
    assert_eq!(host.metric("fanfare_restarts_total", &[]).await, 0.0);
}

#[tokio::test]
async fn a_module_may_call_itself_without_a_grant() {
    let host = TestHost::with("ungranted").start().await;
    let own = host.post("/api/ungranted/own", "").await.json();
    assert_eq!((&own["module"], &own["head"]), (&json!("ungranted"), &json!(true)));
    let nested = host.post("/api/ungranted/nested", json!({ "route": "/own" }).to_string()).await.json();
    assert!(nested["ok"].is_object(), "{nested}");
}

#[tokio::test]
async fn a_granted_capability_allows_the_import() {
    let host = TestHost::with("ungranted").and("echo").may_call("ungranted", "echo").start().await;
    let nested = host.post("/api/ungranted/nested", json!({ "route": "echo/who" }).to_string()).await.json();
    assert!(nested["ok"].is_object(), "{nested}");
}
