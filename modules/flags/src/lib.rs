//! Feature flags in the memory of every worker: a read is local, a write is a broadcast.
//!
//! The module stores at most [`store::MAX_NAMES`] names. Deleted names count, because every worker
//! remembers them until the module has stopped everywhere; they can be set again. A `PUT` of one
//! more name fails with `too-many-flags` and status 507, in every worker.

mod store;

use std::time::Duration;

use fanfare_sdk::prelude::*;
use fanfare_sdk::types::StartupReason;
use serde_json::value::RawValue;

use store::{Change, Flags, MAX_NAMES, STORE};

/// How long a new instance waits for the flags of each other worker.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(1);

/// The name of the failure when the maximum number of names is reached.
const TOO_MANY: &str = "too-many-flags";

/// `GET ""`: returns all flags.
#[handler]
fn all() -> Result<Reply> {
    STORE.with_borrow(|flags| Reply::new(Json(flags.values())))
}

/// `GET {name}`: returns the value of the flag, exactly as it was written.
#[handler]
fn get(name: Path<String>) -> Result<Reply> {
    STORE.with_borrow(|flags| match flags.value(&name) {
        Some(value) => Ok(Reply::new(value.get())?.with_header("content-type", "application/json")),
        None => Err(no_such_flag(&name)),
    })
}

/// `PUT {name}`: sets the flag to any JSON value. When the reply arrives, every worker has it.
#[handler]
async fn put(name: Path<String>, value: Option<Json<Box<RawValue>>>) -> Result<Json<Value>> {
    match value {
        Some(Json(value)) => change(Change { name: name.0, value: Some(value) }).await,
        None => Err(Failure::bad_request("invalid-body", "the body is empty: send the value of the flag as JSON")),
    }
}

/// `DELETE {name}`: removes the flag. When the reply arrives, no worker has it.
#[handler]
async fn delete(name: Path<String>) -> Result<Json<Value>> {
    if !STORE.with_borrow(|flags| flags.value(&name).is_some()) {
        return Err(no_such_flag(&name));
    }
    change(Change { name: name.0, value: None }).await
}

/// Broadcasts a change and waits until every worker has applied it.
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
    let message = format!("{} of {workers} workers did not apply the change to `{}`", missing.len(), change.name);
    Err(Failure::new("not-everywhere", message).with_status(503).with_data(Json(missing)))
}

/// The inner route of the broadcast `set`: applies a change in this worker.
#[handler]
fn set(change: Json<Change>, cx: Context) -> Result<()> {
    let Some(broadcast) = cx.broadcast() else {
        return Err(Failure::bad_request(
            "not-a-broadcast",
            "this route is for the broadcast `set`: change a flag with PUT or DELETE",
        ));
    };
    // All workers apply the changes in the same order, so all of them reject the same changes.
    STORE.with_borrow_mut(|flags| {
        if !flags.has_room_for(&change.name) {
            let message = format!("cannot set `{}`: {MAX_NAMES} names are in use, the maximum", change.name);
            return Err(Failure::new(TOO_MANY, message).with_status(507));
        }
        flags.apply(change.0, broadcast.seq);
        Ok(())
    })
}

/// The inner route `inner/dump`: returns all flags with the `seq` of their last change.
#[handler]
fn dump() -> Result<Reply> {
    STORE.with_borrow(|flags| Reply::new(Json(flags)))
}

/// The startup: a new instance reads the flags of the other workers, and skips workers that do not
/// answer. Broadcasts that arrive meanwhile run afterwards; a change that a dump already contained
/// has no effect.
#[handler]
async fn catch_up(cx: Context) -> Result<()> {
    // When the module starts in every worker, no worker has flags yet.
    if cx.startup().is_none_or(|startup| matches!(startup.reason, StartupReason::Start)) {
        return Ok(());
    }
    let me = host::whoami();
    for worker in (0..me.workers).map(Isolate::Worker).filter(|worker| *worker != me.isolate) {
        match rpc::to(worker.target()).timeout(CATCH_UP_TIMEOUT).call("/inner/dump", ()).await {
            Ok(reply) => {
                let theirs: Flags = reply.json()?;
                STORE.with_borrow_mut(|flags| flags.merge(theirs));
            }
            Err(error) => warn!("cannot read the flags of {worker}: {error}"),
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
