//! Handles messages of connected clients, and calls each function of `sessions` as a test asks.

mod blocking;

use std::cell::RefCell;

use common::{gate, holding, release, who};
use fanfare_sdk::caller;
use fanfare_sdk::prelude::*;
use fanfare_sdk::sessions::{Pushed, Recipient, WhenTaken};
use fanfare_sdk::wit::{sessions as raw, sessions_await as raw_await};

thread_local! {
    /// The facts of each call of a hook or a filter, in order.
    static SEEN: RefCell<Vec<Value>> = RefCell::default();
}

/// Replies with the message itself.
#[handler]
fn echo(body: Payload) -> Payload {
    body
}

/// Replies with the facts of the call and of its session.
#[handler]
fn facts(cx: Context, session: Option<Session>, body: Payload) -> Result<Json<Value>> {
    facts_of(&cx, session.as_ref(), &body).map(Json)
}

fn facts_of(cx: &Context, session: Option<&Session>, body: &Payload) -> Result<Value> {
    let message = cx.client_message();
    let session = session.map(|session| {
        Ok::<_, Failure>(json!({
            "id": session.id(), "worker": session.worker(), "uid": session.uid(), "ip": session.ip(),
            "protocol": session.protocol(), "claims": session.claims::<Value>()?, "sinceMs": session.since_ms(),
            "values": session.values()?,
        }))
    });
    Ok(json!({
        "handler": cx.handler(), "kind": cx.trigger().kind(), "origin": format!("{:?}", cx.origin()),
        "hook": cx.hook().map(|hook| &hook.name), "isolate": host::isolate(), "node": host::whoami().node, "subdomain": cx.subdomain(),
        "name": message.map(|message| &message.name), "wantsReply": message.map(|message| message.wants_reply),
        "messageSession": message.map(|message| &message.session),
        "params": cx.params(), "query": cx.query(), "extra": cx.extras(), "session": session.transpose()?,
        "body": body.as_text(), "version": config::get::<u32>("/version")?,
    }))
}

/// Sends the messages `1` to the number in the body to its own client, then replies.
#[handler]
fn burst(session: Session, count: Json<u32>) -> Result<&'static str> {
    for number in 1..=*count {
        session.send("burst", json!(number))?;
    }
    Ok("done")
}

/// Adds the body to the list in the value `log` of the session, and replies with its length. A body
/// of null adds nothing, and the reply is the list.
#[handler]
fn append(session: Session, item: Json<Value>) -> Result<Json<Value>> {
    let mut log: Vec<Value> = session.get("log")?.unwrap_or_default();
    if item.is_null() {
        return Ok(Json(log.into()));
    }
    log.push(item.0);
    session.set("log", &log)?;
    Ok(Json(log.len().into()))
}

/// Waits until `release` runs in this worker, then replies with the body. If the body is the text
/// `now` and another one, it replies with that one at once.
#[handler]
async fn hold(body: Payload) -> Payload {
    if let Some(rest) = String::from_utf8_lossy(body.as_bytes()).trim_matches('"').strip_prefix("now ") {
        return Payload::Text(rest.to_owned());
    }
    gate().await;
    body
}

/// Fails with the fields of the body.
#[handler]
fn fail(body: Json<Value>) -> Result<()> {
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let mut failure = Failure::new(text("name"), text("message")).with_data(body["data"].clone());
    if let Some(status) = body["status"].as_u64().and_then(|status| u16::try_from(status).ok()) {
        failure = failure.with_status(status);
    }
    for key in ["close-code", "silent"] {
        if let Some(value) = body[key].as_str() {
            failure = failure.with_extra(key, value);
        }
    }
    Err(failure)
}

/// Traps.
#[handler]
fn trap() -> Result<()> {
    panic!("this call traps on request")
}

/// A hook or a filter before: records its facts, then does what the value of its name in the config
/// says: `pass` (the default), `replace`, `reply`, `no status` to fail without one, or a close code
/// to fail with.
#[handler]
fn step(cx: Context, session: Option<Session>, body: Payload) -> Result<Outcome> {
    let mut seen = facts_of(&cx, session.as_ref(), &body)?;
    seen["header"] = cx.header("x-test").into();
    SEEN.with_borrow_mut(|all| all.push(seen));
    let name = match cx.hook() {
        Some(hook) => hook.name.clone(),
        None if cx.trigger().kind() == "after" => "after".to_owned(),
        None => "before".to_owned(),
    };
    let action: Option<String> = config::get(&format!("/{name}"))?;
    let marked = || json!({ "by": name, "was": body.json::<Value>().ok() });
    let pass = |payload| {
        let extra = vec![("step".to_owned(), name.clone())];
        Outcome::Pass(fanfare_sdk::types::Passed { payload, extra })
    };
    match action.as_deref() {
        None | Some("pass") => Ok(pass(None)),
        Some("replace") => Ok(pass(Some(Payload::Text(marked().to_string())))),
        Some("reply") => Ok(Outcome::Reply(Reply::new(Json(marked()))?)),
        Some("no status") => Err(Failure::new("refused", "no status").with_status(0)),
        Some(other) => {
            let failure = Failure::forbidden("refused", format!("`{name}` refuses: {other}"));
            Err(failure.with_extra("close-code", other))
        }
    }
}

