//! Emitting a broadcast, and its confirmation.

use super::{Context, Extra, FIXED, IsolateId, Payload, pairs};

/// The order to emit a broadcast.
#[derive(Debug, Clone, Default)]
pub struct Emission {
    /// The module that declares it. `None` means the caller's own module.
    pub module: Option<String>,
    pub name: String,
    /// The subdomain of its calls. `None` means the caller's subdomain.
    pub subdomain: Option<String>,
    /// This version ignores it.
    pub extra: Extra,
}

impl Emission {
    /// The size of all its text in bytes.
    pub fn text_len(&self) -> usize {
        let name = |name: &Option<String>| name.as_ref().map_or(0, String::len);
        name(&self.module) + self.name.len() + name(&self.subdomain) + pairs(&self.extra)
    }
}

/// The host returns a receipt after it has queued a broadcast.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The id of the broadcast. Unique on this node until the host restarts.
    pub id: u64,
    /// The number of this broadcast among those of its module on this node, from 1.
    pub seq: u64,
    /// The number of workers that put the broadcast into the module's mailbox.
    pub accepted: u32,
    /// The workers that did not.
    pub skipped: Vec<Skipped>,
    /// Pairs that later versions may add.
    pub extra: Extra,
}

/// A worker that did not queue a broadcast, and the reason.
#[derive(Debug, Clone)]
pub struct Skipped {
    /// The worker.
    pub isolate: IsolateId,
    /// The worker's node. `None` means this node.
    pub node: Option<String>,
    /// The reason, as text for people.
    pub reason: String,
}

/// The [`weight`](super::Call::weight) that a broadcast will have in each worker, before it is
/// queued.
pub fn weight_of_broadcast(name: &str, subdomain: Option<&str>, waits: Option<&Context>, payload: &Payload) -> u64 {
    let above = waits.map_or(0, Context::weight);
    (FIXED + subdomain.map_or(0, str::len) + above + name.len() + payload.len()) as u64
}
