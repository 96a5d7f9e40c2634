//! The other nodes of the cluster, as this node knows them: from what they say, and how long they
//! have been silent. It knows neither NATS nor a clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::census_request::number_of;
use super::counts::PeerCounts;
use super::declared::Declared;
use super::former::Former;
use super::known::known;
use crate::api::NodeInfo;
use crate::call::{Peer, VERSION};
use crate::config::MAX_SERVERS;
use crate::ports::KnownNode;

/// The state that a node tells the others with each heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Phase {
    /// It begins to serve, and wants to hear from the others at once.
    New,
    Here,
    /// It stops, and answers only the calls that it has.
    Leaving,
    /// It has stopped.
    Left,
}

/// A sign of life. JSON that every version of the protocol understands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Heartbeat {
    pub(super) version: u8,
    pub(super) node: String,
    /// Differs for each start of the host.
    pub(super) boot: String,
    /// When the host started, in milliseconds since 1970-01-01 UTC.
    pub(super) since: u64,
    /// Counts the changes of the facts about the node.
    pub(super) revision: u64,
    pub(super) phase: Phase,
    /// Whether it wants to know the last numbers that others have given for messages about topics.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) asks: bool,
    /// When it was sent, by a clock of the node's own.
    #[serde(default)]
    pub(super) sent: u64,
}

/// What a change of the nodes asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask a node that is new here for its facts.
    Meet(String),
    /// Ask a node for its facts, because they have changed.
    Ask(String),
    /// Send a heartbeat at once.
    Greet,
    /// Tell the last numbers of messages about topics.
    TellNumbers,
    /// What this node has sent to all nodes has arrived here.
    Heard {
        /// When this node has sent it, by its own clock.
        sent: u64,
    },
    /// It has not arrived for too long.
    Silent,
    Up(Arc<NodeInfo>),
    /// A known node has changed.
    Changed,
    Down {
        node: String,
        server: String,
        reason: String,
    },
    /// Another node has the id of this one, and is the one that keeps it or not.
    Conflict {
        keeps: bool,
    },
    /// A node has another version of the protocol.
    Incompatible {
        node: String,
        version: u8,
    },
    /// There is no room for a node.
    Full(String),
}

/// A node that was heard.
struct Entry {
    beat: Heartbeat,
    last: Instant,
    /// `None` until the node has answered.
    facts: Option<Facts>,
    gone: CancellationToken,
    counts: Arc<PeerCounts>,
}

/// What a node has answered.
#[derive(Debug, Clone)]
struct Facts {
    info: Arc<NodeInfo>,
    known: Arc<KnownNode>,
}

/// A node that calls can be sent to.
#[derive(Debug, Clone)]
pub(super) struct Reachable {
    pub(super) peer: Peer,
    pub(super) info: Arc<NodeInfo>,
    /// The same, for guests.
    pub(super) known: Arc<KnownNode>,
    /// Cancelled when the node is gone.
    pub(super) gone: CancellationToken,
    pub(super) counts: Arc<PeerCounts>,
}

/// The nodes at one time.
#[derive(Debug, Default)]
pub(super) struct View {
    /// By id.
    pub(super) nodes: BTreeMap<String, Reachable>,
    /// The nodes that clients connect to, by id. A node that is about to stop is still one of them,
    /// as long as it has connections.
    pub(super) frontends: BTreeMap<String, Reachable>,
    /// The nodes that serve a module.
    pub(super) holders: BTreeMap<String, Vec<Peer>>,
    /// The channels that they declare.
    pub(super) channels: Declared,
    /// A number for these nodes and what they declare.
    pub(super) number: u64,
}

/// All nodes that were heard.
pub(super) struct Presence {
    own: Heartbeat,
    gone_after: Duration,
    entries: BTreeMap<String, Entry>,
    pub(super) former: Former,
    swept: Option<Instant>,
    /// When this node heard itself last. `None` if it has told so already.
    own_heard: Option<Instant>,
    /// Whether a node found no room since the last one that ended.
    full: bool,
    /// The patterns of channels that nodes which are gone have declared, with their module.
    former_channels: BTreeMap<String, String>,
}

