//! The other nodes of the cluster, as this node knows them: from what they say, and how long they
//! have been silent. It knows neither NATS nor a clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::counts::PeerCounts;
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
}

/// What a change of the nodes asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask the node for its facts.
    Ask(String),
    /// Send a heartbeat at once.
    Greet,
    /// What this node has sent to all nodes has arrived here.
    Heard,
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
    /// The nodes that serve a module.
    pub(super) holders: BTreeMap<String, Vec<Peer>>,
}

/// All nodes that were heard.
pub(super) struct Presence {
    own: Heartbeat,
    gone_after: Duration,
    entries: BTreeMap<String, Entry>,
    swept: Option<Instant>,
    /// When this node heard itself last. `None` if it has told so already.
    own_heard: Option<Instant>,
    /// Whether a node found no room since the last one that ended.
    full: bool,
}

impl Presence {
    /// `own` says who this node is.
    pub(super) fn new(own: Heartbeat, gone_after: Duration) -> Presence {
        Presence { own, gone_after, entries: BTreeMap::new(), swept: None, own_heard: None, full: false }
    }

    /// A heartbeat has arrived.
    pub(super) fn heard(&mut self, beat: Heartbeat, now: Instant) -> Vec<Step> {
        if beat.node == self.own.node {
            if beat.boot == self.own.boot {
                self.own_heard = Some(now);
                return vec![Step::Heard];
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
        if has_left && entry.facts.is_some() {
            steps.push(Step::Changed);
        }
        entry.beat = beat;
        let outdated = entry.facts.as_ref().is_none_or(|facts| facts.info.revision != entry.beat.revision);
        if entry.beat.version == VERSION && entry.beat.phase != Phase::Leaving && outdated {
            steps.push(Step::Ask(entry.beat.node.clone()));
        }
        steps
    }

    /// A node has answered with its facts.
    pub(super) fn learned(&mut self, info: NodeInfo) -> Vec<Step> {
        let Some(entry) = self.entries.get_mut(&info.id).filter(|entry| entry.beat.boot == info.boot) else {
            return Vec::new();
        };
        let (known, info) = (Arc::new(known(&info)), Arc::new(info));
        let earlier = entry.facts.replace(Facts { info: info.clone(), known });
        vec![if earlier.is_none() { Step::Up(info) } else { Step::Changed }]
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
        Some(Step::Down { node: info.id.clone(), server: info.server.clone(), reason: reason.to_owned() })
    }

    /// The nodes that can be called now.
    pub(super) fn view(&self) -> View {
        let mut view = View::default();
        for entry in self.entries.values().filter(|entry| entry.beat.phase != Phase::Leaving) {
            let Some(Facts { info, known }) = entry.facts.clone() else { continue };
            let peer = Peer { id: info.id.as_str().into(), server: info.server.as_str().into(), workers: info.workers };
            for module in info.modules.keys() {
                view.holders.entry(module.clone()).or_default().push(peer.clone());
            }
            let (gone, counts) = (entry.gone.clone(), entry.counts.clone());
            view.nodes.insert(info.id.clone(), Reachable { peer, info, known, gone, counts });
        }
        view
    }

    /// The nodes with another version of the protocol, each with its version.
    pub(super) fn incompatible(&self) -> Vec<(String, u8)> {
        let other = self.entries.values().filter(|entry| entry.beat.version != VERSION);
        other.map(|entry| (entry.beat.node.clone(), entry.beat.version)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(node: &str, boot: &str, since: u64) -> Heartbeat {
        let (node, boot) = (node.to_owned(), boot.to_owned());
        Heartbeat { version: VERSION, node, boot, since, revision: 1, phase: Phase::Here }
    }

    fn info(node: &str, boot: &str, revision: u64) -> NodeInfo {
        let (id, boot, server) = (node.to_owned(), boot.to_owned(), "chat".to_owned());
        let modules = BTreeMap::from([("m".to_owned(), "abc".to_owned())]);
        NodeInfo { id, boot, server, workers: 2, revision, modules, ..NodeInfo::default() }
    }

    fn presence() -> Presence {
        Presence::new(beat("a", "own", 50), Duration::from_secs(3))
    }

    fn down(node: &str, reason: &str) -> Step {
        Step::Down { node: node.into(), server: "chat".into(), reason: reason.into() }
    }

    fn ids(presence: &Presence) -> Vec<String> {
        presence.view().nodes.into_keys().collect()
    }

    /// Hears and learns of `b`.
    fn with_b(now: Instant) -> Presence {
        let mut presence = presence();
        assert_eq!(presence.heard(beat("b", "1", 10), now), [Step::Ask("b".into())]);
        assert!(ids(&presence).is_empty(), "its facts are not known yet");
        assert_eq!(presence.learned(info("b", "1", 1)).len(), 1);
        assert_eq!(ids(&presence), ["b"]);
        presence
    }

    #[test]
    fn a_node_is_there_once_its_facts_are_known_and_is_asked_again_when_they_change() {
        let now = Instant::now();
        let mut presence = with_b(now);
        assert_eq!(presence.heard(beat("b", "1", 10), now), []);
        let changed = Heartbeat { revision: 2, ..beat("b", "1", 10) };
        assert_eq!(presence.heard(changed.clone(), now), [Step::Ask("b".into())]);
        assert_eq!(presence.heard(changed.clone(), now), [Step::Ask("b".into())], "until it answers");
        assert_eq!(presence.learned(info("b", "1", 2)), [Step::Changed]);
        assert_eq!(presence.heard(changed, now), []);
        assert_eq!(presence.view().holders["m"][0].workers, 2);
        assert_eq!(presence.learned(info("b", "0", 3)), [], "an answer of an earlier process");
    }

    #[test]
    fn a_silent_node_is_gone_and_its_calls_learn_of_it() {
        let now = Instant::now();
        let mut presence = with_b(now);
        let gone = presence.view().nodes["b"].gone.clone();
        assert_eq!(presence.sweep(now + Duration::from_secs(1)), []);
        assert_eq!(presence.sweep(now + Duration::from_secs(2)), []);
        assert_eq!(presence.sweep(now + Duration::from_secs(3)), []);
        assert!(!gone.is_cancelled());
        assert_eq!(presence.sweep(now + Duration::from_millis(3_001)), [down("b", "silent for 3s")]);
        assert!(gone.is_cancelled() && ids(&presence).is_empty());
    }

    #[test]
    fn a_node_that_did_not_run_for_a_while_ends_no_other_node() {
        let now = Instant::now();
        let mut presence = with_b(now);
        assert_eq!(presence.sweep(now), []);
        let later = now + Duration::from_secs(10);
        assert_eq!(presence.sweep(later), []);
        assert_eq!(presence.sweep(later + Duration::from_secs(1)), []);
        assert_eq!(presence.sweep(later + Duration::from_secs(2)), []);
        assert_eq!(presence.sweep(later + Duration::from_millis(3_001)).len(), 1);
    }

    #[test]
    fn a_node_that_does_not_hear_itself_says_so_once() {
        let (mut presence, now) = (presence(), Instant::now());
        let at = |millis| now + Duration::from_millis(millis);
        assert_eq!(presence.heard(beat("a", "own", 50), now), [Step::Heard]);
        for millis in [0, 1_000, 2_000, 3_000] {
            assert_eq!(presence.sweep(at(millis)), []);
        }
        assert_eq!(presence.sweep(at(3_001)), [Step::Silent]);
        assert_eq!(presence.sweep(at(4_000)), []);
        assert_eq!(presence.heard(beat("a", "own", 50), at(4_001)), [Step::Heard]);
    }

    #[test]
    fn a_new_process_replaces_the_earlier_one() {
        let now = Instant::now();
        let mut presence = with_b(now);
        let steps = presence.heard(beat("b", "2", 20), now);
        assert_eq!(steps, [down("b", "its process was replaced"), Step::Ask("b".into())]);
        assert_eq!(presence.heard(beat("b", "1", 10), now), [], "a late message of the earlier one");
        assert_eq!(presence.heard(Heartbeat { phase: Phase::Left, ..beat("b", "1", 10) }, now), []);
    }

    #[test]
    fn a_node_that_leaves_gets_no_new_calls_and_ends_when_it_has_left() {
        let now = Instant::now();
        let mut presence = with_b(now);
        let gone = presence.view().nodes["b"].gone.clone();
        let leaving = Heartbeat { phase: Phase::Leaving, ..beat("b", "1", 10) };
        assert_eq!(presence.heard(leaving.clone(), now), [Step::Changed]);
        assert_eq!(presence.heard(leaving, now), []);
        assert!(ids(&presence).is_empty() && !gone.is_cancelled());
        let left = Heartbeat { phase: Phase::Left, ..beat("b", "1", 10) };
        assert_eq!(presence.heard(left, now), [down("b", "it stopped")]);
        assert!(gone.is_cancelled());
    }

    #[test]
    fn a_new_node_is_greeted() {
        let new = Heartbeat { phase: Phase::New, ..beat("b", "1", 10) };
        assert_eq!(presence().heard(new, Instant::now()), [Step::Greet, Step::Ask("b".into())]);
    }

    #[test]
    fn of_two_nodes_with_one_id_the_younger_keeps_it() {
        let (mut presence, now) = (presence(), Instant::now());
        assert_eq!(presence.heard(beat("a", "own", 50), now), [Step::Heard], "its own heartbeat");
        assert_eq!(presence.heard(beat("a", "x", 10), now), [Step::Conflict { keeps: true }]);
        assert_eq!(presence.heard(beat("a", "x", 60), now), [Step::Conflict { keeps: false }]);
        let left = Heartbeat { phase: Phase::Left, ..beat("a", "x", 60) };
        assert_eq!(presence.heard(left, now), []);
    }

    #[test]
    fn nodes_beyond_the_most_of_a_cluster_are_named_once_and_kept_out() {
        let (mut presence, now) = (presence(), Instant::now());
        for number in 1..MAX_SERVERS {
            let node = format!("b-{number}");
            assert_eq!(presence.heard(beat(&node, "1", 10), now), [Step::Ask(node)]);
        }
        assert_eq!(presence.heard(beat("c", "1", 10), now), [Step::Full("c".into())]);
        assert_eq!(presence.heard(beat("d", "1", 10), now), [], "once");
        assert_eq!(presence.learned(info("c", "1", 1)), []);
        let left = Heartbeat { phase: Phase::Left, ..beat("b-1", "1", 10) };
        assert_eq!(presence.heard(left, now), []);
        assert_eq!(presence.heard(beat("c", "1", 10), now), [Step::Ask("c".into())], "there is room again");
        assert_eq!(presence.heard(beat("d", "1", 10), now), [Step::Full("d".into())]);
    }

    #[test]
    fn a_node_with_another_version_is_named_once_and_never_called() {
        let (mut presence, now) = (presence(), Instant::now());
        let other = Heartbeat { version: VERSION + 1, ..beat("b", "1", 10) };
        let named = Step::Incompatible { node: "b".into(), version: VERSION + 1 };
        assert_eq!(presence.heard(other.clone(), now), [named]);
        assert_eq!(presence.heard(other, now), []);
        assert_eq!((ids(&presence).len(), presence.incompatible()), (0, vec![("b".to_owned(), VERSION + 1)]));
    }
}
