//! Connected clients in the in-memory host.

use fanfare_sdk::prelude::*;
use fanfare_sdk::sessions::{self, Recipient, WhenTaken};
use fanfare_sdk::testing::Rejection;
use fanfare_sdk::types::{Level, Passed};

const MANIFEST: &str = r#"{
    "routes": [
        { "path": "sign-in", "handler": "sign_in", "middlewares": "session" },
        { "path": "say", "handler": "say", "middlewares": "session" },
        { "path": "ask", "handler": "ask", "middlewares": "session" },
        { "path": "token", "handler": "token", "middlewares": "session" },
        { "path": "facts", "handler": "facts", "middlewares": "session" },
        { "path": "kick", "handler": "kick", "middlewares": "session" },
        { "path": "push", "handler": "push", "middlewares": "session" },
        { "path": "open", "handler": "open" },
        { "path": "hook", "handler": "hook", "middlewares": "inner" },
        { "path": "mark", "handler": "mark", "middlewares": "inner" },
        { "path": "wrap", "handler": "wrap", "middlewares": "inner" },
    ],
    "sockets": { "live/{room}": { "path": "facts" }, "live/main": { "path": "say" },
        "other": { "module": "game", "path": "say" } },
    "hooks": {
        "upgrade": { "path": "hook" },
        "connect": { "path": "hook" },
        "authenticate": { "path": "hook" },
        "disconnect": { "path": "hook" },
    },
    "filters": { "before": ["mark"], "after": ["wrap"] },
    "capabilities": { "sessions": true },
}"#;

#[handler]
fn sign_in(session: Session, name: Json<String>, taken: Query<Option<String>>) -> Result<()> {
    let taken = match taken.as_deref() {
        Some("share") => WhenTaken::Share,
        Some("replace") => WhenTaken::Replace,
        _ => WhenTaken::Refuse,
    };
    session.bind(&name, taken)?;
    session.set("name", &*name)?;
    session.join("lobby")?;
    Ok(())
}

/// Sends the text to the group, then replies with the number of members that it reached.
#[handler]
async fn say(text: Text) -> Result<Json<u32>> {
    let group = Recipient::Group("lobby".to_owned());
    Ok(Json(sessions::push([group, Recipient::Uid("nobody".to_owned())], "said", &text.0).await?.reached))
}

#[handler]
async fn ask(session: Session, question: Text) -> Result<String> {
    let answer = session.ask("question", question).await?;
    Ok(answer.as_text().unwrap_or_default().to_owned())
}

#[handler]
fn token(session: Session) -> Result<()> {
    session.authenticate(&json!({ "uid": 7 }))
}

#[handler]
fn facts(session: Session, cx: Context, body: Payload) -> Result<Json<Value>> {
    Ok(Json(json!({
        "name": cx.client_message().map(|message| &message.name), "params": cx.params(), "body": body.as_text(),
        "extra": cx.extra("test.mark"), "uid": session.uid(), "claims": session.claims::<Value>()?,
        "values": session.values()?, "count": sessions::count(),
    })))
}

/// Pushes to everyone, to those that are bound, and twice to a user who is not connected. Replies
/// with the result.
#[handler]
async fn push() -> Result<Json<Value>> {
    let nobody = || Recipient::Uid("nobody".to_owned());
    let pushed = sessions::push([Recipient::Everyone, Recipient::Bound, nobody(), nobody()], "note", ()).await?;
    let unknown: Vec<String> = pushed.unknown.iter().map(|to| format!("{to:?}")).collect();
    Ok(Json(json!([pushed.reached, unknown])))
}

#[handler]
fn kick(session: Session) -> Result<()> {
    Ok(session.disconnect(4001, "kicked")?)
}

/// Answers every caller, also without a session.
#[handler]
fn open(session: Option<Session>) -> String {
    format!("{:?}", session.map(|session| session.id().to_owned()))
}

