//! `fanfare types` and `fanfare check --callers`. `.ci/types` compiles callers against the stubs.

use std::os::unix::fs::MetadataExt;

use super::Project;

const SHOP: &str = r#"{
  "component": "shop.wasm",
  "routes": [
    { "path": "inner/rates", "handler": "rates", "middlewares": "inner",
      "takes": { "type": "object", "properties": { "currency": { "type": "string" } }, "required": ["currency"] },
      "gives": "rate.json" },
    { "method": "get", "path": "{name}", "handler": "get",
      "query": { "type": "object", "properties": { "day": { "type": "string" } }, "required": ["day"] } },
    { "path": "said", "handler": "said", "middlewares": "session" },
    { "path": "inner/changed", "handler": "changed", "middlewares": "inner", "takes": { "type": "string" } }
  ],
  "broadcasts": { "changed": { "path": "inner/changed" } }
}"#;

/// A project with the module `shop`, in JavaScript.
fn shop() -> Project {
    Project::with(&[])
        .file("modules/shop/module.json", SHOP)
        .file("modules/shop/rate.json", r#"{ "type": ["number", "null"], "description": "Against EUR." }"#)
        .file("modules/shop/package.json", "{}")
}

const DECLARED: &str = "modules/_types/fanfare-types.d.ts";

#[tokio::test]
async fn types_writes_stubs_for_the_languages_of_the_modules() {
    let project = shop();
    let ran = project.run(&["types"]).await;
    let files = [DECLARED, "modules/_types/fanfare-types.js"];
    assert_eq!((ran.code, ran.out), (0, files.map(|file| format!("wrote {file}\n")).concat()), "{}", ran.err);
    let declared = project.read(DECLARED);
    for line in [
        "export declare namespace shop {",
        "    interface InnerRatesTakes {\n        \"currency\": string;\n    }",
        "     * Calls `POST shop/inner/rates`.\n     * Gives: Against EUR.",
        "    function innerRates(payload: InnerRatesTakes, options?: CallOptions): Promise<number | null>;",
        "    function getByName(name: string | number, query: GetByNameQuery, payload?: Sendable, options?: CallOptions): Promise<Reply>;",
        "            function emit(payload: string, options?: EmitOptions): Receipt;",
    ] {
        assert!(declared.contains(line), "{line} in {declared}");
    }
    assert!(!declared.contains("said"), "only messages of clients reach it: {declared}");
    let code = project.read("modules/_types/fanfare-types.js");
    for call in [
        r#"(await rpc.call("shop/inner/rates", JSON.stringify(payload), options)).json"#,
        r#"rpc.call("GET shop/" + encodeURIComponent(name) + search(query), payload, options)"#,
        r#"broadcast.emit("changed", JSON.stringify(payload), { ...options, module: "shop" })"#,
    ] {
        assert!(code.contains(call), "{call} in {code}");
    }
    assert_eq!(project.run(&["check"]).await.out.matches("modules checked").count(), 0, "the stubs are no module");
}

#[tokio::test]
async fn stubs_are_written_only_when_they_change() {
    let project = shop();
    assert_eq!(project.run(&["types"]).await.code, 0);
    let file = project.path().join(DECLARED);
    let before = (std::fs::metadata(&file).unwrap().ino(), project.read(DECLARED));
    let again = project.run(&["types"]).await;
    assert!(again.out.starts_with("modules/_types/fanfare-types.d.ts is up to date\n"), "{}", again.out);
    assert_eq!(project.run(&["types", "--check"]).await.code, 0);
    let project = project.file("modules/shop/module.json", SHOP.replace("inner/rates", "inner/prices"));
    let stale = project.run(&["types", "--check"]).await;
    assert_eq!((stale.code, stale.out.as_str()), (1, ""));
    let line = "fanfare-types.d.ts:18: has `interface InnerRatesTakes {` in place of `interface InnerPricesTakes {`\n";
    assert!(
        stale.err.contains(line) && stale.err.ends_with("run `fanfare types` to write what is not up to date\n"),
        "{}",
        stale.err
    );
    assert_eq!((std::fs::metadata(&file).unwrap().ino(), project.read(DECLARED)), before);
    assert_eq!(project.run(&["types"]).await.code, 0);
    let declared = project.read(DECLARED);
    assert!(declared.contains("innerPrices(") && !declared.contains("innerRates("), "{declared}");
}

#[tokio::test]
async fn the_languages_are_those_of_a_module_or_those_that_are_named() {
    let project =
        shop().file("modules/cart/module.json", r#"{ "component": "a.wasm" }"#).file("modules/cart/cart.py", "");
    assert_eq!(project.run(&["types", "cart"]).await.out, "wrote modules/_types/fanfare_types.py\n");
    let python = project.read("modules/_types/fanfare_types.py");
    assert!(python.contains("class shop:\n") && !python.contains("class cart:"), "{python}");
    assert_eq!(project.run(&["types", "--lang", "rust,c"]).await.code, 0);
    let both = project.run(&["types", "--lang", "ts,js"]).await.out;
    assert_eq!(both, "wrote modules/_types/fanfare-types.d.ts\nwrote modules/_types/fanfare-types.js\n");
    assert!(
        project.read("modules/_types/fanfare_types.rs").contains("pub async fn inner_rates(payload: &InnerRatesTakes)")
    );
    assert!(project.read("modules/_types/fanfare_types.h").contains("bool shop_inner_rates("));
    let none = Project::with(&[]).file("modules/shop/module.json", r#"{ "component": "a.wasm" }"#);
    let ran = none.run(&["types"]).await;
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (1, "error: modules: no module here shows a language that has stubs; name one with --lang\n")
    );
}

#[tokio::test]
async fn nothing_is_written_while_names_or_manifests_are_wrong() {
    let project = shop().file(
        "modules/shop/module.json",
        r#"{ "component": "a.wasm", "routes": [
  { "path": "get-rates", "handler": "a" },
  { "method": "get", "path": "rates", "handler": "b" } ] }"#,
    );
    let ran = project.run(&["types"]).await;
    let fault = "modules/shop/module.json:3:30: routes[1].path: `GET rates` and `POST get-rates` \
                 (modules/shop/module.json:2:13) would both be `get_rates` in the stubs: rename one";
    assert!(ran.code == 1 && ran.err.contains(fault), "{}", ran.err);
    let project = project.file(
        "modules/shop/module.json",
        r#"{ "component": "a.wasm", "routes": [{ "path": "a", "handler": "a", "takes": { "type": "x" } }] }"#,
    );
    let ran = project.run(&["types"]).await;
    assert!(ran.code == 1 && ran.err.contains("routes[0].takes.type: must be one of"), "{}", ran.err);
    assert!(!project.path().join("modules/_types").exists());
}

