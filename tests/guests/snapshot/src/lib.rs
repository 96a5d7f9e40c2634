//! Counts, and hands the count over at a swap.
//!
//! Config: `{"load": "ok" | "fails" | "traps" | "never", "save": "ok" | "traps" | "never", "padding": 100}`.

use std::cell::{Cell, RefCell};

use common::{block, hold, release};
use fanfare_sdk::prelude::*;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static FROM: RefCell<Option<String>> = const { RefCell::new(None) };
}

#[handler]
fn count() -> Json<Value> {
    COUNT.set(COUNT.get() + 1);
    Json(json!({"isolate": host::isolate(), "count": COUNT.get(), "from": FROM.with_borrow(Clone::clone)}))
}

#[derive(Serialize, Deserialize)]
struct Saved {
    count: u64,
    padding: String,
}

fn mode(of: &str) -> Result<String> {
    Ok(config::get(of)?.unwrap_or_default())
}

impl State for Saved {
    async fn save() -> Self {
        match mode("/save").unwrap_or_default().as_str() {
            "traps" => panic!("save traps as configured"),
            "never" => std::future::pending().await,
            _ => {}
        }
        let padding = config::get::<usize>("/padding").unwrap_or_default().unwrap_or_default();
        Saved { count: COUNT.get(), padding: "x".repeat(padding) }
    }

    async fn load(self, from: &str) -> Result<()> {
        match mode("/load")?.as_str() {
            "fails" => return Err(Failure::new("not-today", "load fails as configured")),
            "traps" => panic!("load traps as configured"),
            "never" => std::future::pending().await,
            _ => {}
        }
        COUNT.set(self.count);
        FROM.set(Some(from.to_owned()));
        Ok(())
    }
}

fanfare_sdk::module! {
    handlers: [count, block, hold, release],
    snapshot: Saved,
}
