//! The modules of this node: other nodes know them, and their broadcasts arrive here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;

use futures_util::StreamExt;
use tokio_util::task::AbortOnDropHandle;

use super::Cluster;
use super::wire::{Cast, Sender};
use crate::api::ChannelPatternStatus;
use crate::call::bounds;
use crate::call::text::{MESSAGE, line};
use crate::events::Notice;
use crate::registry::{Generation, Roster};

/// The most senders of a module whose numbers are remembered.
const MOST_SENDERS: usize = 1_024;

/// The most patterns of channels that other nodes know of this node.
const MOST_PATTERNS: usize = 2_048;

/// The last numbers of the broadcasts of a module, by the process that sent them.
#[derive(Default)]
struct Numbers(HashMap<String, u64>);

impl Numbers {
    /// Takes a number. Returns how many broadcasts before it are missing.
    fn take(&mut self, from: &Sender, number: u64) -> u64 {
        if self.0.len() >= MOST_SENDERS && !self.0.contains_key(&from.boot) {
            self.0.clear();
        }
        let last = self.0.insert(from.boot.clone(), number);
        last.map_or(0, |last| number.saturating_sub(last.saturating_add(1)))
    }
}

/// The modules that a node serves, each with its generation.
pub(super) fn installed(roster: &Roster) -> BTreeMap<String, String> {
    let entry = |generation: Arc<Generation>| (generation.module.to_string(), generation.short_digest().to_owned());
    roster.installed().into_iter().map(entry).collect()
}

/// The channels that the modules of a node declare, at most [`MOST_PATTERNS`].
fn channels(roster: &Roster) -> BTreeMap<String, Vec<ChannelPatternStatus>> {
    let mut left = MOST_PATTERNS;
    let mut entry = |generation: Arc<Generation>| {
        let mut channels = generation.manifest.channel_statuses();
        if channels.len() > left {
            bounds::CHANNEL_PATTERNS.count();
            tracing::error!(module = %generation.module, most = MOST_PATTERNS, "the modules of this node declare too many patterns of channels: other nodes do not know the last ones");
            channels.truncate(left);
        }
        left -= channels.len();
        (generation.module.to_string(), channels)
    };
    roster.installed().into_iter().map(&mut entry).filter(|(_, channels)| !channels.is_empty()).collect()
}

/// The durable broadcasts of the modules that a node serves.
fn durable(roster: &Roster) -> BTreeMap<String, BTreeSet<String>> {
    let entry = |generation: &Arc<Generation>| {
        (generation.module.to_string(), generation.manifest.durable.keys().cloned().collect::<BTreeSet<_>>())
    };
    roster.installed().iter().map(entry).filter(|(_, names)| !names.is_empty()).collect()
}

impl Cluster {
    /// Subscribes to the broadcasts of the modules that this node serves, and tells the other nodes
    /// of them.
    pub(super) async fn follow_modules(self: Arc<Self>) {
        let Some(roster) = self.node.roster() else { return };
        let mut changes = roster.changes();
        let mut subscribed: HashMap<String, AbortOnDropHandle<()>> = HashMap::new();
        let mut reading: HashMap<String, AbortOnDropHandle<()>> = HashMap::new();
        loop {
            changes.mark_unchanged();
            let modules = installed(&roster);
            let (durable, channels) = (durable(&roster), channels(&roster));
            reading.retain(|module, _| durable.contains_key(module));
            for module in durable.keys() {
                reading.entry(module.clone()).or_insert_with(|| self.read_durable(module.clone()));
            }
            subscribed.retain(|module, _| modules.contains_key(module));
            for module in modules.keys().filter(|module| !subscribed.contains_key(*module)).cloned().collect::<Vec<_>>()
            {
                if let Some(task) = self.receive_broadcasts(module.clone()).await {
                    subscribed.insert(module, task);
                }
            }
            let changed = {
                let mut info = self.info.lock();
                let changed = info.modules != modules || info.durable != durable || info.channels != channels;
                if changed {
                    (info.modules, info.durable, info.channels) = (modules, durable, channels);
                    info.revision += 1;
                }
                changed
            };
            if changed {
                self.changes.send_modify(|count| *count += 1);
                self.beat.notify_one();
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    async fn receive_broadcasts(self: &Arc<Self>, module: String) -> Option<AbortOnDropHandle<()>> {
        let client = self.link.client()?;
        let mut casts = match client.subscribe(self.subjects.broadcasts(&module)).await {
            Ok(casts) => casts,
            Err(error) => {
                tracing::error!(%error, module, "cannot receive the broadcasts of other nodes");
                return None;
            }
        };
        let cluster = Arc::downgrade(self);
        Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let (mut numbers, mut notice) = (Numbers::default(), Notice::default());
            while let Some(message) = casts.next().await {
                let Some(cluster) = cluster.upgrade() else { return };
                let cast = match Cast::read(&message.payload) {
                    Ok(cast) => cast,
                    Err(error) => {
                        cluster.link.counts.malformed.inc();
                        tracing::warn!(%error, module, "a broadcast of another node cannot be read");
                        continue;
                    }
                };
                if cast.from.boot == cluster.boot() {
                    continue;
                }
                let missed = numbers.take(&cast.from, cast.number);
                if missed > 0 {
                    cluster.link.counts.missed.inc_by(missed);
                    if let Some(count) = notice.add(missed, std::time::Instant::now()) {
                        tracing::warn!(module, from = %cast.from.node, count, "broadcasts of another node did not arrive");
                    }
                }
                cluster.on_broadcast(cast, message.reply.map(|reply| reply.to_string()));
            }
        })))
    }

    /// Runs a broadcast of another node in every worker of this one.
    fn on_broadcast(self: &Arc<Self>, cast: Cast, reply: Option<String>) {
        let Cast { from, gather, broadcast, .. } = cast;
        let Some(dispatch) = self.node.dispatch().filter(|_| self.joined.load(Acquire)) else { return };
        self.count_received(&from.node);
        match reply.filter(|_| gather) {
            None => {
                let (module, name) = (broadcast.module.clone(), broadcast.name.clone());
                if let Err(error) = dispatch.on_peer_broadcast(broadcast) {
                    let error = line(&error.to_string(), MESSAGE);
                    tracing::warn!(module, name, from = %from.node, %error, "a broadcast of another node was refused");
                }
            }
            Some(reply) => {
                let entries = dispatch.on_peer_gather(broadcast);
                let cluster = self.clone();
                tokio::spawn(async move { cluster.answer(reply, entries.await.into()).await });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_the_numbers_of_a_sender_is_noticed() {
        let mut numbers = Numbers::default();
        let from = |boot: &str| Sender { node: "a".into(), boot: boot.into() };
        assert_eq!(numbers.take(&from("1"), 7), 0, "the first that arrives");
        assert_eq!((numbers.take(&from("1"), 8), numbers.take(&from("1"), 11)), (0, 2));
        assert_eq!((numbers.take(&from("2"), 1), numbers.take(&from("1"), 12)), (0, 0));
        (0..MOST_SENDERS as u64 * 2).for_each(|sender| _ = numbers.take(&from(&format!("x{sender}")), 1));
        assert!(numbers.0.len() <= MOST_SENDERS);
    }
}