#[tokio::test]
async fn check_names_a_missing_file_with_a_schema() {
    let project = shop();
    std::fs::remove_file(project.path().join("modules/shop/rate.json")).unwrap();
    for args in [["check", "shop"], ["types", "shop"]] {
        let ran = project.run(&args).await;
        let fault =
            "modules/shop/module.json:6:16: routes[0].gives: modules/shop/rate.json cannot be read: No such file";
        assert!(ran.code == 1 && (ran.out + &ran.err).contains(fault), "{args:?}");
    }
}

/// The faults of a caller of `shop` with these `calls`.
async fn callers(calls: &str, capabilities: &str) -> String {
    let text = format!("{{ \"component\": \"a.wasm\", \"capabilities\": {capabilities}, \"calls\": {{\n{calls}\n}} }}");
    let project = shop().file("modules/cart/module.json", text);
    let without = project.run(&["check"]).await.out;
    assert!(!without.contains(": calls"), "only with --callers: {without}");
    let ran = project.run(&["check", "--callers"]).await;
    let of_shop = project.run(&["check", "shop", "--callers"]).await.out;
    let faults =
        |text: &str| text.lines().filter(|line| line.contains(": calls")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(faults(&of_shop), faults(&ran.out), "the callers of a module count as its own");
    faults(&ran.out).join("\n")
}

const RPC: &str = r#"{ "rpc": ["shop"] }"#;
const EMIT: &str = r#"{ "broadcast": ["shop"] }"#;

#[tokio::test]
async fn a_caller_that_fits_has_no_faults() {
    let same = r#""shop/inner/rates": {
      "takes": { "type": "object", "properties": { "currency": { "enum": ["EUR"] } }, "required": ["currency"] },
      "gives": { "type": ["number", "null"] } }, "GET shop/{name}": {}"#;
    assert_eq!(callers(same, RPC).await, "");
    let broadcast = r#""broadcast shop/changed": { "takes": { "const": "EUR" }, "gives": { "type": "null" } }"#;
    assert_eq!(callers(broadcast, EMIT).await, "");
}