/// A filter before: asks the client `ready`, and passes its answer on as the fact `ready`.
#[handler]
async fn ready(session: Session) -> Result<Outcome> {
    let answer = session.ask("ready", ()).await?;
    let extra = vec![("ready".to_owned(), answer.as_text().unwrap_or_default().to_owned())];
    Ok(Outcome::Pass(fanfare_sdk::types::Passed { payload: None, extra }))
}

/// Returns what `step` has recorded in this instance, and those before it in swaps.
#[handler]
fn seen() -> Json<Vec<Value>> {
    Json(SEEN.with_borrow(Clone::clone))
}

/// One use of a function of `sessions`: its name, and its arguments.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", tag = "do")]
enum Use {
    Current,
    Look { session: String },
    Find { uid: String },
    Get { session: Option<String>, key: String },
    Values { session: Option<String> },
    Set { session: Option<String>, values: Vec<(String, String)> },
    Remove { session: Option<String>, keys: Vec<String> },
    Bind { session: Option<String>, uid: String, taken: String },
    Unbind { session: Option<String> },
    Authenticate { session: Option<String>, claims: String, expires_ms: Option<u64> },
    Deauthenticate { session: Option<String> },
    Send { to: To, name: String, payload: Body },
    Disconnect { session: Option<String>, code: u16, reason: String },
    Join { group: String, sessions: Vec<String> },
    Leave { group: String, sessions: Vec<String> },
    Members { group: String },
    Count,
    Push { to: Vec<To>, name: String, payload: Body },
    Ask { session: String, name: String, payload: Body, timeout_ms: Option<u32> },
    Apply,
    Read { session: String },
    Write { session: String, set: Vec<(String, String)>, remove: Vec<String> },
    FindAll { uid: String },
}

/// A recipient, such as `{"uid": "ada"}` or `"everyone"`.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
enum To {
    Session(String),
    Uid(String),
    UidOn(String, String),
    Group(String),
    Bound,
    Everyone,
    Other(String, String),
}

impl From<To> for Recipient {
    fn from(to: To) -> Self {
        match to {
            To::Session(id) => Recipient::Session(id),
            To::Uid(uid) => Recipient::Uid(uid),
            To::UidOn(uid, node) => Recipient::UidOn((uid, node)),
            To::Group(group) => Recipient::Group(group),
            To::Bound => Recipient::Bound,
            To::Everyone => Recipient::Everyone,
            To::Other(kind, name) => Recipient::Other((kind, name)),
        }
    }
}

/// Null, a text, or a list of bytes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Body {
    Text(String),
    Bytes(Vec<u8>),
    None(()),
}

impl From<Body> for Payload {
    fn from(body: Body) -> Self {
        match body {
            Body::Text(text) => Payload::Text(text),
            Body::Bytes(bytes) => Payload::Bytes(bytes),
            Body::None(()) => Payload::None,
        }
    }
}

fn taken(text: &str) -> WhenTaken {
    match text {
        "share" => WhenTaken::Share,
        "replace" => WhenTaken::Replace,
        _ => WhenTaken::Refuse,
    }
}

fn record(session: fanfare_sdk::wit::types::Session) -> Value {
    json!({
        "id": session.id, "worker": session.worker, "uid": session.uid, "ip": session.ip,
        "protocol": session.protocol, "claims": session.claims, "sinceMs": session.since_ms,
    })
}

fn pushed(pushed: Pushed) -> Value {
    let unknown: Vec<String> = pushed.unknown.iter().map(|to| format!("{to:?}")).collect();
    json!({ "reached": pushed.reached, "unknown": unknown, "silent": pushed.silent })
}

/// Calls the function that the body names. Replies with its result, or with `{"error": <kind>,
/// "message": ..}`.
#[handler]
async fn use_sessions(what: Json<Use>) -> Json<Value> {
    shown(run(what.0).await)
}

