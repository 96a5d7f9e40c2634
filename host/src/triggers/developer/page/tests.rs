use super::*;

const ORIGIN: &str = "http://127.0.0.1:8080";

fn shown(module: DeveloperModule) -> String {
    html(&[module], &[], ORIGIN, true)
}

fn module(routes: &[(Method, &str, Option<AccessError>)]) -> DeveloperModule {
    let route = |(method, path, closed): &(Method, &str, Option<AccessError>)| DeveloperRoute {
        method: method.clone(),
        path: (*path).into(),
        closed: *closed,
    };
    let routes = routes.iter().map(route).collect();
    DeveloperModule { name: "flags".into(), state: "ready".into(), routes, ..DeveloperModule::default() }
}

fn schedule() -> DeveloperSchedule {
    DeveloperSchedule { name: "clean".into(), when: "every 5s".into(), route: "POST sweep".into(), results: Vec::new() }
}

fn result(text: &str, failure: &str) -> DeveloperResult {
    DeveloperResult { text: text.into(), failure: Some(failure.into()) }
}

#[track_caller]
fn assert_has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[test]
fn a_get_route_is_a_link_and_another_route_has_a_form() {
    let text = shown(module(&[(Method::GET, "", None), (Method::PUT, "{name}", None)]));
    assert_has(
        &text,
        &[
            "<th role=\"rowheader\" scope=\"row\"><b>GET</b> <code>/api/flags/</code></th>",
            "<a href=\"/api/flags/\">Open /api/flags/</a>",
            "curl &#39;http://127.0.0.1:8080/api/flags/&#39;",
            "<form hidden data-method=\"PUT\" data-path=\"/api/flags/{name}\" aria-label=\"PUT /api/flags/{name}\">",
            "<label>name <input data-param=\"name\" required",
            "<option value=\"application/json\" selected>JSON",
            "curl -X PUT &#39;http://127.0.0.1:8080/api/flags/name&#39; -H",
            "<caption>Routes</caption>",
        ],
    );
    assert_eq!(text.matches("<form").count(), 1);
}

#[test]
fn a_get_route_with_parameters_has_a_form_without_a_body_and_delete_sends_none() {
    let text = shown(module(&[(Method::GET, "{one}/{two}", None)]));
    assert_has(&text, &["data-param=\"one\"", "data-param=\"two\""]);
    assert!(!text.contains("<textarea"), "{text}");
    let text = shown(module(&[(Method::DELETE, "x", None)]));
    assert_has(&text, &["<option value=\"\" selected>None"]);
}

#[test]
fn a_closed_route_says_why_and_an_inner_one_has_the_command_of_the_operator() {
    let closed = [(AccessError::Inner, "inner"), (AccessError::Session, "session"), (AccessError::Test, "test")];
    for (why, tag) in closed {
        let text = shown(module(&[(Method::POST, "set/{name}", Some(why))]));
        assert_has(&text, &[&format!("<span class=\"tag\">{tag}</span>"), &format!("The route is {tag}: ")]);
        assert!(!text.contains("<form"), "{text}");
        let command = "fanfare call -X POST flags &#39;set/name&#39;";
        assert_eq!(text.contains(command), why == AccessError::Inner, "{text}");
    }
}

#[test]
fn only_a_reader_on_this_machine_emits_and_sees_grants_and_errors() {
    let module = DeveloperModule {
        generation: Some("12ab".into()),
        grants: vec!["rpc: chat".into()],
        errors: vec!["worker-0: it trapped".into()],
        notes: vec!["pinned by a rollback".into()],
        subscriptions: vec![result("s: event a/*", "no stock")],
        schedules: vec![DeveloperSchedule { results: vec![result("The last run failed", "no room")], ..schedule() }],
        broadcasts: vec!["set/it".into()],
        ..module(&[])
    };
    let modules = [module];
    let notices = ["modules/x.wasm is not loaded".to_owned()];
    let page = |is_local| html(&modules, &notices, ORIGIN, is_local);
    let (local, other) = (page(true), page(false));
    let secret = [
        "data-path=\"/developer/modules/flags/broadcasts/set%2Fit\"",
        "rpc: chat",
        "<dd class=\"bad\">worker-0: it trapped</dd>",
        "<dt>Note</dt><dd>pinned by a rollback</dd>",
        "<dd class=\"bad\">no stock</dd>",
        "<p class=\"bad\">no room</p>",
        "<p class=\"notice\" role=\"note\">modules/x.wasm is not loaded</p>",
    ];
    assert_has(&local, &secret);
    for part in secret {
        assert!(!other.contains(part), "{part} in {other}");
    }
    for page in [local, other] {
        assert_has(&page, &["<dt>Subscriptions</dt><dd>s: event a/*</dd>", "<p>The last run failed</p>"]);
        assert_has(&page, &["<code>12ab</code>", "fanfare emit --gather flags &#39;set/it&#39; &#39;{}&#39;"]);
    }
}

