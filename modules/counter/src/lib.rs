//! Counts by key. Each worker counts the requests that it serves; a total adds up all workers.
//!
//! The counts live in memory. A swap hands them over, so it loses nothing; a crash loses the counts
//! of its worker. A worker counts at most [`MAX_KEYS`] keys.

use std::cell::RefCell;
use std::collections::BTreeMap;

use fanfare_sdk::prelude::*;
use fanfare_sdk::types::Group;

/// The maximum number of keys in a worker.
const MAX_KEYS: usize = 1_000;

thread_local! {
    static COUNTS: RefCell<Counts> = RefCell::default();
}

/// The counts of one worker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// Adds to a count and returns the new count.
    fn add(&mut self, key: &str, amount: u64) -> Result<u64> {
        if self.0.len() >= MAX_KEYS && !self.0.contains_key(key) {
            let message = format!("cannot count `{key}`: this worker already counts {MAX_KEYS} keys, the maximum");
            return Err(Failure::new("too-many-keys", message).with_status(507));
        }
        let count = self.0.entry(key.to_owned()).or_default();
        let overflow = || {
            let message = format!("cannot add {amount} to `{key}`: the count would exceed {}", u64::MAX);
            Failure::bad_request("too-much", message)
        };
        *count = count.checked_add(amount).ok_or_else(overflow)?;
        Ok(*count)
    }
}

/// `POST {key}`: adds one, or the number in the body, to the count of this worker.
#[handler]
fn add(key: Path<String>, amount: Option<Json<u64>>) -> Result<Json<Value>> {
    let count = COUNTS.with_borrow_mut(|counts| counts.add(&key, amount.map_or(1, |amount| amount.0)))?;
    Ok(Json(json!({"isolate": host::isolate(), "key": key.0, "count": count})))
}

/// `GET {key}`: returns the total of all workers, and the count of each worker.
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

/// `GET ""`: returns the total of every key.
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

/// The inner route `inner/counts`: returns the counts of this worker.
#[handler]
fn counts() -> Json<Counts> {
    Json(COUNTS.with_borrow(Counts::clone))
}

/// Collects the counts of every worker. Fails if one is missing, because the total would be wrong.
async fn gather() -> Result<Vec<(String, Counts)>> {
    let entries = rpc::to(Group::Workers).call_every("/inner/counts", ()).await?;
    let mut all = Vec::with_capacity(entries.len());
    for entry in entries {
        let isolate = entry.isolate.to_string();
        let reply = entry.outcome.map_err(|error| {
            Failure::new("not-everywhere", format!("cannot read the counts of {isolate}: {error}")).with_status(503)
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
