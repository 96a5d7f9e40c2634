// The common part of `snapshot` and `snapshot-next`: a count that they hand over in a swap, and
// ways to break the handover. See the README of the guests.

use std::cell::{Cell, RefCell};

use common::{block, emit, gather, hold, nested, release};
use fanfare_sdk::prelude::*;
use fanfare_sdk::types::StartupReason;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static HEARD: Cell<u64> = const { Cell::new(0) };
    static FROM: RefCell<Option<String>> = const { RefCell::new(None) };
    static LOADED: Cell<u32> = const { Cell::new(0) };
    /// The memory that the state needs.
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

#[handler]
fn count() -> Json<Value> {
    COUNT.set(COUNT.get() + 1);
    look()
}

/// The inner route of the broadcast `mark`.
#[handler]
fn hear() -> Json<Value> {
    HEARD.set(HEARD.get() + 1);
    look()
}

/// Returns the state without counting.
#[handler]
fn look() -> Json<Value> {
    Json(json!({
        "build": BUILD, "isolate": host::isolate(), "count": COUNT.get(), "heard": HEARD.get(),
        "from": FROM.with_borrow(Clone::clone), "loaded": LOADED.get(),
    }))
}

/// Counts, and loses `kib` KiB of memory.
#[handler]
fn leak(kib: Json<usize>) -> Json<Value> {
    std::mem::forget(std::hint::black_box(vec![1_u8; *kib << 10]));
    count()
}

/// Keeps `kib` KiB more, which a swap hands over. Returns the number of KiB kept.
#[handler]
fn keep(kib: Json<usize>) -> Json<usize> {
    KEPT.with_borrow_mut(|kept| kept.push(vec![1; *kib << 10]));
    Json(kept() >> 10)
}

/// The number of bytes kept.
fn kept() -> usize {
    KEPT.with_borrow(|kept| kept.iter().map(Vec::len).sum())
}

/// Waits until `waits` releases it, then traps.
#[handler]
async fn crash() -> Result<()> {
    outside().await?;
    panic!("this handler traps on request")
}

#[derive(Deserialize)]
struct After {
    route: String,
    payload: Value,
}

/// Waits until `waits` releases it, then calls a route in its own worker.
#[handler]
async fn after(Json(after): Json<After>) -> Result<Payload> {
    outside().await?;
    Ok(rpc::to(host::isolate().target()).call(&after.route, Json(after.payload)).await?.payload)
}

#[handler]
async fn warm(cx: Context) -> Result<()> {
    let restarted = cx.startup().is_some_and(|startup| startup.reason == StartupReason::Restart);
    broken(if restarted { "/restart" } else { "/startup" }).await
}

/// Waits in `hold` of the guest `waits`, in the same worker, until that guest runs `release`.
async fn outside() -> Result<()> {
    rpc::to(host::isolate().target()).call("waits/hold", ()).await?;
    Ok(())
}

/// Misbehaves at this point of the swap if the config says so. See the README of the guests.
async fn broken(what: &str) -> Result<()> {
    if config::get("/worker")?.is_some_and(|worker| host::isolate() != Isolate::Worker(worker)) {
        return Ok(());
    }
    let mode = config::get::<String>(what)?.unwrap_or_default();
    match mode.as_str() {
        "fails" => Err(Failure::new("not-today", format!("{} fails as configured", what.trim_start_matches('/')))),
        "traps" => panic!("{what} traps as configured"),
        "never" => std::future::pending().await,
        "spins" => loop {
            std::hint::black_box(());
        },
        "waits" => outside().await,
        "waits-then-traps" => {
            outside().await?;
            panic!("{what} traps as configured")
        }
        _ => Ok(()),
    }
}

#[derive(Serialize, Deserialize)]
struct Saved {
    count: u64,
    padding: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    heard: u64,
    /// The number of bytes in `KEPT`.
    #[serde(default, skip_serializing_if = "is_zero")]
    kept: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl State for Saved {
    async fn save() -> Self {
        if let Err(failure) = broken("/save").await {
            panic!("save cannot fail: {failure:?}");
        }
        let padding = config::get::<usize>("/padding").unwrap_or_default().unwrap_or_default();
        Saved { count: COUNT.get(), padding: "x".repeat(padding), heard: HEARD.get(), kept: kept() as u64 }
    }

    async fn load(self, from: &str) -> Result<()> {
        broken("/load").await?;
        LOADED.set(LOADED.get() + 1);
        COUNT.set(COUNT.get() + self.count);
        HEARD.set(HEARD.get() + self.heard);
        KEPT.with_borrow_mut(|kept| kept.push(vec![1; self.kept as usize]));
        FROM.set(Some(from.to_owned()));
        Ok(())
    }
}

fanfare_sdk::module! {
    handlers: [count, hear, look, leak, keep, crash, after, warm, block, emit, gather, hold, nested, release],
    snapshot: Saved,
}
