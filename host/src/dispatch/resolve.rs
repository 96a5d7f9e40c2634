//! Resolves the target of a call to a slot of this node, or to another node.

use std::cmp::Reverse;
use std::sync::Arc;

use super::Dispatch;
use super::actor::{Actor, module_of};
use super::rendezvous::weight_of;
use crate::call::text::{NAME, line};
use crate::call::{Address, CallError, ChannelHome, Group, IsolateId, Peer, RouteName, Target, TriggerKind};
use crate::isolate::{Isolate, Slot};
use crate::ports::Wanted;
use crate::registry::MatchedRoute;

/// Where a call runs.
pub(super) enum Destination {
    Local(Arc<Slot>, MatchedRoute),
    /// The id of another node, and the target there.
    Remote(Arc<str>, Target),
}

/// One or several destinations of a call to a group.
pub(super) enum Member {
    Isolate(IsolateId),
    /// Any worker of another node.
    AnyWorkerOf(Peer),
    /// All workers of another node.
    EveryWorkerOf(Peer),
}

impl Member {
    pub fn address(&self) -> Address {
        match self {
            Member::Isolate(isolate) => Address::One(Target::Isolate(*isolate)),
            Member::AnyWorkerOf(_) => Address::One(Target::Any),
            Member::EveryWorkerOf(_) => Address::Every(Group::Workers),
        }
    }
}

impl Dispatch {
    /// Resolves the target of an rpc, and checks that the actor may call it. Deadlocks are checked
    /// only for a call that is `awaited`.
    pub(super) fn resolve(
        &self,
        actor: &Actor,
        target: Target,
        name: &RouteName,
        awaited: bool,
    ) -> Result<Destination, CallError> {
        let module = module_of(actor, name)?;
        if let Actor::Guest(caller) = actor
            && module != &*caller.module
            && !caller.capabilities.rpc.allow(module)
        {
            return Err(caller.forbidden("rpc", Some(module)));
        }
        if let Some(node) = self.node_of(actor, &target, module)? {
            return Ok(Destination::Remote(node, target));
        }
        let parent = actor.parent().filter(|_| awaited);
        let slot = match self.isolate_of(module, target)? {
            None => self.choose(module, actor.isolate(), parent)?,
            Some(isolate) => {
                let slot = self.slot_in(module, isolate)?;
                match self.rejection(&slot, parent) {
                    Some(error) => {
                        slot.refused(TriggerKind::Rpc, &error, parent.map(|parent| parent.trace));
                        return Err(error);
                    }
                    None => slot,
                }
            }
        };
        if awaited && actor.envelope().is_some_and(|envelope| envelope.in_startup) && !slot.is_ready() {
            return Err(Self::not_ready(&slot));
        }
        let matched = Dispatch::find_route(&slot, name, TriggerKind::Rpc)?;
        Ok(Destination::Local(slot, matched))
    }

    /// The isolate of a target on this node; `None` for any worker.
    fn isolate_of(&self, module: &str, target: Target) -> Result<Option<IsolateId>, CallError> {
        match target {
            // `node_of` found no other node, so this node is meant.
            Target::Any | Target::Node(_) | Target::Server(_) => Ok(None),
            Target::Isolate(isolate) => Ok(Some(isolate)),
            Target::Channel(channel) => self.home(module, &channel).map(Some),
            Target::Session(session) => match self.sessions().and_then(|sessions| sessions.look(&session)) {
                Some(session) => Ok(Some(IsolateId::Worker(session.worker))),
                None => Err(CallError::NotFound(format!("there is no session {}", line(&session, NAME)))),
            },
            Target::Other(kind, _) => Err(unknown("target", &kind)),
        }
    }

    /// The destinations of a call to a group.
    pub(super) fn members(&self, actor: &Actor, group: Group, name: &RouteName) -> Result<Vec<Member>, CallError> {
        let here = |isolates: &[Arc<Isolate>]| isolates.iter().map(|isolate| Member::Isolate(isolate.id)).collect();
        match group {
            Group::Workers => Ok(here(self.workers())),
            Group::Cluster => {
                let mut members: Vec<Member> = here(self.workers());
                members.extend(self.peers.nodes().into_iter().map(Member::EveryWorkerOf));
                Ok(members)
            }
            Group::Nodes => {
                let mut members = vec![self.one_worker(actor, name)?];
                members.extend(self.peers.nodes().into_iter().map(Member::AnyWorkerOf));
                Ok(members)
            }
            Group::Servers(server) => {
                let mut members = Vec::new();
                if server == self.node.server {
                    members.push(self.one_worker(actor, name)?);
                }
                members.extend(self.peers_of(&server).into_iter().map(Member::AnyWorkerOf));
                if members.is_empty() { Err(self.no_server(&server)) } else { Ok(members) }
            }
            Group::Brokers if self.places.brokers.is_empty() => {
                Err(CallError::NotFound("this node has no brokers".to_owned()))
            }
            Group::Brokers => Ok(here(&self.places.brokers)),
            Group::Other(kind, _) => Err(unknown("group", &kind)),
        }
    }

