//! The home node of a channel: of the live nodes that declare the channel, the one with the highest
//! hash of the name and its id (rendezvous hashing). All nodes that know the same nodes pick the
//! same home. A node that comes or goes moves only the channels that it gets or had.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Dispatch;
use super::rendezvous::weight_of;
use crate::call::{
    CallError, ChannelAnswer, ChannelHome, ChannelRequest, Context, Envelope, HomeCall, Origin, Peer, Trace, VERSION,
    channel, stream_key,
};
use crate::ports::BoxFuture;
use crate::registry::{KeyOwner, ModuleState};

/// How long a request waits that nobody waits for.
const LONGEST: Duration = Duration::from_secs(60);

/// Tells when channels may have another home.
pub struct HomeChanges {
    nodes: watch::Receiver<u64>,
    modules: watch::Receiver<u64>,
}

impl HomeChanges {
    /// Waits until a node or a module has come, changed or gone since the last call.
    pub async fn next(&mut self) {
        tokio::select! {
            () = changed(&mut self.nodes) => {}
            () = changed(&mut self.modules) => {}
        }
    }
}

/// Waits for a change, for ever once the sender was dropped.
async fn changed(receiver: &mut watch::Receiver<u64>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Dispatch {
    /// Returns the home of a channel. `None` if no live node declares the channel. The channel that
    /// announces the members of another one has the home of that one.
    ///
    /// A node that is about to stop is no home, unless no other node declares the channel. Fails if
    /// the module that may declare the channel is not installed on this node.
    pub fn channel_home(&self, name: &str) -> Result<Option<ChannelHome>, CallError> {
        let name = channel::announced(name).unwrap_or(name);
        let own = match self.roster.owner_of_channel(name) {
            KeyOwner::Nobody => None,
            KeyOwner::Installed(module) => match self.roster.state(&module) {
                Some(ModuleState::Installed(generation)) => {
                    generation.manifest.channels.find(name).map(|(pattern, _)| stream_key::rank(pattern))
                }
                _ => return Err(self.missing(&module)),
            },
            KeyOwner::Claimed(module) | KeyOwner::Absent(module) => return Err(self.missing(&module)),
        };
        let others = self.peers.declaring(name);
        let leaves = !others.is_empty() && self.peers.is_leaving();
        Ok(home(name, (&self.node.id, own.filter(|_| !leaves)), &others))
    }

    /// Asks the home of a channel, another node. Requests to a node arrive in the order of these
    /// calls.
    pub fn ask_home(&self, node: &str, call: HomeCall) -> BoxFuture<Result<ChannelAnswer, CallError>> {
        let HomeCall { channel, ask, origin, session, parent, awaited, timeout, payload } = call;
        let own: Arc<str> = self.node.id.as_str().into();
        let origin = match origin {
            Origin::Guest { module, isolate, node: None } => Origin::Guest { module, isolate, node: Some(own.clone()) },
            other => other,
        };
        let parent = parent.as_deref();
        let waits = parent.filter(|_| awaited);
        let until = waits.and_then(Context::until).map(|until| until.saturating_duration_since(Instant::now()));
        let envelope = Envelope {
            version: VERSION,
            origin,
            chain: waits.map(|parent| parent.chain(&own)).unwrap_or_default(),
            depth: parent.map_or(0, |parent| parent.depth + 1),
            in_startup: waits.is_some_and(|parent| parent.in_startup),
            // The home ends its calls in its own time, and answers.
            left: timeout.into_iter().chain(until).min().unwrap_or(LONGEST),
            trace: parent.map_or_else(Trace::fresh, |parent| parent.trace),
            subdomain: parent.and_then(|parent| parent.subdomain.clone()),
        };
        let (channel, session) = (channel.to_string(), session.map(|session| session.to_string()));
        self.peers.ask_home(node, ChannelRequest { envelope, channel, session, ask, payload })
    }

    /// The nearest call in the chain of a request from another node that still runs here.
    pub fn caller_of(&self, envelope: &Envelope) -> Option<Arc<Context>> {
        envelope.chain.iter().filter(|link| *link.node == *self.node.id).find_map(|link| self.running_call(link))
    }

    /// Tells when channels may have another home.
    pub fn home_changes(&self) -> HomeChanges {
        HomeChanges { nodes: self.peers.changes(), modules: self.roster.changes() }
    }
}

/// How precisely a node declares a channel.
type Rank = (bool, usize);

/// Picks the home of a channel. While nodes have different generations of a module, those that
/// declare the channel most precisely have it.
fn home(channel: &str, (id, own): (&str, Option<Rank>), others: &[(Rank, Peer)]) -> Option<ChannelHome> {
    let rank = own.into_iter().chain(others.iter().map(|(rank, _)| *rank)).max()?;
    let own = own.filter(|own| *own == rank).map(|_| (id, ChannelHome::Own));
    let others = others.iter().filter(|(of, _)| *of == rank);
    let all = others.map(|(_, peer)| (&*peer.id, ChannelHome::Node(peer.id.clone()))).chain(own);
    all.max_by_key(|(node, _)| (weight_of(channel, node), Reverse(*node))).map(|(_, home)| home)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(ids: &[&str]) -> Vec<(Rank, Peer)> {
        let peer = |id: &&str| ((false, 6), Peer { id: (*id).into(), server: "chat".into(), workers: 1 });
        ids.iter().map(peer).collect()
    }

    /// The home of a channel, as the first of these nodes sees it.
    fn of(channel: &str, nodes: &[&str]) -> String {
        match home(channel, (nodes[0], Some((false, 6))), &peers(&nodes[1..])).unwrap() {
            ChannelHome::Own => nodes[0].to_owned(),
            ChannelHome::Node(node) => node.to_string(),
        }
    }

    #[test]
    fn all_nodes_pick_the_same_home_and_a_new_one_moves_only_its_share() {
        let mut counts = [0; 4];
        for number in 0..4_000 {
            let channel = format!("room/{number}");
            let before = of(&channel, &["a", "b", "c"]);
            assert_eq!(
                [of(&channel, &["b", "c", "a"]), of(&channel, &["c", "a", "b"])],
                [before.clone(), before.clone()]
            );
            let after = of(&channel, &["a", "b", "c", "d"]);
            assert!(after == before || after == "d", "{channel}");
            counts["abcd".find(&after).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_node_that_does_not_declare_the_channel_is_no_home() {
        assert_eq!(home("room/1", ("a", None), &[]), None);
        assert_eq!(home("room/1", ("a", None), &peers(&["b"])), Some(ChannelHome::Node("b".into())));
        let others: Vec<_> = peers(&["b", "c", "d", "e"]);
        let precise = home("room/1", ("a", Some((true, 6))), &others);
        assert_eq!(precise, Some(ChannelHome::Own), "the others declare a pattern, this node the name itself");
    }
}