#[test]
fn every_socket_has_a_line_for_the_console() {
    let text = shown(DeveloperModule { sockets: vec!["room/{room}".into(), "a\"b".into()], ..module(&[]) });
    assert_has(
        &text,
        &[
            "<b>WS</b> <code>/api/flags/room/{room}</code>",
            "new WebSocket(&quot;ws://127.0.0.1:8080/api/flags/room/room&quot;)",
            r"/api/flags/a\&quot;b&quot;",
        ],
    );
}

#[test]
fn startups_and_hooks_are_listed_with_their_routes() {
    let text = shown(module(&[]));
    assert!(!text.contains("Startups") && !text.contains("Hooks") && !text.contains("Subscriptions"), "{text}");
    let (startups, hooks) = (vec!["POST warm".into()], vec!["stop: POST leave".into()]);
    let text = shown(DeveloperModule { startups, hooks, ..module(&[]) });
    assert_has(&text, &["<dt>Startups</dt><dd>POST warm</dd>", "<dt>Hooks</dt><dd>stop: POST leave</dd>"]);
}

#[test]
fn a_schedule_and_its_route_have_the_command_that_runs_it() {
    let schedule = schedule();
    let routes = [(Method::POST, "sweep", Some(AccessError::Inner)), (Method::POST, "x", Some(AccessError::Inner))];
    let text = shown(DeveloperModule { schedules: vec![schedule], ..module(&routes) });
    let command = "fanfare schedules run flags &#39;clean&#39;";
    assert_has(&text, &["<caption>Schedules</caption>", "<code>clean</code>", "every 5s", "<code>POST sweep</code>"]);
    assert_eq!(text.matches(command).count(), 2, "the schedule, and its route: {text}");
    assert_has(&text, &["fanfare call -X POST flags &#39;x&#39;"]);
    assert!(!text.contains("flags &#39;sweep&#39;"), "{text}");
}

#[test]
fn a_schedule_of_a_program_has_no_route() {
    let schedule = DeveloperSchedule { route: String::new(), ..schedule() };
    let text = shown(DeveloperModule { schedules: vec![schedule], ..module(&[]) });
    assert_has(&text, &["<p>Runs the program.</p>", "fanfare schedules run flags &#39;clean&#39;"]);
}

#[test]
fn names_are_escaped_for_the_page_and_the_shell() {
    let evil = "failed: <script>alert(\"1\")</script>".to_owned();
    let module = DeveloperModule {
        state: evil.clone(),
        grants: vec![evil.clone()],
        errors: vec![evil.clone()],
        notes: vec![evil.clone()],
        hooks: vec![evil.clone()],
        subscriptions: vec![result(&evil, &evil)],
        broadcasts: vec![evil.clone()],
        sockets: vec![evil.clone()],
        ..module(&[(Method::GET, "'; rm -rf ~ #<script>", None), (Method::PUT, "<script>", None)])
    };
    let text = html(&[module], std::slice::from_ref(&evil), "http://x\"><script>'", true);
    assert_eq!(text.matches("<script").count(), 1, "only the script of the page: {text}");
    let command = r"&#39;http://x&quot;&gt;&lt;script&gt;&#39;\&#39;&#39;/api/flags/&#39;\&#39;&#39;; rm";
    assert_has(&text, &[command]);
}

#[test]
fn a_page_without_modules_says_how_to_add_one() {
    let text = html(&[], &[], "http://h", true);
    assert_has(
        &text,
        &[
            "There are no modules yet",
            "<a href=\"/developer/docs/first-module.md\">first-module</a>: create, build",
            "href=\"/developer/docs/\"",
        ],
    );
}
