//! Hooks in the manifest.

use super::*;
use crate::call::IsolateId;
use crate::config::unsupported;

/// A manifest with the inner routes `in` and `get and`, and the route `out`.
fn hooked(hooks: &str) -> String {
    let route = |more: &str| format!("{{\"handler\": \"h\", {more}}}");
    let routes = [
        route("\"path\": \"in\", \"middlewares\": \"inner\""),
        route("\"method\": \"get\", \"path\": \"and\", \"middlewares\": [\"inner\"]"),
        route("\"path\": \"out\""),
        route("\"path\": \"test\", \"middlewares\": [\"inner\", \"test\"]"),
    ];
    with(&format!("\"routes\": [{}], \"hooks\": {hooks}", routes.join(",")))
}

fn hook_fault(hooks: &str) -> String {
    let list = faults(&hooked(hooks));
    assert_eq!(list.len(), 1, "{list:?}");
    list[0].splitn(4, ':').nth(3).unwrap().trim().to_owned()
}

#[test]
fn a_hook_is_a_route_by_its_name() {
    let text = "{\"workerExit\": {\"path\": \"in\"}, \"stop\": {\"path\": \"get and\"}, \"masterMessage\": {\"path\": \"in\"}}";
    let manifest = load(&hooked(text)).unwrap();
    let (worker, broker, master) = (IsolateId::Worker(1), IsolateId::Broker(0), IsolateId::Master);
    let routes =
        |name: &str| [worker, broker, master].map(|isolate| manifest.hook(name, isolate).map(|hook| hook.route));
    assert_eq!(routes("workerExit"), [None, None, Some(0)]);
    assert_eq!(routes("stop"), [Some(1); 3]);
    assert_eq!(routes("masterMessage"), [Some(0), None, None]);
    assert_eq!(routes("fail"), [None; 3]);
}

#[test]
fn messages_go_to_the_isolates_that_the_hook_names() {
    let receives = |receivers: &str| {
        let hooks = format!("{{\"masterMessage\": {{\"path\": \"in\", \"in\": {receivers}}}}}");
        let manifest = load(&hooked(&hooks)).unwrap();
        [IsolateId::Worker(0), IsolateId::Broker(0)].map(|isolate| manifest.hook("masterMessage", isolate).is_some())
    };
    assert_eq!(receives("\"worker\""), [true, false]);
    assert_eq!(receives("\"broker\""), [false, true]);
    assert_eq!(receives("[\"broker\", \"worker\"]"), [true, true]);
}

#[test]
fn a_hook_with_a_fault_names_the_fault() {
    let near = "hooks.workerExits: unknown key; did you mean \"workerExit\"?";
    assert_eq!(hook_fault("{\"workerExits\": {\"path\": \"in\"}}"), near);
    let known = hook_fault("{\"zzzzzzzz\": {\"path\": \"in\"}}");
    assert!(known.contains("unknown key; valid keys: \"hostReady\"") && known.contains("\"stop\""), "{known}");
    for name in unsupported::HOOKS {
        let fault = hook_fault(&format!("{{\"{name}\": {{\"path\": \"in\"}}}}"));
        assert_eq!(fault, format!("hooks.{name}: not supported by this version yet"));
    }
    for (hook, fault) in [
        (
            "\"fail\": {\"path\": \"out\"}",
            "hooks.fail.path: must be a route with the middleware `inner`: otherwise clients could call the hook",
        ),
        (
            "\"fail\": {\"path\": \"test\"}",
            "hooks.fail.path: must be a route without the middleware `test`: a hook runs in every environment",
        ),
        (
            "\"fail\": {\"path\": \"im\"}",
            "hooks.fail.path: must be the path of a route of this module; did you mean \"in\"?",
        ),
        ("\"fail\": {}", "hooks.fail.path: is required"),
        ("\"stop\": {\"path\": \"in\", \"in\": \"worker\"}", "hooks.stop.in: unknown key; valid keys: \"path\""),
        (
            "\"masterMessage\": {\"path\": \"in\", \"in\": []}",
            "hooks.masterMessage.in: must name `worker`, `broker` or both, found an empty list",
        ),
        (
            "\"masterMessage\": {\"path\": \"in\", \"in\": \"master\"}",
            "hooks.masterMessage.in: must be one of \"worker\" and \"broker\", found \"master\"",
        ),
    ] {
        assert_eq!(hook_fault(&format!("{{{hook}}}")), fault);
    }
}
