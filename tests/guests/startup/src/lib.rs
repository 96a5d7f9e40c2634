//! A startup that behaves as its config says: `{"mode": "slow", "ms": 100}`. The modes are `ok`,
//! `slow`, `fails`, `traps`, `spins`, `never`, `calls`, `notifies`, `gathers`, `relays` and
//! `reloads`.

use std::cell::RefCell;
use std::time::Duration;

use fanfare_sdk::prelude::*;

thread_local! {
    static STARTED: RefCell<Vec<String>> = RefCell::default();
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    mode: String,
    #[serde(default)]
    ms: u64,
    /// The only worker that misbehaves. The default is every worker.
    worker: Option<u32>,
}

#[handler]
async fn start(cx: Context) -> Result<()> {
    let reason = cx.startup().map(|startup| format!("{} {:?}", startup.name, startup.reason));
    STARTED.with_borrow_mut(|started| started.extend(reason));
    let config: Config = config::all()?;
    if config.worker.is_some_and(|worker| host::isolate() != Isolate::Worker(worker)) {
        return Ok(());
    }
    match config.mode.as_str() {
        "slow" => std::thread::sleep(Duration::from_millis(config.ms)),
        "fails" => return Err(Failure::new("not-today", "the startup fails as configured")),
        "traps" => panic!("the startup traps as configured"),
        "spins" => loop {
            std::hint::black_box(());
        },
        "never" => std::future::pending().await,
        // Gathers a broadcast and records the outcome of every worker.
        "gathers" => {
            for entry in broadcast::gather("ping", ()).await? {
                let end = entry.outcome.map_or_else(|error| error.kind().to_owned(), |_| "ok".to_owned());
                STARTED.with_borrow_mut(|started| started.push(format!("{} {end}", entry.isolate)));
            }
        }
        "reloads" => {
            let asked = broadcast::reload(&host::whoami().module);
            STARTED.with_borrow_mut(|started| {
                started.push(asked.map_or_else(|error| error.to_string(), |_| "asked".to_owned()))
            });
        }
        "notifies" => drop(rpc::notify("/started", ())?),
        "calls" => {
            for worker in (0..host::whoami().workers).map(Isolate::Worker) {
                let called = rpc::to(worker.target()).call("/started", ()).await;
                let end = called.map_or_else(|error| error.kind().to_owned(), |_| "ok".to_owned());
                STARTED.with_borrow_mut(|started| started.push(format!("{worker} {end}")));
            }
        }
        // Calls its own worker through `waits`, as soon as `waits` has started.
        "relays" => {
            let module = host::whoami().module;
            let Isolate::Worker(own) = host::isolate() else { return Ok(()) };
            let wanted = json!({"route": format!("{module}/started"), "target": {"worker": own}});
            let relayed = loop {
                match rpc::call("waits/nested", Json(wanted.clone())).await {
                    Err(error) if error.kind() == "unavailable" => std::thread::sleep(Duration::from_millis(10)),
                    ended => break ended?,
                }
            };
            let ended: Value = relayed.json()?;
            STARTED.with_borrow_mut(|started| started.push(ended["error"]["kind"].to_string()));
        }
        _ => {}
    }
    Ok(())
}

/// Returns the startups and calls that this instance has recorded.
#[handler]
fn started() -> Json<Vec<String>> {
    Json(STARTED.with_borrow(Clone::clone))
}

fanfare_sdk::module!(start, started);
