//! Who may use the service.

use fanfare::{Config, Host, StartError};
use serde_json::json;

use super::{Client, service};
use crate::cli::project::Project;
use crate::harness::{TestHost, binary};

#[tokio::test]
async fn requests_that_a_web_page_of_another_site_makes_are_rejected() {
    let host = service(json!({})).await;
    let address = host.events().to_string();
    let (own, json_type) = (format!("http://{address}"), ("content-type", "application/json"));
    for headers in [
        vec![("origin", "http://evil.example.test")],
        vec![("origin", "null")],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site")],
        vec![("host", "evil.example.test:14440")],
        vec![("origin", own.as_str()), ("sec-fetch-site", "cross-site")],
    ] {
        for (method, path) in [("GET", "/"), ("GET", "/events"), ("POST", "/events"), ("OPTIONS", "/events")] {
            let headers = [headers.as_slice(), &[json_type]].concat();
            let answer = host.ask(method, path, &headers, r#"{"value":1}"#).await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{method} {path} {headers:?}");
            assert!(answer.header("access-control-allow-origin").is_none());
        }
    }
    assert_eq!(host.ask("GET", "/", &[], "").await.json()["emitted"], 0, "nothing was emitted");
    assert_eq!(host.metric("fanfare_events_refused_total", &["access"]).await, 24.0);
    for headers in
        [vec![("origin", own.as_str()), ("sec-fetch-site", "same-origin")], vec![("host", "localhost:14440")]]
    {
        let headers = [headers.as_slice(), &[json_type]].concat();
        assert_eq!(host.ask("POST", "/events", &headers, r#"{"value":1}"#).await.status, 200, "{headers:?}");
    }
}

const TOKEN: &str = "a-token-of-24-characters";

#[tokio::test]
async fn with_a_token_only_clients_that_send_it_are_served() {
    let host = TestHost::empty().file("token", format!("{TOKEN}\n"));
    let events = json!({ "listen": "127.0.0.1:0", "tokenFile": "token" });
    let host = host.config(json!({ "events": events })).start().await;
    for (authorization, challenge) in [
        (None, "Bearer"),
        (Some("Basic YTpi".to_owned()), "Bearer"),
        (Some(format!("Bearer {TOKEN}x")), "Bearer error=\"invalid_token\""),
        (Some(format!("Bearer {}", &TOKEN[1..])), "Bearer error=\"invalid_token\""),
    ] {
        for (method, path) in [("GET", "/"), ("GET", "/events"), ("POST", "/events"), ("GET", "/other")] {
            let headers: Vec<_> = authorization.as_deref().map(|value| ("authorization", value)).into_iter().collect();
            let answer = host.ask(method, path, &headers, r#"{"value":1}"#).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{method} {path}");
            assert_eq!(answer.header("www-authenticate"), Some(challenge));
            assert!(!answer.text().contains(TOKEN));
        }
    }
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json"), ("host", "events.test")];
    assert_eq!(host.ask("POST", "/events", &headers, r#"{"value":1}"#).await.status, 200, "under any name");
    assert_eq!(host.ask("GET", "/", &headers, "").await.json()["emitted"], 1);
}

#[tokio::test]
async fn the_commands_send_the_token_of_a_variable_and_the_settings_do_not_show_it() {
    let project = Project::with(&[]);
    let project = project.config(json!({ "events": { "listen": "127.0.0.1:0", "tokenVariable": "SERVICE_TOKEN" } }));
    let mut serve = project.command(&["serve"]);
    serve.env("SERVICE_TOKEN", TOKEN);
    let mut serving = project.start(serve).await;
    let address = serving.line().await.trim_start_matches("events http://").to_owned();
    let publish = async |token: Option<&str>| {
        let mut command = project.command(&["publish", "a", "1", "--service", &address]);
        if let Some(token) = token {
            command.env("FANFARE_TOKEN", token);
        }
        crate::cli::project::CommandOutput::of(command).await
    };
    let without = publish(None).await;
    assert_eq!(without.code, 1);
    assert!(without.err.contains("unauthorized (401): the request has no token"), "{}", without.err);
    assert_eq!(publish(Some(TOKEN)).await.code, 0);
    let mut config = project.command(&["config"]);
    config.env("SERVICE_TOKEN", TOKEN);
    let shown = crate::cli::project::CommandOutput::of(config).await;
    assert!(shown.out.contains("events.tokenVariable = \"SERVICE_TOKEN\""), "{}", shown.out);
    assert!(!shown.out.contains(TOKEN) && !serving.log().contains(TOKEN));
}

#[tokio::test]
async fn a_service_that_others_could_reach_or_an_unusable_token_is_no_start() {
    let dir = crate::harness::TempDir::new();
    let faults =
        |events: &str| Config::from_text(&format!("{{\"events\": {events}}}"), dir.path()).unwrap_err().to_string();
    let open = faults(r#"{"listen": "0.0.0.0:14440"}"#);
    assert!(
        open.contains("events.listen: must be a loopback address") && open.contains("found 0.0.0.0:14440"),
        "{open}"
    );
    let both = faults(r#"{"tokenFile": "a", "tokenVariable": "B"}"#);
    assert!(both.contains("events.tokenVariable: must not be set together with events.tokenFile"), "{both}");
    let connects = faults(r#"{"listen": "127.0.0.1:1", "connect": "http://127.0.0.1:2"}"#);
    assert!(connects.contains("events.connect: must not be set together with events.listen"), "{connects}");
    let overlap = faults(r#"{"listen": "127.0.0.1:8081"}"#);
    assert!(overlap.contains("events.listen: must not overlap admin.listen"), "{overlap}");

    let bind = |events: &str| {
        let config = Config::from_text(&format!("{{\"events\": {events}, \"http\": {{\"listen\": \"127.0.0.1:0\"}}, \"admin\": {{\"listen\": \"127.0.0.1:0\"}}}}"), dir.path()).unwrap();
        Host::builder().config(config).compiler(binary()).bind()
    };
    dir.write("short", "secret\n");
    for (events, reason) in [
        (r#"{"listen": "127.0.0.1:0", "tokenFile": "missing"}"#, "events.tokenFile: "),
        (r#"{"listen": "127.0.0.1:0", "tokenFile": "short"}"#, "must have 16 to 4096"),
        (
            r#"{"listen": "127.0.0.1:0", "tokenVariable": "NOT_SET"}"#,
            "events.tokenVariable: the variable NOT_SET is not set",
        ),
    ] {
        let Err(error) = bind(events) else { panic!("{events} starts") };
        assert!(error.to_string().contains(reason) && !error.to_string().contains("secret"), "{error}");
    }
    let mut config = Config::defaults(dir.path()).unwrap();
    config.events.listen = Some(([0, 0, 0, 0], 0).into());
    let Err(error) = Host::builder().config(config).compiler(binary()).bind() else { panic!("it starts") };
    assert!(matches!(error, StartError::EventAddress { .. }), "{error}");
}