/// The most patterns of channels of nodes that are gone.
const MOST_PATTERNS: usize = 2_048;

impl Presence {
    /// `own` says who this node is.
    pub(super) fn new(own: Heartbeat, gone_after: Duration, former: Former) -> Presence {
        Presence {
            own,
            gone_after,
            entries: BTreeMap::new(),
            former,
            swept: None,
            own_heard: None,
            full: false,
            former_channels: BTreeMap::new(),
        }
    }

    /// A heartbeat has arrived.
    pub(super) fn heard(&mut self, beat: Heartbeat, now: Instant) -> Vec<Step> {
        if beat.node == self.own.node {
            if beat.boot == self.own.boot {
                self.own_heard = Some(now);
                return vec![Step::Heard { sent: beat.sent }];
            }
            // The younger one has asked whether the id is free.
            let keeps = (self.own.since, &self.own.boot) > (beat.since, &beat.boot);
            let stays = !matches!(beat.phase, Phase::Leaving | Phase::Left);
            return if stays { vec![Step::Conflict { keeps }] } else { Vec::new() };
        }
        let mut steps = Vec::new();
        let known = self.entries.get(&beat.node);
        if let Some(entry) = known.filter(|entry| entry.beat.boot != beat.boot) {
            if entry.beat.since > beat.since {
                // The end of a process whose successor is known.
                return steps;
            }
            steps.extend(self.end(&beat.node.clone(), "its process was replaced"));
        }
        if beat.phase == Phase::Left {
            steps.extend(self.end(&beat.node, "it stopped"));
            return steps;
        }
        let is_new = !self.entries.contains_key(&beat.node);
        // This node is one of them.
        if is_new && self.entries.len() + 1 >= MAX_SERVERS {
            steps.extend((!std::mem::replace(&mut self.full, true)).then_some(Step::Full(beat.node)));
            return steps;
        }
        if beat.phase == Phase::New {
            steps.push(Step::Greet);
        }
        if beat.asks {
            steps.push(Step::TellNumbers);
        }
        if beat.version != VERSION && is_new {
            steps.push(Step::Incompatible { node: beat.node.clone(), version: beat.version });
        }
        let entry = self.entries.entry(beat.node.clone()).or_insert_with(|| Entry {
            beat: beat.clone(),
            last: now,
            facts: None,
            gone: CancellationToken::new(),
            counts: Arc::default(),
        });
        entry.last = now;
        let has_left = beat.phase == Phase::Leaving && entry.beat.phase != Phase::Leaving;
        if let Some(facts) = entry.facts.as_ref().filter(|_| has_left) {
            self.former.add(&facts.info);
            steps.push(Step::Changed);
        }
        entry.beat = beat;
        let outdated = entry.facts.as_ref().is_none_or(|facts| facts.info.revision != entry.beat.revision);
        if entry.beat.version == VERSION && entry.beat.phase != Phase::Leaving && outdated {
            let node = entry.beat.node.clone();
            steps.push(if entry.facts.is_some() { Step::Ask(node) } else { Step::Meet(node) });
        }
        steps
    }

    /// A node has answered with its facts.
    pub(super) fn learned(&mut self, info: NodeInfo) -> Vec<Step> {
        let Some(entry) = self.entries.get_mut(&info.id).filter(|entry| entry.beat.boot == info.boot) else {
            return Vec::new();
        };
        self.former.remove(&info.id);
        // A node that has just loaded a module knows which channels it has. One that has it for
        // longer may have an earlier version than the node that is gone.
        let before = entry.facts.as_ref().map(|facts| &facts.info.modules);
        let is_loaded = |module: &String| {
            let generation = info.modules.get(module);
            generation.is_some() && generation != before.and_then(|modules| modules.get(module))
        };
        self.former_channels.retain(|_, module| !is_loaded(module));
        let (known, info) = (Arc::new(known(&info)), Arc::new(info));
        let earlier = entry.facts.replace(Facts { info: info.clone(), known });
        vec![if earlier.is_none() { Step::Up(info) } else { Step::Changed }]
    }

