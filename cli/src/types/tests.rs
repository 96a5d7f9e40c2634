//! Tests of the stubs that no compiler of another language needs.

use super::*;
use fanfare::tooling::Manifest;

#[test]
fn the_first_line_that_differs_is_named() {
    assert_eq!(difference("a", "x\n y\n", "x\nz\n"), "a:2: has `y` in place of `z`");
    assert_eq!(difference("a", "x", "x\nz"), "a:2: has nothing in place of `z`");
}

/// The stubs of a module with these routes.
fn module(name: &str, routes: &str) -> Vec<model::Module> {
    let text = format!(r#"{{ "component": "a.wasm", "routes": [{routes}] }}"#);
    let manifest = Manifest::from_text(&Path::new("/modules").join(name), &text).unwrap();
    vec![model::module(&manifest).unwrap()]
}

/// A module whose route `a` takes an object with these properties and `$defs`.
fn takes(properties: &str, defs: &str) -> Vec<model::Module> {
    let takes = format!(r#"{{ "type": "object", "properties": {{ {properties} }}, "$defs": {{ {defs} }} }}"#);
    module("shop", &format!(r#"{{ "path": "a", "handler": "a", "takes": {takes} }}"#))
}

fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_description_ends_no_comment() {
    let modules = takes(r#""x": { "description": "One \"two\" */ \\n \u0007 three \\\nfour \\", "type": "null" }"#, "");
    holds(&rust::code(&modules), &["/// One \"two\" */ \\n   three \\\n", "/// four \\\n"]);
    holds(&javascript::types(&modules), &["One \"two\" * / \\n   three"]);
    holds(&python::code(&modules), &["#: One \"two\" */ \\n   three"]);
    holds(&c::code(&modules), &["// four \n"]);
    let described = r#"{ "path": "a", "handler": "a", "takes": { "description": "a \"b\" \\" } }"#;
    holds(&python::code(&module("shop", described)), &["Takes: a 'b' \\\\\"\"\""]);
}

#[test]
fn types_of_one_module_have_different_names() {
    let object = r#"{ "type": "object", "properties": { "x": {} } }"#;
    let modules = takes(&format!(r#""b-c": {object}, "b_c": {object}"#), "");
    holds(&rust::code(&modules), &["pub struct ATakesBC {", "pub struct ATakesBC2 {"]);
}

#[test]
fn a_named_type_that_may_be_null_is_one_of_two() {
    let defs = r#""node": { "type": ["object", "null"], "properties": { "x": {} } }, "kind": { "enum": ["a", null] }"#;
    let modules = takes(r##""node": { "$ref": "#/$defs/node" }, "kind": { "$ref": "#/$defs/kind" }"##, defs);
    let types = javascript::types(&modules);
    holds(&types, &["type ATakesNode = ATakesNode2 | null;", "type ATakesKind = ATakesKind2 | null;"]);
    holds(&types, &["type ATakesKind2 = \"a\";"]);
}

#[test]
fn a_type_that_contains_itself_is_in_a_box() {
    let node = r##""node": { "type": "object", "properties": { "next": { "$ref": "#/$defs/node" } } }"##;
    let modules = takes(r##""list": { "$ref": "#/$defs/node" }"##, node);
    holds(&rust::code(&modules), &["pub next: Option<Box<ATakesNode>>", "pub list: Option<ATakesNode>"]);
}

#[test]
fn an_optional_value_that_may_be_null_is_one_option() {
    let modules = takes(r#""x": { "type": ["integer", "null"] }"#, "");
    holds(&rust::code(&modules), &["pub x: Option<i64>,"]);
    holds(&javascript::types(&modules), &["\"x\"?: number | null;"]);
    holds(&c::code(&modules), &["int64_t x;\n    bool has_x;"]);
}

#[test]
fn a_type_that_cannot_be_expressed_has_a_note() {
    let modules =
        takes(r#""x": { "oneOf": [{ "type": "string" }, { "type": "number" }] }, "y": { "enum": [1, 2.5] }"#, "");
    holds(&rust::code(&modules), &["/// any value, because no type expresses oneOf."]);
    holds(&python::code(&modules), &["\"x\": \"_NotRequired[_Any]\"", "\"y\": \"_NotRequired[_Any]\""]);
    holds(&javascript::types(&modules), &["\"y\"?: 1 | 2.5;"]);
}

#[test]
fn names_that_a_language_reserves_or_the_stubs_use_end_with_an_underscore() {
    let modules = module("rpc", r#"{ "path": "class/{payload}/{query}/{at}/tail", "handler": "a" }"#);
    holds(&rust::code(&modules), &["payload_: impl std::fmt::Display, query_: impl std::fmt::Display, at_: impl"]);
    let code = javascript::code(&modules);
    holds(&code, &["export const rpc_ = {", "(payload_, query_, at, payload, options)", " + \"/tail\", payload, "]);
    holds(&javascript::types(&modules), &["payload_: string | number, query_: string | number, at: string | number"]);
    holds(&python::code(&modules), &["payload_: str | int, query_: str | int, at: str | int, payload: "]);
    holds(&c::code(&modules), &["const char *payload_, const char *query_, const char *at, ff_body payload"]);
    holds(
        &javascript::code(&module("search", r#"{ "path": "class", "handler": "a" }"#)),
        &["search_ = {", "class_: async"],
    );
}

#[test]
fn a_query_is_an_argument_and_a_part_of_the_route() {
    let query = r#"{ "type": "object", "properties": { "day": { "type": "string" } }, "required": ["day"] }"#;
    let route = format!(r#"{{ "method": "get", "path": "{{id}}", "handler": "a", "query": {query} }}"#);
    let modules = module("shop", &route);
    holds(
        &rust::code(&modules),
        &["id: impl std::fmt::Display, query: &GetByIdQuery, ", "&encode(id), &search(query)]"],
    );
    holds(&javascript::types(&modules), &["id: string | number, query: GetByIdQuery, payload?"]);
    holds(
        &javascript::code(&modules),
        &["async (id, query, payload, options)", "encodeURIComponent(id) + search(query)"],
    );
    holds(
        &python::code(&modules),
        &["id: str | int, query: Shop_GetByIdQuery, ", "_quote(str(id), safe=\"\") + _search(query)"],
    );
    let c = c::code(&modules);
    holds(&c, &["const char *id, const shop_get_by_id_query *query, ff_body payload"]);
    holds(&c, &["ff_types_search(shop_get_by_id_query_json(query))"]);
    assert!(!rust::code(&takes("", "")).contains("fn search"), "only where a route has a query");
}

#[test]
fn values_of_c_are_plain_unless_they_may_be_null() {
    let defs = r#""amount": { "type": "number" }"#;
    holds(&c::code(&takes(r##""amount": { "$ref": "#/$defs/amount" }"##, defs)), &["double amount;"]);
    let routes = r#"{ "path": "a", "handler": "a", "gives": { "type": ["number", "null"] } },
        { "path": "b", "handler": "b", "gives": { "type": "object", "properties": { "x": {} } } }"#;
    holds(&c::code(&module("shop", routes)), &["shop_a_reply(const ff_answer *answer, const cJSON **gives)"]);
}

#[test]
fn a_route_for_tests_says_so() {
    let route = r#"{ "path": "a", "handler": "a", "middlewares": "test" }"#;
    holds(
        &rust::code(&module("shop", route)),
        &["/// The route exists only in the environments `development` and `test`."],
    );
}

#[test]
fn broadcasts_have_the_payloads_of_their_route() {
    let text = |broadcasts: &str| {
        let route = r#"{ "path": "a", "handler": "a", "takes": { "type": "string" }, "gives": { "type": "boolean" } }"#;
        format!(r#"{{ "component": "a.wasm", "routes": [{route}], "broadcasts": {{ {broadcasts} }} }}"#)
    };
    let module =
        |broadcasts: &str| model::module(&Manifest::from_text(Path::new("/modules/shop"), &text(broadcasts)).unwrap());
    let modules = [module(r#""rateChanged": { "path": "a" }"#).unwrap()];
    let rust = rust::code(&modules);
    holds(&rust, &["pub mod rate_changed {", "pub fn emit(payload: &String) -> Result<Receipt, CallError>"]);
    holds(&rust, &["options(broadcast::named(\"rateChanged\").of(\"shop\")).emit(Json(payload))"]);
    holds(&javascript::types(&modules), &["function emit(payload: string, options?: EmitOptions): Receipt;"]);
    holds(&javascript::types(&modules), &["Promise<Answer<boolean>[]>"]);
    let python = python::code(&modules);
    holds(&python, &["class rate_changed:", "def emit(payload: str, ", ") -> list[bool | _CallError]:"]);
    let c = c::code(&modules);
    holds(&c, &["shop_broadcasts_rate_changed_emit(const char *payload, const ff_broadcast *options)"]);
    holds(&c, &["bool shop_broadcasts_rate_changed_reply(const ff_entry *entry, bool *gives)"]);
    let same = module(r#""rateChanged": { "path": "a" }, "rate-changed": { "path": "a" }"#).unwrap_err().to_string();
    assert!(same.contains("has the same name in the stubs as the broadcast `rate"), "{same}");
}