    /// The worker that runs the call on this node. If no worker can, this is worker 0, whose own
    /// error says why.
    fn one_worker(&self, actor: &Actor, name: &RouteName) -> Result<Member, CallError> {
        let chosen = self.choose(module_of(actor, name)?, actor.isolate(), actor.parent());
        Ok(Member::Isolate(chosen.map_or(IsolateId::Worker(0), |slot| slot.isolate)))
    }

    /// The id of the node that runs a call of `module`; `None` for this node. This node comes first
    /// if it has the module.
    pub(super) fn node_of(&self, actor: &Actor, target: &Target, module: &str) -> Result<Option<Arc<str>>, CallError> {
        match target {
            Target::Node(id) if *id == self.node.id => Ok(None),
            Target::Node(id) => match self.peers.nodes().into_iter().find(|peer| *peer.id == **id) {
                Some(peer) => Ok(Some(peer.id)),
                None => Err(self.peers.missing(Wanted::Node(id)).unwrap_or_else(|| no_node(id))),
            },
            // A call from another node has been sent where its module was.
            Target::Any if matches!(actor, Actor::Peer(_)) || self.is_installed(module) => Ok(None),
            Target::Any => match self.in_turn(self.peers.holders(module)) {
                None => self.peers.missing(Wanted::Module(module)).map_or(Ok(None), Err),
                holder => Ok(holder),
            },
            Target::Server(server) => {
                let is_own = *server == self.node.server;
                if is_own && self.is_installed(module) {
                    return Ok(None);
                }
                let mut holders = self.peers.holders(module);
                holders.retain(|peer| *peer.server == **server);
                match self.in_turn(holders) {
                    None if is_own => Ok(None),
                    // Without the module, its own error says so.
                    None => self.in_turn(self.peers_of(server)).map(Some).ok_or_else(|| self.no_server(server)),
                    holder => Ok(holder),
                }
            }
            Target::Session(session) => {
                let node = session.split_once('/').map(|(node, _)| node);
                Ok(self.peers.nodes().into_iter().find(|peer| Some(&*peer.id) == node).map(|peer| peer.id))
            }
            Target::Channel(channel) => self.node_of_channel(actor, channel, module),
            Target::Isolate(_) | Target::Other(..) => Ok(None),
        }
    }

    /// The id of the node whose brokers run the route of a channel; `None` for this node. Of a
    /// channel that no node declares, it is one of the nodes with the module.
    fn node_of_channel(&self, actor: &Actor, channel: &str, module: &str) -> Result<Option<Arc<str>>, CallError> {
        let home = match self.channel_home(channel)? {
            Some(ChannelHome::Own) => None,
            Some(ChannelHome::Node(node)) => Some(node),
            None => {
                if let Some(Err(gone)) = self.peers.declared(channel) {
                    return Err(gone);
                }
                self.picked_by(channel, module)?
            }
        };
        match home {
            Some(_) if matches!(actor, Actor::Peer(_)) => Err(CallError::Unavailable(format!(
                "the channel {} is moving to another node: try again",
                line(channel, NAME)
            ))),
            home => Ok(home),
        }
    }

    /// The id of the node with a module that a name picks; `None` for this node.
    fn picked_by(&self, name: &str, module: &str) -> Result<Option<Arc<str>>, CallError> {
        let own = self.is_installed(module).then(|| (&*self.node.id, None));
        let others = self.peers.holders(module);
        let others = others.iter().map(|peer| (&*peer.id, Some(peer.id.clone())));
        let picked = others.chain(own).max_by_key(|(node, _)| (weight_of(name, node), Reverse(*node)));
        match picked {
            Some((_, node)) => Ok(node),
            None => self.peers.missing(Wanted::Module(module)).map_or(Ok(None), Err),
        }
    }

    /// Why no node of a server type can be called.
    fn no_server(&self, server: &str) -> CallError {
        let unknown = || CallError::NotFound(format!("there is no node of the server type {}", line(server, NAME)));
        self.peers.missing(Wanted::Server(server)).unwrap_or_else(unknown)
    }

    /// Whether a worker of this node has the module.
    fn is_installed(&self, module: &str) -> bool {
        self.workers().iter().any(|isolate| isolate.slot(module).is_some())
    }

    /// One of these nodes. They take turns, because call ids increase.
    fn in_turn(&self, mut peers: Vec<Peer>) -> Option<Arc<str>> {
        let index = self.ids.next().checked_rem(peers.len() as u64)?;
        Some(peers.swap_remove(usize::try_from(index).ok()?).id)
    }

    /// The other nodes of a server type.
    pub(super) fn peers_of(&self, server: &str) -> Vec<Peer> {
        let mut peers = self.peers.nodes();
        peers.retain(|peer| *peer.server == *server);
        peers
    }
}

fn no_node(id: &str) -> CallError {
    CallError::NotFound(format!("there is no node {}", line(id, NAME)))
}

fn unknown(what: &str, kind: &str) -> CallError {
    CallError::Invalid(format!("unknown kind of {what}: this version does not support `{}`", line(kind, NAME)))
}
