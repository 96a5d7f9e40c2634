//! Calls of other routes, and broadcasts.

use std::time::Duration;

use fanfare_sdk::prelude::*;
use fanfare_sdk::serde_json::{self, Map};
use fanfare_sdk::sse::Event;
use fanfare_sdk::types::{Entry, Group, Origin, Target};

use crate::kind_of;
use crate::live::KEY;

const TIMEOUT: Duration = Duration::from_secs(5);

#[handler]
pub async fn ask(body: Payload) -> Result<Json<Value>> {
    let made = rpc::call("/reply", ()).await?;
    let echoed = rpc::call("conformance.echo", body.clone()).await?;
    let worker = rpc::to(Target::Worker(0)).timeout(TIMEOUT).call("/echo", body).await?;
    Ok(Json(json!({
        "status": made.status, "json": made.json::<Value>()?, "color": made.header("x-color"),
        "echoed": echoed.text(), "worker": worker.text(),
    })))
}

#[handler]
pub async fn refused() -> Result<Reply> {
    Ok(rpc::call("flags/all", ()).await?)
}

#[handler]
pub async fn caught() -> Result<Json<Value>> {
    let forbidden = kind_of(rpc::call("flags/all", ()).await);
    let unknown = kind_of(rpc::call("/nothing/here", ()).await);
    let large = kind_of(rpc::call("/echo", "x".repeat(70_000)).await);
    let error = rpc::call("/fail", ()).await.err();
    let failure = error.as_ref().and_then(CallError::failure).ok_or("the route does not fail")?;
    Ok(Json(json!({
        "forbidden": forbidden, "unknown": unknown, "large": large, "failure": failure.name,
        "status": failure.status, "data": failure.data.json::<Value>()?,
    })))
}

#[handler]
pub async fn every(body: Text) -> Result<Json<Value>> {
    let all = || rpc::to(Group::Workers);
    if &*body == "origin" {
        let mut origins = Vec::new();
        let mut trigger = Value::Null;
        for entry in all().call_every("/inner/origin", ()).await? {
            let mut origin: Map<String, Value> = entry.outcome?.json()?;
            trigger = origin.remove("trigger").unwrap_or_default();
            origins.push(origin);
        }
        return Ok(Json(json!({ "origins": origins, "trigger": trigger })));
    }
    let entries = all().call_every("/echo", "hi").await?;
    let isolates: Vec<_> = entries.iter().map(|entry| entry.isolate).collect();
    let texts = entries.into_iter().map(|entry| Ok(entry.outcome?.text().to_owned()));
    let texts: Vec<_> = texts.collect::<Result<_>>()?;
    let accepted = all().notify("/echo", json!({ "a": 1 }))?;
    Ok(Json(json!({ "isolates": isolates, "texts": texts, "accepted": accepted })))
}

#[handler]
pub async fn deep() -> Result<Reply> {
    Ok(rpc::call("/rpc/deep", ()).await?)
}

#[handler]
pub async fn late() -> Result<Json<Value>> {
    let held = rpc::to(Target::Any).timeout(Duration::from_millis(50)).call("/hold", "late").await;
    let released = rpc::call("/release", ()).await?;
    Ok(Json(json!({ "kind": kind_of(held), "released": released.json::<Value>()? })))
}

#[handler]
pub fn origin(cx: Context) -> Json<Value> {
    let mut facts = json!({ "kind": cx.origin().kind(), "trigger": cx.trigger().kind() });
    if let Origin::Guest(guest) = cx.origin() {
        facts["module"] = guest.module.as_str().into();
        facts["isolate"] = guest.isolate.to_string().into();
    }
    Json(facts)
}

#[handler]
pub fn emit(body: Payload) -> Result<Json<Value>> {
    let receipt = broadcast::emit("told", body)?;
    let skipped: Vec<_> = receipt.skipped.iter().map(|skipped| skipped.isolate.to_string()).collect();
    Ok(Json(json!({ "seq": receipt.seq, "accepted": receipt.accepted, "skipped": skipped })))
}

#[handler]
pub async fn gather(body: Json<Value>) -> Result<Json<Vec<Value>>> {
    let entries = broadcast::named("told").timeout(TIMEOUT).gather(body).await?;
    entries.into_iter().map(shown).collect::<Result<_>>().map(Json)
}

fn shown(entry: Entry) -> Result<Value> {
    Ok(match entry.outcome {
        Ok(reply) => json!({ "isolate": entry.isolate, "reply": reply.json::<Value>()? }),
        Err(CallError::Failure(failure)) => json!({ "isolate": entry.isolate, "error": failure.name }),
        Err(error) => return Err(error.into()),
    })
}

#[handler]
pub fn told(cx: Context, body: Text) -> Result<Json<Value>> {
    let broadcast = cx.broadcast().ok_or("only a broadcast calls this route")?;
    let value = if body.starts_with('{') { serde_json::from_str(&body)? } else { Value::from(&**body) };
    if value["word"] == "bad" {
        return Err(Failure::new("bad-word", "this word is bad"));
    }
    Ok(Json(json!({
        "kind": cx.trigger().kind(), "name": broadcast.name, "seq": broadcast.seq,
        "mine": broadcast.same_as_caller, "body": value,
    })))
}

#[handler]
pub async fn keep(body: Payload) -> Json<Value> {
    let kept = kind_of(broadcast::emit_durable("kept", body.clone()).await);
    Json(json!({ "kept": kept, "told": kind_of(broadcast::emit_durable("told", body).await) }))
}

#[handler]
pub fn renew() -> Json<Value> {
    Json(json!({ "kind": kind_of(broadcast::reload("no-such-module")) }))
}

#[handler]
pub fn tenant(cx: Context, body: Text) -> Result<Json<Value>> {
    rpc::to(Target::Any).subdomain(&body).notify("/inner/visited", "first")?;
    Ok(Json(json!({ "subdomain": cx.subdomain() })))
}

#[handler]
pub fn visited(cx: Context, visit: Text) -> Result<()> {
    let seen = json!({ "visit": &**visit, "subdomain": cx.subdomain() });
    sse::publish(KEY, Event::new(seen).with_event("visited"))?;
    match &**visit {
        "first" => _ = rpc::notify("/inner/visited", "second")?,
        "second" => _ = broadcast::named("visited").subdomain("other").emit("third")?,
        _ => {}
    }
    Ok(())
}
