use super::*;

/// Returns the index of the route that the `path` of a broadcast refers to.
fn meant(routes: &[&str], path: &str) -> Result<usize, String> {
    let text = routed(routes, &format!("\"broadcasts\": {{\"b\": {{\"path\": \"{path}\"}}}}"));
    load(&text).map(|manifest| manifest.broadcasts["b"]).map_err(|error| error.to_string())
}

#[test]
fn two_routes_with_the_same_method_and_shape_are_rejected() {
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
fn invalid_paths_are_rejected() {
    let list = faults(&routed(&["get a//b"], ""));
    assert!(list[0].contains("routes[0].path: must have no empty segment (`//`), found \"a//b\""), "{list:?}");
}

#[test]
fn a_reference_without_a_method_means_post_or_the_only_route() {
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
fn a_startup_may_not_run_a_route_with_the_middleware_test() {
    let text = |startup: &str| {
        let routes = r#"[{ "path": "a", "handler": "h" }, { "path": "b", "handler": "h", "middlewares": ["test"] }]"#;
        with(&format!("\"routes\": {routes}, \"startups\": {{\"s\": {{\"path\": \"{startup}\"}}}}"))
    };
    assert!(load(&text("a")).is_ok());
    let fault = &faults(&text("b"))[0];
    assert!(fault.contains("startups.s.path: must be a route without the middleware `test`"), "{fault}");
}

#[test]
fn a_durable_broadcast_has_attempts_and_a_backoff_and_another_one_has_none() {
    use crate::registry::Durable;
    let load = |more: &str| {
        let broadcast = format!("\"broadcasts\": {{\"b\": {{\"path\": \"a\"{more}}}}}");
        load(&routed(&["post a"], &broadcast)).map(|manifest| manifest.durable.get("b").copied())
    };
    let durable = |attempts, backoff| Some(Durable { attempts, backoff: std::time::Duration::from_millis(backoff) });
    assert_eq!(load("").unwrap(), None);
    assert_eq!(load(", \"delivery\": \"direct\"").unwrap(), None);
    assert_eq!(load(", \"delivery\": \"durable\"").unwrap(), durable(5, 1_000));
    let own = load(", \"delivery\": \"durable\", \"attempts\": 100, \"backoff\": \"10ms\"");
    assert_eq!(own.unwrap(), durable(100, 10));
    let refused = load(", \"attempts\": 2, \"backoff\": 10").unwrap_err().to_string();
    for key in ["attempts", "backoff"] {
        let fault = format!("broadcasts.b.{key}: is for broadcasts that are kept: add `\"delivery\": \"durable\"`");
        assert!(refused.contains(&fault), "{refused}");
    }
    for more in ["\"attempts\": 0", "\"attempts\": 101", "\"backoff\": 9", "\"backoff\": 60001"] {
        assert!(load(&format!(", \"delivery\": \"durable\", {more}")).is_err(), "{more}");
    }
    assert!(load(", \"delivery\": \"sometimes\"").unwrap_err().to_string().contains("broadcasts.b.delivery"));
}

#[test]
fn a_module_with_fresh_instances_may_not_have_broadcasts() {
    let text = |more: &str| routed(&["post a"], &format!("\"isolation\": \"fresh\", \"broadcasts\": {{{more}}}"));
    assert_eq!(load(&text("")).unwrap().isolation, Isolation::Fresh);
    assert!(
        faults(&text("\"b\": {\"path\": \"a\"}"))[0]
            .contains("isolation: must be \"resident\" for a module with broadcasts")
    );
}