#[tokio::test]
async fn a_caller_that_does_not_fit_is_named_with_both_places() {
    for (calls, capabilities, fault) in [
        (
            r#""shop/inner/rates": { "takes": { "type": "object", "properties": { "currency": { "type": "string" } } } }"#,
            RPC,
            "modules/cart/module.json:2:80: calls.shop/inner/rates.takes.currency: the module sends nothing at times, \
             but shop takes a value always (modules/shop/module.json:5:64): change one of them",
        ),
        (
            r#""shop/inner/rates": { "gives": { "type": "number" } }"#,
            RPC,
            "modules/cart/module.json:2:32: calls.shop/inner/rates.gives: the module expects a number only, \
             but shop gives `null` at times (modules/shop/rate.json:1:1): change one of them",
        ),
        (
            r#""shop/inner/rate": {}"#,
            RPC,
            "modules/cart/module.json:2:1: calls.shop/inner/rate: shop has no such route; did you mean \"inner/rates\"? (its routes: modules/shop/module.json:3:13)",
        ),
        (
            r#""shop/said": {}"#,
            RPC,
            "calls.shop/said: only messages of connected clients reach it, because it is `session` (modules/shop/module.json:3:13)",
        ),
        (
            r#""GET shop/{name}": { "query": { "type": "object", "properties": { "day": { "type": "integer" } }, "required": ["day"] } }"#,
            RPC,
            "calls[\"GET shop/{name}\"].query.day: the module sends an integer, but shop takes a string (modules/shop/module.json:8:",
        ),
        (
            r#""broadcast shop/changed": { "takes": { "type": "number" } }"#,
            EMIT,
            "modules/cart/module.json:2:38: calls[\"broadcast shop/changed\"].takes: the module sends a number, \
             but shop takes a string (modules/shop/module.json:10:87): change one of them",
        ),
        (
            r#""broadcast shop/change": {}"#,
            EMIT,
            "modules/cart/module.json:2:1: calls[\"broadcast shop/change\"]: shop has no such broadcast; did you mean \"changed\"? (its broadcasts: modules/shop/module.json:12:17)",
        ),
        (r#""broadcast shop/changed": {}"#, RPC, "emits a broadcast of shop: add \"shop\" to capabilities.broadcast"),
        (r#""shop/inner/rates": {}"#, "{}", "calls a route of shop: add \"shop\" to capabilities.rpc"),
    ] {
        let faults = callers(calls, capabilities).await;
        assert!(faults.contains(fault), "{fault} in {faults}");
    }
    let project = shop().file("modules/cart/module.json", r#"{ "component": "a.wasm", "calls": { "none/a": {} } }"#);
    let out = project.run(&["check", "--callers"]).await.out;
    assert!(out.contains("calls.none/a: there is no module none"), "{out}");
}
