//! Feature flags in every worker's memory: reading asks nobody, writing tells everybody.
//!
//! There is room for [`store::MOST`] names. Deleted ones count, for they are remembered until the module has stopped
//! everywhere; they can be set again. A `PUT` of one more name fails with `too-many-flags`, status 507, in every worker alike.

mod store;

use std::time::Duration;

use fanfare_sdk::prelude::*;
use fanfare_sdk::types::StartupReason;
use serde_json::value::RawValue;

use store::{Change, Flags, MOST, STORE};

/// How long a new instance waits for each of the others.
const CATCH_UP: Duration = Duration::from_secs(1);

/// The name of the failure when there is no room for another flag.
const TOO_MANY: &str = "too-many-flags";

/// `GET ""`: all flags.
#[handler]
fn all() -> Result<Reply> {
    STORE.with_borrow(|flags| Reply::new(Json(flags.values())))
}

/// `GET {name}`: the flag's value, as it was written.
#[handler]
fn get(name: Path<String>) -> Result<Reply> {
    STORE.with_borrow(|flags| match flags.value(&name) {
        Some(value) => Ok(Reply::new(value.get())?.with_header("content-type", "application/json")),
        None => Err(no_such_flag(&name)),
    })
}

/// `PUT {name}`: sets the flag to any JSON value. Once answered, every worker has it.
#[handler]
async fn put(name: Path<String>, value: Option<Json<Box<RawValue>>>) -> Result<Json<Value>> {
    match value {
        Some(Json(value)) => change(Change { name: name.0, value: Some(value) }).await,
        None => Err(Failure::bad_request("invalid-body", "the body of a PUT is the flag's value, as JSON")),
    }
}

/// `DELETE {name}`: takes the flag away. Once answered, no worker has it.
#[handler]
async fn delete(name: Path<String>) -> Result<Json<Value>> {
    if !STORE.with_borrow(|flags| flags.value(&name).is_some()) {
        return Err(no_such_flag(&name));
    }
    change(Change { name: name.0, value: None }).await
}

/// Tells every worker, and waits until each has done it.
async fn change(change: Change) -> Result<Json<Value>> {
    let entries = broadcast::gather("set", Json(&change)).await?;
    let mut failures = entries.iter().filter_map(|entry| entry.outcome.as_ref().err()?.failure());
    if let Some(full) = failures.find(|failure| failure.name == TOO_MANY) {
        return Err(full.clone());
    }
    let workers = entries.len();
    let missing: Vec<Value> = entries
        .into_iter()
        .filter_map(|entry| Some((entry.isolate, entry.outcome.err()?)))
        .map(|(isolate, error)| json!({"isolate": isolate, "error": error.kind(), "message": error.to_string()}))
        .collect();
    if missing.is_empty() {
        return Ok(Json(json!({"name": change.name, "workers": workers})));
    }
    let message = format!("{} of {workers} workers did not take the change to `{}`", missing.len(), change.name);
    Err(Failure::new("not-everywhere", message).with_status(503).with_data(Json(missing)))
}

/// The inner route of the broadcast, in every worker.
#[handler]
fn set(change: Json<Change>, cx: Context) -> Result<()> {
    let Some(broadcast) = cx.broadcast() else {
        return Err(Failure::bad_request("not-a-broadcast", "flags change by broadcast: PUT or DELETE one"));
    };
    // All workers take the changes in the same order, and so refuse the same ones.
    STORE.with_borrow_mut(|flags| {
        if !flags.has_room_for(&change.name) {
            let message = format!("there is no room for `{}`: {MOST} names have been set", change.name);
            return Err(Failure::new(TOO_MANY, message).with_status(507));
        }
        flags.apply(change.0, broadcast.seq);
        Ok(())
    })
}

/// All flags with the `seq` of their last change, for an instance that catches up.
#[handler]
fn dump() -> Result<Reply> {
    STORE.with_borrow(|flags| Reply::new(Json(flags)))
}

/// The startup: a new instance asks the others for what it has missed. Who does not answer is passed over.
/// Broadcasts that come in meanwhile run afterwards, and those that a dump had already do no harm.
#[handler]
async fn catch_up(cx: Context) -> Result<()> {
    // When the module starts everywhere there is nothing to catch up with.
    if cx.startup().is_none_or(|startup| matches!(startup.reason, StartupReason::Start)) {
        return Ok(());
    }
    let me = host::whoami();
    for worker in (0..me.workers).map(Isolate::Worker).filter(|worker| *worker != me.isolate) {
        match rpc::to(worker.target()).timeout(CATCH_UP).call("/inner/dump", ()).await {
            Ok(reply) => {
                let theirs: Flags = reply.json()?;
                STORE.with_borrow_mut(|flags| flags.merge(theirs));
            }
            Err(error) => warn!("{worker} did not help to catch up: {error}"),
        }
    }
    Ok(())
}

fn no_such_flag(name: &str) -> Failure {
    Failure::not_found("no-such-flag", format!("there is no flag `{name}`"))
}

fanfare_sdk::module! {
    handlers: [all, get, put, delete, set, dump, catch_up],
    snapshot: Flags,
}

#[cfg(test)]
mod tests;
