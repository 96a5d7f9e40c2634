//! The module of `sdk/cases` in Rust.

mod calls;
mod clients;
mod live;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher, RandomState};

use common::{gate, release};
use fanfare_sdk::prelude::*;
use fanfare_sdk::types::{Passed, Startup};
use fanfare_sdk::{http, master as program};

thread_local! {
    /// The memory of the module in its worker.
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static STARTED: RefCell<Option<Startup>> = const { RefCell::new(None) };
}

/// Returns the kind of the error of a function, or `none`.
fn kind_of<T>(result: Result<T, CallError>) -> String {
    result.err().map_or_else(|| "none".to_owned(), |error| error.kind().to_owned())
}

fn no_user() -> Failure {
    Failure::new("no-user", "log in first").with_status(401)
}

// What a handler receives, and what it returns.

#[handler]
fn echo(body: Payload) -> Payload {
    body
}

#[handler]
fn greet(name: Path<String>) -> String {
    format!("Hello, {}", *name)
}

#[handler(name = "kebab-name")]
fn named(cx: Context) -> String {
    cx.handler().to_owned()
}

#[handler]
fn query(cx: Context) -> Json<HashMap<String, String>> {
    // Of a repeated name, the first value.
    let mut all: HashMap<String, String> = cx.query_pairs().into_iter().rev().collect();
    all.insert("raw".to_owned(), cx.query().to_owned());
    Json(all)
}

#[handler]
fn request(cx: Context) -> Json<Value> {
    let head = cx.head();
    Json(json!({
        "method": cx.method().map(|method| method.as_str()), "trigger": cx.trigger().kind(),
        "origin": cx.origin().kind(), "color": cx.header("x-color"), "same": http::header(cx.id(), "X-Color"),
        "none": cx.header("x-none"), "listed": cx.headers().iter().any(|(name, _)| name == "host"),
        "path": head.as_ref().map(|head| &head.path), "scheme": head.as_ref().map(|head| &head.scheme),
        "deadline": !cx.time_left().is_zero() && cx.id() > 0,
    }))
}

#[handler]
async fn json(body: Json<Value>) -> Json<Value> {
    Json(json!({ "got": body.0 }))
}

#[handler]
fn text(body: Text) -> Json<Value> {
    Json(json!({ "length": body.chars().count() }))
}

#[handler]
fn reversed(mut body: Bytes) -> Bytes {
    body.reverse();
    body
}

#[handler]
fn number() -> Json<u32> {
    Json(42)
}

#[handler]
fn nothing() {}

#[handler]
fn made() -> Result<Reply> {
    let reply = Reply::new(Json(json!({ "made": true })))?;
    Ok(reply.with_status(201).with_header("X-Color", "red").with_header("location", "/made/1"))
}

#[handler]
async fn later() -> Result<&'static str> {
    rpc::call("/echo", ()).await?;
    Ok("later")
}

#[handler(name = "gate")]
fn pass_gate(cx: Context, body: Text, level: Query<String>) -> Result<Passed> {
    let user = cx.header("x-user").ok_or_else(no_user)?;
    Ok(Passed::new().with_payload(body.to_uppercase())?.with_extra("user", user).with_extra("level", &*level))
}

#[handler]
fn gated(cx: Context, body: Text, level: Query<Option<String>>) -> Json<Value> {
    Json(json!({ "user": cx.extra("conformance.user"), "payload": *body, "level": *level }))
}

// Failures.

#[handler]
fn fail() -> Result<()> {
    Err(Failure::not_found("no-such-flag", "there is no flag `dark`").with_data(json!({ "flag": "dark" })))
}

#[handler]
async fn fault() -> Result<()> {
    rpc::call("/echo", ()).await?;
    Err("out of cheese".into())
}

/// JSON has no keys that are lists.
#[handler]
fn unsendable() -> Json<BTreeMap<[u8; 1], u8>> {
    Json(BTreeMap::from([([1], 1)]))
}

#[handler]
fn state() -> Json<Value> {
    CALLS.set(CALLS.get() + 1);
    Json(json!({ "calls": CALLS.get() }))
}

#[derive(Serialize, Deserialize)]
struct Saved {
    calls: u64,
}

impl State for Saved {
    async fn save() -> Self {
        Saved { calls: CALLS.get() }
    }

    async fn load(self, _: &str) -> Result<()> {
        CALLS.set(self.calls);
        Ok(())
    }
}

/// Waits until another call of this instance runs `release`.
#[handler]
async fn hold(body: Text) -> Result<String> {
    gate().await;
    let echoed = rpc::call("/echo", body).await?;
    info!("released {} of the held calls", echoed.text());
    Ok(echoed.text().to_owned())
}

