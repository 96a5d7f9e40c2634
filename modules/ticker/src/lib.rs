//! A tick each second on the stream `ticker`, and a page that shows the stream.
//!
//! The number of a tick is the second in which it was due. So the module has no state that a swap,
//! a crash or a kill could lose, any worker can publish the next tick, and a reader that receives
//! consecutive numbers has missed nothing.

use std::time::Duration;

use fanfare_sdk::prelude::*;
use fanfare_sdk::sse::Event;

/// The key of the stream.
const KEY: &str = "ticker";

/// Every fifth tick goes to the readers of all streams.
const EVERYONE: u64 = 5;

/// How long a reader waits before it connects again after a cut.
const RETRY: Duration = Duration::from_secs(1);

/// The page loads nothing from elsewhere.
const POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; script-src 'self'; style-src 'self'";

/// The inner route `inner/tick`: publishes the tick that is due in the schedule `tick`.
#[handler]
fn tick(schedule: Schedule) -> Result<()> {
    let (event, to_everyone) = event(schedule.due_ms, &host::isolate().to_string());
    if to_everyone {
        sse::publish_all(event)?
    } else {
        sse::publish(KEY, event)?
    };
    Ok(())
}

/// Returns the event of a run that was due at this time, and whether it goes to everyone.
///
/// Ticks are due at full seconds. A run by hand is due when the operator asks for it, also twice in
/// a second. It publishes the event `extra`, which has no place in the order of the ticks.
fn event(due_ms: u64, isolate: &str) -> (Event, bool) {
    let number = due_ms / 1_000;
    let is_tick = due_ms.is_multiple_of(1_000);
    let to_everyone = is_tick && number.is_multiple_of(EVERYONE);
    let to = if to_everyone { "everyone" } else { KEY };
    let data = json!({ "number": number, "to": to, "worker": isolate });
    let event = Event::new(data).with_event(if is_tick { "tick" } else { "extra" });
    (event.with_retry(RETRY), to_everyone)
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

/// `GET ticker.js`
#[handler]
fn script() -> Result<Reply> {
    file(include_str!("../page/ticker.js"), "text/javascript; charset=utf-8")
}

fn file(content: &str, content_type: &str) -> Result<Reply> {
    let reply = Reply::new(content)?.with_header("content-type", content_type);
    Ok(reply.with_header("cache-control", "no-cache").with_header("content-security-policy", POLICY))
}

fanfare_sdk::module!(page, style, script, tick);

#[cfg(test)]
mod tests;
