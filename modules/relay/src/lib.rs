//! Messages from outside on the stream `relay`, and a page that shows the stream.
//!
//! - The subscription `news` brings the messages of the Redis channel `news` straight to the
//!   stream, as events of the type `news`. No handler runs for them.
//! - The subscription `events` calls [`handle`] in every worker for each event whose type begins
//!   with `relay/`. Each worker publishes an event of the type `handled`, so a reader can count the
//!   workers.
//!
//! The module has no state that a swap, a crash or a kill could lose.

use fanfare_sdk::prelude::*;
use fanfare_sdk::sse::Event;

/// The key of the stream.
const KEY: &str = "relay";

/// The type of the events that the page emits.
const SAID: &str = "relay/said";

/// The page loads nothing from elsewhere.
const POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; script-src 'self'; style-src 'self'";

/// The inner route `inner/event`: publishes that this worker has handled an event.
#[handler]
fn handle(from: Subscription, value: Json<Value>) -> Result<()> {
    let data = json!({
        "position": from.id,
        "type": from.topic,
        "value": *value,
        "worker": host::isolate(),
    });
    sse::publish(KEY, Event::new(data).with_event("handled"))?;
    Ok(())
}

/// `POST said`: emits the text in the body as an event. A process outside does the same with `POST
/// /events`.
#[handler]
fn say(text: Text) -> Result<()> {
    events::emit(SAID, Json(text.0))?;
    Ok(())
}

/// `GET ""`: the page.
#[handler]
fn page() -> Result<Reply> {
    file(include_str!("../page/index.html"), "text/html; charset=utf-8")
}

/// `GET style.css`
#[handler]
fn style() -> Result<Reply> {
    file(include_str!("../page/style.css"), "text/css; charset=utf-8")
}

/// `GET relay.js`
#[handler]
fn script() -> Result<Reply> {
    file(include_str!("../page/relay.js"), "text/javascript; charset=utf-8")
}

fn file(content: &str, content_type: &str) -> Result<Reply> {
    let reply = Reply::new(content)?.with_header("content-type", content_type);
    Ok(reply.with_header("cache-control", "no-cache").with_header("content-security-policy", POLICY))
}

fanfare_sdk::module!(page, style, script, say, handle);

#[cfg(test)]
mod tests;
