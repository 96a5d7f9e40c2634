//! The channels that other nodes declare.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::ChannelPatternStatus;
use crate::call::text::{NAME, line};
use crate::call::{CallError, ChannelAction, ChannelSettings, DeclaredChannel, Peer, stream_key};

/// The channels that other nodes declare, by pattern.
#[derive(Debug, Default)]
pub(super) struct Declared {
    live: BTreeMap<String, Vec<(Peer, DeclaredChannel)>>,
    /// The patterns that nodes which are gone have declared, with their module.
    former: BTreeMap<String, String>,
}

impl Declared {
    /// Adds the channels of a node, by module.
    pub(super) fn add(&mut self, peer: &Peer, channels: &BTreeMap<String, Vec<ChannelPatternStatus>>) {
        for (module, status) in channels.iter().flat_map(|(module, all)| all.iter().map(move |one| (module, one))) {
            let declared = declared(module, status);
            self.live.entry(status.pattern.clone()).or_default().push((peer.clone(), declared));
        }
    }

    pub(super) fn set_former(&mut self, former: BTreeMap<String, String>) {
        self.former = former;
    }

    /// What the most precise pattern says about a channel. Fails if only nodes that are gone have
    /// declared the channel.
    pub(super) fn rule(&self, channel: &str) -> Option<Result<DeclaredChannel, CallError>> {
        patterns(channel).find_map(|pattern| {
            if let Some((_, declared)) = self.live.get(&pattern).and_then(|nodes| nodes.first()) {
                return Some(Ok(declared.clone()));
            }
            let module = self.former.get(&pattern)?;
            Some(Err(CallError::Unavailable(format!(
                "no node with the module {}, which declares this channel, can be reached: try again",
                line(module, NAME)
            ))))
        })
    }

    /// Returns the nodes that declare a channel, each with the rank of its pattern.
    pub(super) fn find(&self, channel: &str) -> Vec<((bool, usize), Peer)> {
        let found = patterns(channel).filter_map(|pattern| self.live.get_key_value(&pattern));
        let mut nodes: Vec<((bool, usize), Peer)> = Vec::new();
        for (pattern, peers) in found {
            for (peer, _) in peers {
                // The first pattern of a node is its most precise one.
                if nodes.iter().all(|(_, known)| known.id != peer.id) {
                    nodes.push((stream_key::rank(pattern), peer.clone()));
                }
            }
        }
        nodes
    }
}

/// The patterns that cover a channel, the most precise one first.
fn patterns(channel: &str) -> impl Iterator<Item = String> {
    std::iter::once(channel.to_owned()).chain(stream_key::prefixes(channel))
}

fn declared(module: &str, status: &ChannelPatternStatus) -> DeclaredChannel {
    let history = status.history.unwrap_or_default();
    let on = ChannelAction::ALL.into_iter().filter(|action| status.on.iter().any(|on| on == action.as_str()));
    DeclaredChannel {
        module: module.into(),
        settings: ChannelSettings {
            count: history.count,
            age: Duration::from_millis(history.age),
            bytes: history.bytes,
            keep: history.keep,
            presence: status.presence,
            envelope: status.envelope,
            is_for_each: false,
        },
        on: on.collect(),
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
        assert_eq!(&*declared.rule("room/2").unwrap().unwrap().module, "m");
        assert!(declared.rule("rooms").is_none());
        declared.set_former(BTreeMap::from([("hall/*".to_owned(), "m".to_owned())]));
        assert!(matches!(declared.rule("hall/1"), Some(Err(CallError::Unavailable(_)))));
    }
}
