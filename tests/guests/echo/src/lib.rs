//! Returns its input, and replies as the body says.

use std::cell::Cell;

use fanfare_sdk::prelude::*;
use fanfare_sdk::types::Passed;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Returns the payload unchanged.
#[handler]
fn echo(body: Payload) -> Payload {
    body
}

/// Returns the isolate of this instance, and the number of calls of `who` so far.
#[handler]
fn who() -> Json<Value> {
    COUNT.set(COUNT.get() + 1);
    Json(json!({"isolate": host::isolate(), "count": COUNT.get()}))
}

#[handler]
fn params(cx: Context) -> Json<Value> {
    Json(json!({"params": cx.params(), "query": cx.query(), "pairs": cx.query_pairs()}))
}

#[handler]
fn headers(cx: Context) -> Json<Value> {
    let head = cx
        .head()
        .map(|head| json!({"path": head.path, "scheme": head.scheme, "authority": head.authority, "peer": head.peer}));
    Json(json!({"headers": cx.headers(), "cookie": cx.header_values("Cookie"), "head": head}))
}

#[derive(Deserialize)]
struct Status {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<String>,
}

/// Replies with the status, header fields and text of the body.
#[handler]
fn status(Json(spec): Json<Status>) -> Reply {
    let payload = spec.body.map_or(Payload::None, Payload::Text);
    Reply { status: spec.status, headers: spec.headers, payload, extra: Vec::new() }
}

#[derive(Deserialize)]
struct Fail {
    name: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    status: u16,
    data: Option<Value>,
}

/// Fails with the name, message, status and data of the body.
#[handler]
fn fail(Json(spec): Json<Fail>) -> Result<()> {
    let failure = Failure::new(spec.name, spec.message).with_status(spec.status);
    Err(match spec.data {
        Some(data) => failure.with_data(data),
        None => failure,
    })
}

/// Replies with the number of bytes that the body or `?bytes=` says, and a header field of
/// `?beside=` bytes.
#[handler]
fn big(bytes: Query<Option<usize>>, beside: Query<Option<usize>>, body: Option<Json<usize>>) -> Reply {
    let bytes = vec![b'x'; bytes.or(body.map(|body| *body)).unwrap_or_default()];
    let headers = beside.map(|length| ("x".to_owned(), "x".repeat(length))).into_iter().collect();
    Reply { status: 0, headers, payload: Payload::Bytes(bytes), extra: Vec::new() }
}

/// Passes with the payload, if there is one, and a fact of `?beside=` bytes, by default 1.
#[handler]
fn pass(body: Payload, beside: Query<Option<usize>>) -> Passed {
    let payload = Some(body).filter(|body| *body != Payload::None);
    Passed { payload, ..Passed::new().with_extra("fact", "x".repeat(beside.unwrap_or(1))) }
}

/// Returns everything about the call but its payload.
#[handler]
fn context(cx: Context) -> Json<Value> {
    let whoami = host::whoami();
    let broadcast = cx.broadcast().map(|broadcast| {
        json!({"name": broadcast.name, "id": broadcast.id, "seq": broadcast.seq, "sameAsCaller": broadcast.same_as_caller})
    });
    Json(json!({
        "id": cx.id(),
        "handler": cx.handler(),
        "trigger": cx.trigger().kind(),
        "method": cx.method().map(|method| method.as_str().to_owned()),
        "broadcast": broadcast,
        "startup": cx.startup().map(|startup| format!("{:?}", startup.reason)),
        "origin": format!("{:?}", cx.origin()),
        "subdomain": cx.subdomain(),
        "deadlineMs": cx.time_left().as_millis() as u64,
        "whoami": {
            "node": whoami.node, "server": whoami.server, "isolate": whoami.isolate, "workers": whoami.workers,
            "module": whoami.module, "generation": whoami.generation,
        },
    }))
}

/// Returns the module's configuration for the tenant of the call.
#[handler]
fn settings() -> Result<Json<Value>> {
    Ok(Json(config::all()?))
}

#[derive(Deserialize)]
struct Wanted {
    server: Option<String>,
    id: Option<String>,
}

/// Returns the nodes: of the server type of the body, or with its id.
#[handler]
fn nodes_as_told(Json(wanted): Json<Wanted>) -> Json<Value> {
    Json(match (wanted.id, wanted.server) {
        (Some(id), _) => json!(nodes::get(&id)),
        (None, Some(server)) => json!(nodes::of_type(&server)),
        (None, None) => json!(nodes::list()),
    })
}

fanfare_sdk::module!(echo, who, params, headers, status, fail, big, pass, context, settings, nodes_as_told);
