//! Live streams, events, messages and channels.

use std::time::Duration;

use fanfare_sdk::channels::{Action, Position};
use fanfare_sdk::prelude::*;
use fanfare_sdk::sse::{Event, Reach, StreamRequest};
use fanfare_sdk::types::Passed;

use crate::{kind_of, no_user};

pub const KEY: &str = "conformance";

#[derive(Deserialize)]
pub struct Publish {
    key: Option<String>,
    #[serde(default)]
    data: Value,
    event: Option<String>,
    id: Option<String>,
    close: Option<String>,
    #[serde(default, rename = "closeAll")]
    close_all: bool,
}

#[handler]
pub fn publish(Json(wanted): Json<Publish>) -> Result<Json<Value>> {
    if wanted.close_all {
        return Ok(Json(json!({ "closed": sse::close_all()? })));
    }
    if let Some(key) = wanted.close {
        return Ok(Json(json!({ "closed": sse::close(&key)? })));
    }
    let mut event = match wanted.data {
        Value::String(text) => Event::new(text),
        data => Event::new(data),
    };
    let Some(key) = wanted.key else {
        return Ok(Json(json!({ "reached": sse::to(Reach::ThisNode).publish_all(event)? })));
    };
    if let Some(name) = wanted.event {
        event = event.with_event(name);
    }
    if let Some(id) = wanted.id {
        event = event.with_id(id);
    }
    let reached = sse::publish(&key, event.with_retry(Duration::from_secs(1)))?;
    Ok(Json(json!({ "reached": reached, "open": sse::count(&key) })))
}

#[handler]
pub fn admit(stream: StreamRequest, cx: Context) -> Result<Pass> {
    cx.header("x-user").ok_or_else(no_user)?;
    let facts = json!({ "kind": cx.trigger().kind(), "key": stream.key, "last": stream.last_event_id });
    sse::publish(KEY, Event::new(facts).with_event("admitted"))?;
    Ok(Pass)
}

#[derive(Deserialize)]
pub struct Tell {
    r#type: String,
    value: Value,
}

#[handler]
pub fn tell(Json(told): Json<Tell>) -> Result<()> {
    Ok(events::emit(&*told.r#type, told.value)?)
}

#[handler]
pub fn heard(value: Json<Value>, from: Subscription, cx: Context) -> Result<()> {
    if *value == "bad" {
        return Err(Failure::new("bad-value", "this value is bad").with_status(422));
    }
    let facts = json!({
        "kind": cx.trigger().kind(), "name": from.name, "source": from.source, "topic": from.topic,
        "id": from.id.is_some(), "value": *value,
    });
    sse::publish(KEY, Event::new(facts).with_event("heard"))?;
    Ok(())
}

#[handler]
pub fn subscribe() -> Result<Json<Value>> {
    let subscribe = || events::subscribe("conformance/later", "inner/heard");
    let name = subscribe()?;
    let same = subscribe()? == name;
    events::unsubscribe(&name)?;
    let ended = kind_of(events::unsubscribe(&name));
    channels::unsubscribe(&channels::subscribe("conformance/talk", "inner/heard")?)?;
    Ok(Json(json!({ "same": same, "ended": ended, "channel": "ended" })))
}

#[handler]
pub fn message(body: Text) -> Json<Value> {
    let publish = |topic| kind_of(messages::publish("redis", topic, &**body));
    Json(json!({ "news": publish("news"), "other": publish("other") }))
}

#[handler]
pub async fn channel() -> Result<Json<Value>> {
    let name = "conformance/room";
    channels::publish(name, "one")?;
    let place = channels::publish_and_wait(name, "two").await?.ok_or("the channel keeps no history")?;
    let page = channels::history(name, None, 1_000).await?;
    let before = Position { epoch: place.epoch, offset: place.offset - 1 };
    let after = channels::history(name, Some(before), 10).await?;
    let refused = channels::publish_and_wait(name, "bad").await.err();
    let texts = |messages: &[channels::ChannelMessage]| -> Vec<_> {
        messages.iter().filter_map(|message| message.payload.as_text().map(str::to_owned)).collect()
    };
    let members = channels::members(name).await?;
    let members: Vec<_> = members.into_iter().map(|member| member.session).collect();
    let without = channels::publish_and_wait("conformance/talk", "hi").await?;
    Ok(Json(json!({
        "offset": place.offset, "messages": texts(&page.messages), "after": texts(&after.messages),
        "latest": page.latest, "complete": page.complete, "members": members, "count": channels::count(name),
        "refused": refused.as_ref().and_then(CallError::failure).map(|failure| &failure.name),
        "forbidden": kind_of(channels::publish("lobby", "hi")), "without": without.map(|place| place.to_string()),
    })))
}

#[handler]
pub fn may(event: ChannelEvent, body: Text) -> Result<Passed> {
    if &**body == "bad" {
        return Err(Failure::new("bad-word", "this word is bad").with_status(422));
    }
    if event.channel != "conformance/room" || event.action != Action::Publish {
        return Err("not a message of the channel".into());
    }
    Passed::new().with_payload(body.to_uppercase())
}