#[handler]
fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

#[handler]
fn random() -> Json<u64> {
    Json(RandomState::new().build_hasher().finish())
}

// The host, its log, config and options.

#[handler]
fn whoami() -> Json<Value> {
    let me = host::whoami();
    Json(json!({
        "node": me.node, "server": me.server, "isolate": me.isolate, "workers": me.workers, "module": me.module,
        "generation": me.generation,
    }))
}

#[handler]
fn note() {
    info!("sold a hat"; "shop" => "main", "left" => 3);
    println!("printed {:?}", (1, "two"));
}

#[handler]
fn settings() -> Result<Json<Value>> {
    let at = config::get::<Value>;
    let all: Value = config::all()?;
    Ok(Json(json!({ "word": at("/word")?, "second": at("/list/1")?, "none": at("/none")?, "all": all })))
}

#[handler]
fn options() -> Result<Json<Value>> {
    let at = program::options::<Value>;
    Ok(Json(json!({ "environment": at("/environment")?, "workers": at("/workers")?, "none": at("/none")? })))
}

#[handler]
fn cluster() -> Json<Value> {
    let me = host::whoami();
    let found = nodes::get(&me.node);
    let found = found.as_ref();
    Json(json!({
        "all": nodes::list().iter().map(|node| node.id == me.node).collect::<Vec<_>>(),
        "mine": nodes::of_type(&me.server).len(),
        "others": nodes::of_type("no-such-type").len(),
        "unknown": nodes::get("no-such-node"),
        "frontend": found.map(|node| node.frontend),
        "workers": found.map(|node| node.workers == me.workers),
        "settings": found.map(|node| node.settings.clone()),
        "since": found.is_some_and(|node| node.since_ms > 1_700_000_000_000),
    }))
}

#[handler]
async fn master(body: Text) -> Result<Json<Value>> {
    let sent = program::send(&*body).await;
    let reply: Option<Value> = sent.as_ref().ok().map(Payload::json).transpose()?;
    let failure = match &sent {
        Err(CallError::Failure(failure)) => Some(failure.name.clone()),
        _ => None,
    };
    let post = kind_of(program::post(&*body));
    Ok(Json(json!({ "send": kind_of(sent), "reply": reply, "failure": failure, "post": post })))
}

/// The hook that receives messages to the master.
#[handler]
fn asked(cx: Context, body: Json<Value>) -> Result<Json<Value>> {
    if body["word"] == "bad" {
        return Err(Failure::new("bad-word", "this word is bad"));
    }
    let hook = cx.hook().ok_or("only a hook calls this route")?;
    let isolate = host::whoami().isolate;
    Ok(Json(json!({ "kind": cx.trigger().kind(), "name": hook.name, "isolate": isolate, "body": *body })))
}

/// Asks for 256 MiB.
#[handler]
fn hoard() -> &'static str {
    let mut all = Vec::new();
    for _ in 0..256 {
        all.push(vec![1_u8; 1 << 20]);
    }
    std::hint::black_box(&all);
    "there was enough"
}

// Startups and schedules.

#[handler]
fn warm(cx: Context) {
    STARTED.set(cx.startup().cloned());
}

#[handler]
fn warmed() -> Json<Value> {
    Json(STARTED.with_borrow(|started| {
        started.as_ref().map(|startup| json!({ "name": startup.name, "reason": startup.reason.as_str() })).into()
    }))
}

#[handler]
fn tick(schedule: Schedule, cx: Context, data: Json<Value>) -> Json<Value> {
    Json(json!({
        "kind": cx.trigger().kind(), "name": schedule.name, "due": schedule.due_ms > 0,
        "run": !schedule.run.is_empty(), "data": *data,
    }))
}

fanfare_sdk::module! {
    handlers: [
        echo, greet, named, query, request, json, text, reversed, number, nothing, made, later, pass_gate, gated,
        fail, fault, unsendable, state, hold, release, spin, random, whoami, note, settings, options, cluster, master,
        asked, hoard,
        warm, warmed, tick,
        calls::ask, calls::refused, calls::caught, calls::every, calls::deep, calls::late, calls::origin, calls::emit, calls::keep,
        calls::gather, calls::told, calls::renew, calls::tenant, calls::visited,
        live::publish, live::admit, live::tell, live::heard, live::subscribe, live::message, live::channel, live::may,
        clients::upgrade, clients::room, clients::left, clients::clients,
    ],
    snapshot: Saved,
}
