//! Where a call goes: to a slot of this node, or to another node.

use std::sync::Arc;

use super::Dispatch;
use super::actor::{Actor, module_of};
use crate::call::text::{NAME, line};
use crate::call::{Address, CallError, Group, IsolateId, Peer, RouteName, Target, TriggerKind};
use crate::config::capabilities::forbidden;
use crate::isolate::{Isolate, Slot};
use crate::registry::Matched;

/// Where a call goes.
pub(super) enum Place {
    Local(Arc<Slot>, Matched),
    /// To another node, and what is meant there.
    Remote(String, Target),
}

/// Where the members of a group are.
pub(super) enum Member {
    Here(IsolateId),
    /// One worker of another node.
    Node(Peer),
    /// All workers of another node.
    Workers(Peer),
}

impl Member {
    pub fn address(&self) -> Address {
        match self {
            Member::Here(isolate) => Address::One(Target::Isolate(*isolate)),
            Member::Node(_) => Address::One(Target::Any),
            Member::Workers(_) => Address::Every(Group::Workers),
        }
    }
}

impl Dispatch {
    /// Where an rpc goes, if the actor may make it. Only who waits for it can wait for himself.
    pub(super) fn resolve(
        &self,
        actor: &Actor,
        target: Target,
        name: &RouteName,
        awaited: bool,
    ) -> Result<Place, CallError> {
        let module = module_of(actor, name)?;
        if let Actor::Guest(caller) = actor
            && module != &*caller.module
            && !caller.capabilities.rpc.allow(module)
        {
            return Err(forbidden(&caller.module, "rpc", Some(module)));
        }
        if let Some(node) = self.peer_of(&target)? {
            return Ok(Place::Remote(node, target));
        }
        let parent = actor.parent().filter(|_| awaited);
        let slot = match self.isolate_of(target)? {
            None => self.choose(module, actor.here(), parent)?,
            Some(isolate) => {
                let slot = self.slot_in(module, isolate)?;
                match self.refusal(&slot, parent) {
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
        let matched = Dispatch::find(&slot, name, TriggerKind::Rpc)?;
        Ok(Place::Local(slot, matched))
    }

    /// `None` is any worker of this node.
    fn isolate_of(&self, target: Target) -> Result<Option<IsolateId>, CallError> {
        match target {
            // This node, since no peer has them.
            Target::Any | Target::Node(_) | Target::Server(_) => Ok(None),
            Target::Isolate(isolate) => Ok(Some(isolate)),
            Target::Channel(channel) => Err(CallError::NotFound(format!(
                "there is no channel {}: this version serves no channels",
                line(&channel, NAME)
            ))),
            Target::Session(session) => Err(CallError::NotFound(format!(
                "there is no session {}: this version serves no sessions",
                line(&session, NAME)
            ))),
            Target::Other(kind, _) => Err(unknown("target", &kind)),
        }
    }

    pub(super) fn members(&self, actor: &Actor, group: Group, name: &RouteName) -> Result<Vec<Member>, CallError> {
        let here = |isolates: &[Arc<Isolate>]| isolates.iter().map(|isolate| Member::Here(isolate.id)).collect();
        match group {
            Group::Workers => Ok(here(self.workers())),
            Group::Cluster => {
                let mut members: Vec<Member> = here(self.workers());
                members.extend(self.peers.nodes().into_iter().map(Member::Workers));
                Ok(members)
            }
            Group::Nodes => {
                let mut members = vec![self.one_worker(actor, name)?];
                members.extend(self.peers.nodes().into_iter().map(Member::Node));
                Ok(members)
            }
            Group::Servers(server) => {
                let mut members = Vec::new();
                if server == self.node.server {
                    members.push(self.one_worker(actor, name)?);
                }
                members.extend(self.peers_of(&server).into_iter().map(Member::Node));
                if members.is_empty() { Err(no_server(&server)) } else { Ok(members) }
            }
            Group::Brokers if self.places.brokers.is_empty() => {
                Err(CallError::NotFound("no module is held by brokers".to_owned()))
            }
            Group::Brokers => Ok(here(&self.places.brokers)),
            Group::Other(kind, _) => Err(unknown("group", &kind)),
        }
    }

    /// The worker that takes the call for this node. Where none can, the lead's own refusal tells why.
    fn one_worker(&self, actor: &Actor, name: &RouteName) -> Result<Member, CallError> {
        let chosen = self.choose(module_of(actor, name)?, actor.here(), actor.parent());
        Ok(Member::Here(chosen.map_or(IsolateId::Worker(0), |slot| slot.isolate)))
    }

    /// The node that has a target, if it is another one.
    pub(super) fn peer_of(&self, target: &Target) -> Result<Option<String>, CallError> {
        match target {
            Target::Node(id) if *id == self.node.id => Ok(None),
            Target::Node(id) => match self.peers.nodes().into_iter().find(|peer| peer.id == *id) {
                Some(peer) => Ok(Some(peer.id)),
                None => Err(CallError::NotFound(format!("there is no node {}", line(id, NAME)))),
            },
            Target::Server(server) if *server == self.node.server => Ok(None),
            Target::Server(server) => {
                let mut peers = self.peers_of(server);
                if peers.is_empty() {
                    return Err(no_server(server));
                }
                // They take turns.
                let turn = self.ids.next() % peers.len() as u64;
                Ok(Some(peers.swap_remove(usize::try_from(turn).unwrap_or_default()).id))
            }
            Target::Session(session) => {
                let node = session.split_once('/').map(|(node, _)| node);
                Ok(self.peers.nodes().into_iter().find(|peer| Some(&*peer.id) == node).map(|peer| peer.id))
            }
            Target::Any | Target::Isolate(_) | Target::Channel(_) | Target::Other(..) => Ok(None),
        }
    }

    /// The other nodes of a server type.
    pub(super) fn peers_of(&self, server: &str) -> Vec<Peer> {
        let mut peers = self.peers.nodes();
        peers.retain(|peer| peer.server == server);
        peers
    }
}

fn no_server(server: &str) -> CallError {
    CallError::NotFound(format!("there is no node of the type {}", line(server, NAME)))
}

fn unknown(what: &str, kind: &str) -> CallError {
    CallError::Invalid(format!("this version knows no {what} of the kind `{}`", line(kind, NAME)))
}
