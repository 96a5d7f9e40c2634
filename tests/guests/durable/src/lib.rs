//! Emits durable broadcasts, and records those that arrive.

use std::cell::RefCell;
use std::io::Write;
use std::time::Duration;

use fanfare_sdk::prelude::*;
use fanfare_sdk::types::{Identity, Receipt};

thread_local! {
    static HEARD: RefCell<Vec<Value>> = RefCell::default();
    /// Whether broadcasts that begin with `gate` succeed.
    static OPEN: RefCell<bool> = const { RefCell::new(false) };
}

#[derive(Deserialize)]
#[serde(crate = "fanfare_sdk::serde")]
struct Emission {
    name: String,
    payload: String,
    subdomain: Option<String>,
}

impl Emission {
    fn named(&self) -> broadcast::Emit {
        let named = broadcast::named(&self.name).of("durable");
        match &self.subdomain {
            Some(subdomain) => named.subdomain(subdomain),
            None => named,
        }
    }
}

fn answer(result: Result<Receipt, CallError>) -> Json<Value> {
    Json(match result {
        Ok(receipt) => {
            let extra: std::collections::BTreeMap<_, _> = receipt.extra.into_iter().collect();
            json!({"seq": receipt.seq, "accepted": receipt.accepted, "extra": extra})
        }
        Err(error) => json!({"error": error.kind(), "message": error.to_string()}),
    })
}

#[handler]
fn emit(what: Json<Emission>) -> Json<Value> {
    answer(what.named().emit(what.payload.clone()))
}

/// A startup that emits a broadcast, and ends after the milliseconds of `greets` in the config.
#[handler]
fn greet() -> Result<()> {
    broadcast::named("told").of("durable").emit("started")?;
    std::thread::sleep(Duration::from_millis(config::get::<u64>("/greets")?.unwrap_or_default()));
    Ok(())
}

/// A startup that waits for the stream.
#[handler]
async fn vow() -> Result<()> {
    broadcast::named("told").of("durable").emit_durable("vowed").await?;
    Ok(())
}

#[handler]
async fn keep(what: Json<Emission>) -> Json<Value> {
    answer(what.named().emit_durable(what.payload.clone()).await)
}

#[handler]
async fn gather(what: Json<Emission>) -> Json<Value> {
    Json(match what.named().gather(what.payload.clone()).await {
        Ok(entries) => json!(entries.len()),
        Err(error) => json!({"error": error.kind(), "message": error.to_string()}),
    })
}

#[handler]
fn heard() -> Json<Vec<Value>> {
    Json(HEARD.with_borrow(Clone::clone))
}

/// Lets broadcasts that begin with `gate` succeed in this worker.
#[handler]
fn open() {
    OPEN.set(true);
}

/// Records a broadcast, also in `/seen` if the module has it. `fail<n> ..` fails the first n times,
/// `trap<n> ..` crashes, `slow<n> ..` takes n milliseconds, and `gate ..` fails until `open` was
/// called in this worker.
#[handler]
fn hear(body: Text, cx: Context) -> Result<()> {
    let extra = |wanted: &str| cx.extra(wanted).unwrap_or_default().to_owned();
    let delivery: u32 = extra("delivery").parse().unwrap_or_default();
    let times = |word: &str| {
        let rest = body.strip_prefix(word)?;
        rest.split(' ').next()?.parse::<u32>().ok()
    };
    if times("trap").is_some_and(|times| delivery <= times) {
        std::process::abort();
    }
    if let Some(millis) = times("slow") {
        std::thread::sleep(Duration::from_millis(millis.into()));
    }
    let closed = body.starts_with("gate") && !OPEN.with_borrow(|open| *open);
    if closed || times("fail").is_some_and(|times| delivery <= times) {
        return Err(Failure::new("Refused", format!("delivery {delivery} of {} is refused", *body)));
    }
    let broadcast = cx.broadcast().expect("it is a broadcast");
    let (seq, same) = (broadcast.seq, broadcast.same_as_caller);
    let one = json!({
        "text": *body, "seq": seq, "position": extra("position"), "delivery": extra("delivery"), "same": same,
        "subdomain": cx.subdomain(),
    });
    HEARD.with_borrow_mut(|heard| heard.push(one));
    let Identity { node, isolate, .. } = host::whoami();
    let Isolate::Worker(worker) = isolate else { return Ok(()) };
    let file = format!("/seen/{node}-{worker}");
    if let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(file) {
        let line = format!("{seq} {}\n", *body);
        file.write_all(line.as_bytes())?;
    }
    Ok(())
}

fanfare_sdk::module!(emit, greet, vow, keep, gather, heard, open, hear);
