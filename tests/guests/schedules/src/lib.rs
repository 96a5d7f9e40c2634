//! Runs schedules, which the tests declare in its manifest.

use std::cell::RefCell;

use common::release;
use fanfare_sdk::prelude::*;

thread_local! {
    static RUNS: RefCell<Vec<Value>> = RefCell::default();
}

/// Records a run and returns it. `how` of the data says what happens then: `fails`, `traps`,
/// `status` (a reply with 500) or `waits` for `release`.
async fn run(handler: &str, schedule: Schedule, data: Option<Json<Value>>, cx: Context) -> Result<(u16, Json<Value>)> {
    let data = data.map(|data| data.0);
    let facts = json!({
        "handler": handler, "name": schedule.name, "due": schedule.due_ms, "run": schedule.run, "data": data,
        "isolate": host::isolate(), "subdomain": cx.subdomain(), "origin": format!("{:?}", cx.origin()),
        "kind": cx.trigger().kind(), "version": config::get::<u32>("/version")?,
    });
    RUNS.with_borrow_mut(|runs| runs.push(facts.clone()));
    match facts["data"]["how"].as_str() {
        Some("fails") => Err(Failure::conflict("on-request", "this run fails on request")),
        Some("traps") => panic!("this run traps on request"),
        Some("status") => Ok((500, Json(facts))),
        Some("waits") => {
            common::gate().await;
            Ok((200, Json(facts)))
        }
        _ => Ok((200, Json(facts))),
    }
}

#[handler]
async fn tick(schedule: Schedule, data: Option<Json<Value>>, cx: Context) -> Result<(u16, Json<Value>)> {
    run("tick", schedule, data, cx).await
}

#[handler]
async fn other(schedule: Schedule, data: Option<Json<Value>>, cx: Context) -> Result<(u16, Json<Value>)> {
    run("other", schedule, data, cx).await
}

/// The runs that this instance, and those before it in swaps, have recorded.
#[handler]
fn runs() -> Json<Vec<Value>> {
    Json(RUNS.with_borrow(Clone::clone))
}

#[derive(Serialize, Deserialize)]
struct Saved {
    runs: Vec<Value>,
}

impl State for Saved {
    async fn save() -> Self {
        Saved { runs: RUNS.with_borrow(Clone::clone) }
    }

    async fn load(self, _from: &str) -> Result<()> {
        RUNS.with_borrow_mut(|runs| runs.splice(0..0, self.runs).for_each(drop));
        Ok(())
    }
}

fanfare_sdk::module! {
    handlers: [tick, other, runs, release],
    snapshot: Saved,
}
