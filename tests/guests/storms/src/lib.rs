//! Does to the host whatever a program says: a list of acts, in JSON. `run` finds its program in
//! the body, `react` in the config, under the name of what caused the call.

mod act;
mod steps;

use std::cell::Cell;

use common::{release, who};
use fanfare_sdk::prelude::*;
use fanfare_sdk::types::Trigger;

use steps::{Run, Step};

thread_local! {
    /// The calls of `react` in this instance.
    static REACTED: Cell<u64> = const { Cell::new(0) };
}

/// Runs the program in the body. Replies with the number of outcomes of each act, by their kinds.
#[handler]
async fn run(body: Payload) -> Result<Outcome> {
    let program: Vec<Step> = body.json()?;
    Run::new(&Payload::None).all(&program).await.reply()
}

/// Runs the program `/on/<cause>` of the config. Passes without one, and when its program does not
/// end the call in another way.
#[handler]
async fn react(cx: Context, body: Payload) -> Result<Outcome> {
    REACTED.set(REACTED.get() + 1);
    let cause = match cx.trigger() {
        Trigger::Hook(hook) => hook.name.clone(),
        Trigger::Schedule(schedule) => schedule.name.clone(),
        Trigger::Channel(_) => cx.channel_event().map_or_else(String::new, |event| event.action.as_str().to_owned()),
        other => other.kind().to_owned(),
    };
    let program: Option<Vec<Step>> = config::get(&format!("/on/{cause}"))?;
    Run::new(&body).all(&program.unwrap_or_default()).await.outcome()
}

/// How often this instance has run `react`.
#[handler]
fn reacted() -> Json<u64> {
    Json(REACTED.get())
}

fanfare_sdk::module!(run, react, reacted, release, who);
