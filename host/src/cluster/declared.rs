//! The channels that other nodes declare.

use std::collections::BTreeMap;

use crate::api::ChannelPatternStatus;
use crate::call::{Peer, stream_key};

/// The channels that other nodes declare, by pattern.
#[derive(Debug, Default)]
pub(super) struct Declared(BTreeMap<String, Vec<Peer>>);

impl Declared {
    /// Adds the channels of a node, by module.
    pub(super) fn add(&mut self, peer: &Peer, channels: &BTreeMap<String, Vec<ChannelPatternStatus>>) {
        for declared in channels.values().flatten() {
            self.0.entry(declared.pattern.clone()).or_default().push(peer.clone());
        }
    }

    /// Returns the nodes that declare a channel, each with the rank of its pattern.
    pub(super) fn find(&self, channel: &str) -> Vec<((bool, usize), Peer)> {
        let patterns = std::iter::once(channel.to_owned()).chain(stream_key::prefixes(channel));
        let found = patterns.filter_map(|pattern| self.0.get_key_value(&pattern));
        let mut nodes: Vec<((bool, usize), Peer)> = Vec::new();
        for (pattern, peers) in found {
            for peer in peers {
                // The first pattern of a node is its most precise one.
                if nodes.iter().all(|(_, known)| known.id != peer.id) {
                    nodes.push((stream_key::rank(pattern), peer.clone()));
                }
            }
        }
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_is_found_by_its_most_precise_pattern() {
        let mut declared = Declared::default();
        let peer = |id: &str| Peer { id: id.into(), server: "chat".into(), workers: 1 };
        let channels = |patterns: &[&str]| {
            let one = |pattern: &&str| ChannelPatternStatus { pattern: (*pattern).to_owned(), ..Default::default() };
            BTreeMap::from([("m".to_owned(), patterns.iter().map(one).collect())])
        };
        declared.add(&peer("a"), &channels(&["room/*", "room/1"]));
        declared.add(&peer("b"), &channels(&["room/*"]));
        let found = |channel: &str| -> Vec<_> {
            declared.find(channel).into_iter().map(|(rank, peer)| (rank, peer.id.to_string())).collect()
        };
        assert_eq!(found("room/1"), [((true, 6), "a".to_owned()), ((false, 6), "b".to_owned())]);
        assert_eq!(found("room/2"), [((false, 6), "a".to_owned()), ((false, 6), "b".to_owned())]);
        assert_eq!(found("rooms"), []);
    }
}