/// Records the hook, and rejects what the config names.
#[handler]
fn hook(cx: Context, session: Option<Session>, body: Payload) -> Result<Outcome> {
    let name = &cx.hook().ok_or("no hook")?.name;
    let path = fanfare_sdk::http::head(cx.id()).map(|head| head.path);
    debug!("{name} {} {} {:?}", path.unwrap_or_default(), cx.query(), cx.param("room"));
    info!(
        "{name} {} {}",
        session.map_or("-".to_owned(), |session| format!("{:?}", session.uid())),
        body.as_text().unwrap_or_default()
    );
    match config::get::<String>(&format!("/{name}"))?.as_deref() {
        Some("replace") => {
            let payload = Some(Payload::Text(r#"{"replaced":true}"#.to_owned()));
            Ok(Outcome::Pass(Passed { payload, extra: Vec::new() }))
        }
        Some(code) => {
            let mut failure = Failure::new("rejected", "no").with_status(403);
            failure.extra.push(("close-code".to_owned(), code.to_owned()));
            Err(failure)
        }
        None => Ok(Outcome::Pass(Passed { payload: None, extra: Vec::new() })),
    }
}

/// A filter before: marks the message, refuses `"bad"` and answers `"known"`.
#[handler]
fn mark(cx: Context, body: Payload) -> Result<Outcome> {
    match body.as_text() {
        Some("bad") => Err(Failure::forbidden("bad-word", "not here")),
        Some("out") => Err(Failure::forbidden("out", "go away").with_extra("close-code", "4403")),
        Some("known") => Ok(Outcome::Reply(Reply::new("from the filter")?)),
        _ => {
            let extra = vec![("mark".to_owned(), cx.extra("for").unwrap_or_default().to_owned())];
            Ok(Outcome::Pass(Passed { payload: None, extra }))
        }
    }
}

/// A filter after: replaces the reply `"1"`.
#[handler]
fn wrap(body: Payload) -> Outcome {
    let payload = (body.as_text() == Some("1")).then(|| Payload::Text("one".to_owned()));
    Outcome::Pass(Passed { payload, extra: Vec::new() })
}

fanfare_sdk::module!(sign_in, say, ask, token, facts, push, kick, open, hook, mark, wrap);

fn host() -> TestHost {
    TestHost::builder(Module).manifest(MANIFEST).workers(2).start()
}

#[test]
fn messages_reach_groups_users_and_the_client_itself() {
    let host = host();
    let [ada, bob] = ["ada", "bob"].map(|name| {
        let client = host.connect().open().unwrap();
        client.request("sign-in", json!(name)).unwrap();
        client
    });
    let reached = ada.request("test.say", "hello").unwrap();
    assert_eq!(reached.as_text(), Some("2"));
    for client in [&ada, &bob] {
        let received = client.received();
        assert_eq!((received[0].name.as_str(), received[0].payload.as_text()), ("said", Some("hello")));
    }
    assert_eq!((ada.session().uid.as_deref(), ada.value("name")), (Some("ada"), json!("ada")));
    bob.disconnect(1000, "");
    assert_eq!(ada.request("/say", "alone").unwrap().as_text(), Some("one"), "the filter replaced 1");
}

#[test]
fn a_user_is_refused_shared_or_replaced() {
    let host = host();
    let [first, second, third] = [0, 1, 0].map(|worker| host.connect().on(worker).open().unwrap());
    first.request("sign-in", json!("ada")).unwrap();
    assert_eq!(second.request("sign-in", json!("ada")).unwrap_err().kind(), "failure");
    second.request("sign-in?taken=share", json!("ada")).unwrap();
    third.request("sign-in?taken=replace", json!("ada")).unwrap();
    assert_eq!((first.closed().unwrap().0, second.closed().unwrap().0, third.closed()), (4010, 4010, None));
    assert_eq!(first.request("say", "x").unwrap_err().kind(), "unavailable");
}

#[test]
fn only_clients_reach_routes_with_the_middleware_session() {
    let host = host();
    let client = host.connect().open().unwrap();
    assert_eq!(host.call("say", "x").unwrap_err().kind(), "forbidden");
    assert_eq!(client.request("open", "x").unwrap_err().kind(), "forbidden");
    assert_eq!(client.request("hook", "x").unwrap_err().kind(), "forbidden");
    assert_eq!(client.request("gone", "x").unwrap_err().kind(), "not-found");
    assert_eq!(client.request("other.say", "x").unwrap_err().kind(), "not-found");
    assert_eq!(host.call("open", ()).unwrap().text(), "None");
}

#[test]
fn filters_pass_facts_refuse_and_answer() {
    let host = host();
    let client = host.connect().open().unwrap();
    let facts: Value = client.request("facts", "hello").unwrap().json().unwrap();
    assert_eq!(
        (&facts["extra"], &facts["body"], &facts["name"]),
        (&json!("POST facts"), &json!("hello"), &json!("facts"))
    );
    assert_eq!(client.request("facts", "known").unwrap().as_text(), Some("from the filter"));
    let refused = client.request("facts", "bad").unwrap_err();
    assert_eq!(refused.failure().unwrap().name, "bad-word");
}

#[test]
fn a_plain_socket_has_parameters_and_receives_replies_as_messages() {
    let host = host();
    let client = host.connect().socket("live/7").open().unwrap();
    client.send("", "hello").unwrap();
    let received = client.received();
    let facts: Value = received[0].payload.json().unwrap();
    assert_eq!((&facts["name"], &facts["params"]), (&json!("live/{room}"), &json!([["room", "7"]])));
    let main = host.connect().socket("live/main").open().unwrap();
    main.send("", "x").unwrap();
    assert_eq!(main.received()[0].payload.as_text(), Some("0"));
    let other = host.connect().socket("other").open().unwrap();
    assert!(matches!(other.request("", "x"), Err(CallError::NotFound(_))));
    let Err(Rejection::Status(404, _)) = host.connect().socket("gone").open() else { panic!() };
}

#[test]
fn hooks_admit_clients_and_tokens() {
    let host = host();
    let client = host.connect().data("hi").claims(json!({ "uid": 1 })).open().unwrap();
    assert_eq!(client.session().claims.as_deref(), Some(r#"{"uid":1}"#));
    client.request("token", ()).unwrap();
    assert_eq!(client.session().claims.as_deref(), Some(r#"{"uid":7}"#));
    client.request("kick", ()).unwrap();
    host.settle();
    assert_eq!(client.closed(), Some((4001, "kicked".to_owned())));
    assert_eq!(
        logs(&host, Level::Info),
        [
            "upgrade - ",
            "connect None hi",
            r#"authenticate None {"uid":1}"#,
            r#"disconnect None {"code":4001,"reason":"kicked"}"#
        ]
    );

    host.set_config("authenticate", json!("replace"));
    let client = host.connect().claims(json!({ "uid": 1 })).open().unwrap();
    assert_eq!(client.session().claims.as_deref(), Some(r#"{"replaced":true}"#));
    host.set_config("authenticate", json!("4000"));
    let client = host.connect().claims(json!({ "uid": 1 })).open().unwrap();
    assert_eq!((client.session().claims, client.closed().unwrap().0), (None, 4000));
    host.set_config("authenticate", json!("no code"));
    let client = host.connect().claims(json!({ "uid": 1 })).open().unwrap();
    assert_eq!((client.session().claims.as_ref(), client.closed()), (None, None), "connected, but not authenticated");
    assert!(client.authenticate(&json!({})).is_err());
    host.set_config("connect", json!("4123"));
    let Err(Rejection::Closed(4123, _)) = host.connect().open() else { panic!() };
    let Err(Rejection::Status(403, _)) = host.connect().socket("live/7").open() else { panic!() };
    host.set_config("connect", json!("1001"));
    let Err(Rejection::Closed(4008, _)) = host.connect().open() else { panic!("only codes of modules") };
    host.set_config("upgrade", json!("4000"));
    let Err(Rejection::Status(403, _)) = host.connect().open() else { panic!() };
}

fn logs(host: &TestHost, level: Level) -> Vec<String> {
    host.logs().into_iter().filter(|line| line.level == level).map(|line| line.message).collect()
}

#[test]
fn the_hooks_of_a_client_read_its_request_and_the_parameters_of_its_socket() {
    let host = host();
    let plain = host.connect().socket("live/7?a=b").open().unwrap();
    plain.disconnect(4000, "");
    host.settle();
    let _client = host.connect().open().unwrap();
    assert_eq!(
        logs(&host, Level::Debug),
        [
            r#"upgrade /api/test/live/7 a=b Some("7")"#,
            r#"connect /api/test/live/7 a=b Some("7")"#,
            r#"disconnect  a=b Some("7")"#,
            "upgrade /socketcluster/  None",
            "connect /socketcluster/  None"
        ]
    );
}

#[test]
fn a_failure_with_a_close_code_closes_the_connection() {
    let host = host();
    for socket in [None, Some("live/main")] {
        let connect = host.connect();
        let client = socket.map_or(host.connect(), |socket| connect.socket(socket)).open().unwrap();
        assert!(client.request("say", "out").is_err());
        assert_eq!(client.closed().unwrap().0, 4403, "{socket:?}");
    }
}

#[test]
fn a_push_counts_a_recipient_once_and_reports_the_unknown() {
    let host = host();
    let client = host.connect().open().unwrap();
    let pushed: Value = client.request("push", ()).unwrap().json().unwrap();
    assert_eq!(pushed, json!([1, ["Recipient::Uid(\"nobody\")"]]));
    assert_eq!(client.received().len(), 1);
}

#[test]
fn a_client_answers_questions() {
    let host = host();
    let client = host.connect().open().unwrap();
    assert_eq!(client.request("ask", "who?").unwrap_err().failure().unwrap().status, 504);
    client.answer("question", |question| Ok(Payload::Text(format!("{} me", question.as_text().unwrap_or_default()))));
    assert_eq!(client.request("ask", "who?").unwrap().as_text(), Some("who? me"));
}

#[test]
fn a_swap_and_a_restart_keep_the_session() {
    let host = host();
    let client = host.connect().open().unwrap();
    client.request("sign-in", json!("ada")).unwrap();
    host.swap();
    host.restart(0);
    let facts: Value = client.request("facts", ()).unwrap().json().unwrap();
    assert_eq!(
        (&facts["uid"], &facts["values"], &facts["count"]),
        (&json!("ada"), &json!({ "name": "ada" }), &json!([1, 1]))
    );
}
