//! The caller of a call, and what the call inherits from it.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{CallError, Context, Envelope, IsolateId, Origin, RouteName};
use crate::ports::Caller;

/// The caller of a call.
#[derive(Debug, Clone)]
pub enum Actor {
    Guest(Caller),
    /// A caller on another node. That node has already checked its capabilities.
    Peer(PeerCaller),
    /// The command line, the admin listener or the embedding program. It may do everything.
    Operator,
}

/// The caller of a call from another node.
#[derive(Debug, Clone)]
pub struct PeerCaller {
    pub(super) envelope: Arc<Envelope>,
    /// The nearest call of the chain that runs on this node.
    pub(super) parent: Option<Arc<Context>>,
    /// The id of the broadcast on the node that emitted it.
    pub(super) broadcast: Option<u64>,
}

impl Actor {
    pub(super) fn origin(&self) -> Origin {
        match self {
            Actor::Operator => Origin::Operator,
            Actor::Guest(caller) => {
                Origin::Guest { module: caller.module.clone(), isolate: caller.isolate, node: None }
            }
            Actor::Peer(peer) => peer.envelope.origin.clone(),
        }
    }

    pub(super) fn parent(&self) -> Option<&Arc<Context>> {
        match self {
            Actor::Operator => None,
            Actor::Guest(caller) => caller.context.as_ref(),
            Actor::Peer(peer) => peer.parent.as_ref(),
        }
    }

    pub(super) fn envelope(&self) -> Option<&Arc<Envelope>> {
        match self {
            Actor::Operator | Actor::Guest(_) => None,
            Actor::Peer(peer) => Some(&peer.envelope),
        }
    }

    /// The isolate of a guest on this node.
    pub(super) fn isolate(&self) -> Option<IsolateId> {
        match self {
            Actor::Operator | Actor::Peer(_) => None,
            Actor::Guest(caller) => Some(caller.isolate),
        }
    }

    /// How long the caller waits if it sets no timeout. For the operator, only the target's
    /// `limits.timeout` applies.
    pub(super) fn timeout(&self) -> Duration {
        match self {
            Actor::Operator => Duration::from_secs(24 * 3600),
            Actor::Guest(caller) => caller.default_timeout,
            Actor::Peer(peer) => peer.envelope.left,
        }
    }
}

/// The module of a route: the named one, or the caller's own.
pub(super) fn module_of<'a>(actor: &'a Actor, name: &'a RouteName) -> Result<&'a str, CallError> {
    match (&name.module, actor) {
        (Some(module), _) => Ok(module),
        (None, Actor::Guest(caller)) => Ok(&caller.module),
        (None, Actor::Operator | Actor::Peer(_)) => Err(no_module()),
    }
}

/// A caller outside of any module has no module of its own to fall back to.
pub(super) fn no_module() -> CallError {
    CallError::Invalid("the call names no module; name one".to_owned())
}

/// The subdomain of a call: `given`, or the parent's.
pub(super) fn subdomain(given: Option<String>, parent: Option<&Arc<Context>>) -> Option<Arc<str>> {
    given.map(Arc::from).or_else(|| parent.and_then(|parent| parent.subdomain.clone()))
}
