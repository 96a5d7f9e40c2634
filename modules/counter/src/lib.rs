//! Counts by key. Each worker counts what it is asked itself; a total asks them all.
//!
//! The counts live in memory: a swap hands them over, so that nothing is lost; a crash loses those of its worker. There is
//! room for [`MOST`] keys in a worker.

use std::cell::RefCell;
use std::collections::BTreeMap;

use fanfare_sdk::prelude::*;
use fanfare_sdk::types::Group;

/// The most keys that a worker counts.
const MOST: usize = 1_000;

thread_local! {
    static COUNTS: RefCell<Counts> = RefCell::default();
}

/// What one worker has counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// The count afterwards.
    fn add(&mut self, key: &str, more: u64) -> Result<u64> {
        if self.0.len() >= MOST && !self.0.contains_key(key) {
            let message = format!("there is no room for `{key}`: this worker counts {MOST} keys");
            return Err(Failure::new("too-many-keys", message).with_status(507));
        }
        let count = self.0.entry(key.to_owned()).or_default();
        let after = count.checked_add(more);
        *count = after.ok_or_else(|| Failure::bad_request("too-much", format!("`{key}` cannot count so far")))?;
        Ok(*count)
    }
}

/// `POST {key}`: adds one, or the number in the body, to what this worker has counted.
#[handler]
fn add(key: Path<String>, more: Option<Json<u64>>) -> Result<Json<Value>> {
    let count = COUNTS.with_borrow_mut(|counts| counts.add(&key, more.map_or(1, |more| more.0)))?;
    Ok(Json(json!({"isolate": host::isolate(), "key": key.0, "count": count})))
}

/// `GET {key}`: what all workers have counted together, and each of them.
#[handler]
async fn total(key: Path<String>) -> Result<Json<Value>> {
    let all = gather().await?;
    let workers = all.iter().map(|(isolate, counts)| (isolate, counts.0.get(&key.0).copied().unwrap_or_default()));
    let workers: Vec<_> = workers.collect();
    let total = workers.iter().fold(0, |total: u64, (_, count)| total.saturating_add(*count));
    let workers: Vec<Value> =
        workers.into_iter().map(|(isolate, count)| json!({"isolate": isolate, "count": count})).collect();
    Ok(Json(json!({"key": key.0, "total": total, "workers": workers})))
}

/// `GET ""`: the total of every key.
#[handler]
async fn totals() -> Result<Json<BTreeMap<String, u64>>> {
    let mut totals = BTreeMap::new();
    for (_, counts) in gather().await? {
        for (key, count) in counts.0 {
            let total: &mut u64 = totals.entry(key).or_default();
            *total = total.saturating_add(count);
        }
    }
    Ok(Json(totals))
}

/// The inner route: what this worker has counted.
#[handler]
fn counts() -> Json<Counts> {
    Json(COUNTS.with_borrow(Counts::clone))
}

/// What each worker has counted. A total without one of them would be wrong, so it fails instead.
async fn gather() -> Result<Vec<(String, Counts)>> {
    let entries = rpc::to(Group::Workers).call_every("/inner/counts", ()).await?;
    let mut all = Vec::with_capacity(entries.len());
    for entry in entries {
        let isolate = entry.isolate.to_string();
        let reply = entry.outcome.map_err(|error| {
            Failure::new("not-everywhere", format!("{isolate} does not say what it has counted: {error}"))
                .with_status(503)
        })?;
        all.push((isolate, reply.json()?));
    }
    Ok(all)
}

impl State for Counts {
    async fn save() -> Self {
        COUNTS.with_borrow(Counts::clone)
    }

    async fn load(self, _from: &str) -> Result<()> {
        COUNTS.set(self);
        Ok(())
    }
}

fanfare_sdk::module! {
    handlers: [add, total, totals, counts],
    snapshot: Counts,
}

#[cfg(test)]
mod tests;