/// Like `use_sessions`, with the functions of `sessions-blocking`.
#[handler]
fn use_blocking(what: Json<Use>) -> Json<Value> {
    shown(blocking::run(what.0))
}

/// One step of several.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Step {
    Use(Use),
    Blocking(Use),
    /// Waits until `release` runs in this worker.
    Hold(()),
}

/// Does what the body lists. Replies with the list of the results, which `seen` has, too.
#[handler]
async fn steps(list: Json<Vec<Step>>) -> Json<Vec<Value>> {
    let mut results = Vec::new();
    for step in list.0 {
        let result = match step {
            Step::Use(what) => run(what).await,
            Step::Blocking(what) => blocking::run(what),
            Step::Hold(()) => {
                gate().await;
                Ok(Value::Null)
            }
        };
        results.push(shown(result).0);
    }
    SEEN.with_borrow_mut(|seen| seen.push(json!(results)));
    Json(results)
}

fn shown(result: Result<Value, fanfare_sdk::wit::types::CallError>) -> Json<Value> {
    Json(result.unwrap_or_else(|error| {
        let error = CallError::from(error);
        json!({ "error": error.kind(), "message": error.to_string() })
    }))
}

async fn run(what: Use) -> Result<Value, fanfare_sdk::wit::types::CallError> {
    let call = caller();
    let id = call.unwrap_or_default();
    Ok(match what {
        Use::Current => raw::current(id).map(record).into(),
        Use::Look { session } => raw::look(call, &session)?.map(record).into(),
        Use::Find { uid } => json!(raw::find(call, &uid)?),
        Use::Get { session, key } => json!(raw::get(call, session.as_deref(), &key)?),
        Use::Values { session } => json!(raw::values(call, session.as_deref())?),
        Use::Set { session, values } => json!(raw::set(call, session.as_deref(), &values)?),
        Use::Remove { session, keys } => json!(raw::remove(call, session.as_deref(), &keys)?),
        Use::Bind { session, uid, taken: mode } => json!(raw::bind(call, session.as_deref(), &uid, taken(&mode))?),
        Use::Unbind { session } => json!(raw::unbind(call, session.as_deref())?),
        Use::Authenticate { session, claims, expires_ms } => {
            json!(raw::authenticate(call, session.as_deref(), &claims, expires_ms)?)
        }
        Use::Deauthenticate { session } => json!(raw::deauthenticate(call, session.as_deref())?),
        Use::Send { to, name, payload } => json!(raw::send(call, &to.into(), &name, &payload.into())?),
        Use::Disconnect { session, code, reason } => {
            json!(raw::disconnect(call, session.as_deref(), code, &reason)?)
        }
        Use::Join { group, sessions } => json!(raw::join(call, &group, &sessions)?),
        Use::Leave { group, sessions } => json!(raw::leave(call, &group, &sessions)?),
        Use::Members { group } => json!(raw::members(call, &group)?),
        Use::Count => json!(raw::count()),
        Use::Push { to, name, payload } => {
            let to: Vec<Recipient> = to.into_iter().map(Into::into).collect();
            pushed(raw_await::push(call, &to, &name, &payload.into()).await?)
        }
        Use::Ask { session, name, payload, timeout_ms } => {
            let answer = raw_await::ask(call, &session, &name, &payload.into(), timeout_ms).await?;
            json!({ "answer": answer.as_text() })
        }
        Use::Apply => json!(raw_await::apply(id).await?),
        Use::Read { session } => {
            let (session, values) = raw_await::read(call, &session).await?;
            json!({ "session": record(session), "values": values })
        }
        Use::Write { session, set, remove } => json!(raw_await::write(call, &session, &set, &remove).await?),
        Use::FindAll { uid } => raw_await::find(call, &uid).await?.into_iter().map(record).collect(),
    })
}

#[derive(Serialize, Deserialize)]
struct Saved {
    seen: Vec<Value>,
}

impl State for Saved {
    async fn save() -> Self {
        Saved { seen: SEEN.with_borrow(Clone::clone) }
    }

    async fn load(self, _from: &str) -> Result<()> {
        SEEN.with_borrow_mut(|seen| seen.splice(0..0, self.seen).for_each(drop));
        Ok(())
    }
}

fanfare_sdk::module! {
    handlers: [
        echo, facts, burst, append, hold, release, holding, fail, trap, step, ready, seen, use_sessions,
        use_blocking, who, steps,
    ],
    snapshot: Saved,
}