    /// Whether the facts about all nodes that were heard are known, as far as they can be.
    pub(super) fn has_met_all(&self) -> bool {
        let is_met = |entry: &Entry| {
            entry.facts.is_some() || entry.beat.version != VERSION || entry.beat.phase == Phase::Leaving
        };
        self.entries.values().all(is_met)
    }

    /// Whether a node counts here. If so, it does so for as long as if it was heard now. Returns
    /// what is cancelled when the node is gone.
    pub(super) fn vouches_for(&mut self, boot: &str, now: Instant) -> Option<CancellationToken> {
        let counts = |entry: &&mut Entry| entry.beat.boot == boot && entry.facts.is_some();
        let entry = self.entries.values_mut().find(counts)?;
        entry.last = now;
        Some(entry.gone.clone())
    }

    /// Ends the nodes that have been silent for too long. When this node itself has not run for a
    /// while, what the others have sent meanwhile is still to be read, and they get more time.
    pub(super) fn sweep(&mut self, now: Instant) -> Vec<Step> {
        let paused = self.swept.replace(now).is_some_and(|last| now.duration_since(last) > self.gone_after / 2);
        if paused {
            self.entries.values_mut().for_each(|entry| entry.last = now);
            self.own_heard = self.own_heard.map(|_| now);
        }
        let silent = |entry: &&Entry| now.duration_since(entry.last) > self.gone_after;
        let silent: Vec<String> = self.entries.values().filter(silent).map(|entry| entry.beat.node.clone()).collect();
        let reason = format!("silent for {:?}", self.gone_after);
        let mut steps: Vec<Step> = silent.iter().filter_map(|node| self.end(node, &reason)).collect();
        if self.own_heard.take_if(|last| now.duration_since(*last) > self.gone_after).is_some() {
            steps.push(Step::Silent);
        }
        steps
    }

    fn end(&mut self, node: &str, reason: &str) -> Option<Step> {
        let entry = self.entries.remove(node)?;
        entry.gone.cancel();
        self.full = false;
        let info = entry.facts?.info;
        remember_channels(&mut self.former_channels, &info);
        self.former.add(&info);
        Some(Step::Down { node: info.id.clone(), server: info.server.clone(), reason: reason.to_owned() })
    }

    /// The nodes that can be called now.
    pub(super) fn view(&self) -> View {
        let (mut view, mut former) = (View::default(), self.former_channels.clone());
        for entry in self.entries.values() {
            let Some(Facts { info, known }) = entry.facts.clone() else { continue };
            let peer = Peer { id: info.id.as_str().into(), server: info.server.as_str().into(), workers: info.workers };
            let (gone, counts) = (entry.gone.clone(), entry.counts.clone());
            let node = Reachable { peer, info, known, gone, counts };
            if node.info.frontend {
                view.frontends.insert(node.info.id.clone(), node.clone());
            }
            if entry.beat.phase == Phase::Leaving {
                remember_channels(&mut former, &node.info);
                continue;
            }
            view.channels.add(&node.peer, &node.info.channels);
            view.number ^= number_of(&node.info);
            for module in node.info.modules.keys() {
                view.holders.entry(module.clone()).or_default().push(node.peer.clone());
            }
            view.nodes.insert(node.info.id.clone(), node);
        }
        view.channels.set_former(former);
        view
    }

    /// The nodes with another version of the protocol, each with its version.
    pub(super) fn incompatible(&self) -> Vec<(String, u8)> {
        let other = self.entries.values().filter(|entry| entry.beat.version != VERSION);
        other.map(|entry| (entry.beat.node.clone(), entry.beat.version)).collect()
    }
}

/// Adds what a node declares that is gone, or about to be.
fn remember_channels(former: &mut BTreeMap<String, String>, info: &NodeInfo) {
    for (module, channels) in &info.channels {
        for channel in channels.iter().take(MOST_PATTERNS.saturating_sub(former.len())) {
            former.insert(channel.pattern.clone(), module.clone());
        }
    }
}

#[cfg(test)]
mod tests;
