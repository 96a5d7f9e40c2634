//! Runs schedules, which the tests declare in its manifest.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

use fanfare_sdk::prelude::*;

thread_local! {
    static RUNS: RefCell<Vec<Value>> = RefCell::default();
    static RELEASED: Cell<u32> = const { Cell::new(0) };
    static WAITING: RefCell<Vec<Waker>> = RefCell::default();
}

/// Waits until a later call runs `release`.
async fn wait_for_release() {
    let before = RELEASED.get();
    poll_fn(|context| {
        if RELEASED.get() > before {
            return Poll::Ready(());
        }
        WAITING.with_borrow_mut(|waiting| waiting.push(context.waker().clone()));
        Poll::Pending
    })
    .await;
}

/// Releases the runs that wait, and returns their number.
#[handler]
fn release() -> Json<usize> {
    RELEASED.set(RELEASED.get() + 1);
    let waiting = WAITING.take();
    let count = waiting.len();
    waiting.into_iter().for_each(Waker::wake);
    Json(count)
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
            wait_for_release().await;
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
