//! Who makes a call, and what it takes along.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{CallError, Context, Envelope, IsolateId, Origin, RouteName};
use crate::ports::Caller;

/// Who makes a call.
#[derive(Debug, Clone)]
pub enum Actor {
    Guest(Caller),
    /// Somebody on another node, which has checked what the caller may do.
    Peer(Arrived),
    /// The command line, the admin listener or the embedding program: may do everything.
    Operator,
}

/// What a call from another node came with.
#[derive(Debug, Clone)]
pub struct Arrived {
    pub(super) envelope: Arc<Envelope>,
    /// The nearest call of its chain that runs here.
    pub(super) parent: Option<Arc<Context>>,
    /// The number of a broadcast on the node that emitted it.
    pub(super) broadcast: Option<u64>,
}

impl Actor {
    pub(super) fn origin(&self) -> Origin {
        match self {
            Actor::Operator => Origin::Operator,
            Actor::Guest(caller) => {
                Origin::Guest { module: caller.module.clone(), isolate: caller.isolate, node: None }
            }
            Actor::Peer(arrived) => arrived.envelope.origin.clone(),
        }
    }

    pub(super) fn parent(&self) -> Option<&Arc<Context>> {
        match self {
            Actor::Operator => None,
            Actor::Guest(caller) => caller.context.as_ref(),
            Actor::Peer(arrived) => arrived.parent.as_ref(),
        }
    }

    pub(super) fn envelope(&self) -> Option<&Arc<Envelope>> {
        match self {
            Actor::Operator | Actor::Guest(_) => None,
            Actor::Peer(arrived) => Some(&arrived.envelope),
        }
    }

    pub(super) fn here(&self) -> Option<IsolateId> {
        match self {
            Actor::Operator | Actor::Peer(_) => None,
            Actor::Guest(caller) => Some(caller.isolate),
        }
    }

    /// How long it waits when nothing else is said. The operator has only the target's own limit.
    pub(super) fn timeout(&self) -> Duration {
        match self {
            Actor::Operator => Duration::from_secs(24 * 3600),
            Actor::Guest(caller) => caller.default_timeout,
            Actor::Peer(arrived) => arrived.envelope.left,
        }
    }
}

/// The module whose route is named: the caller's own when the name has none.
pub(super) fn module_of<'a>(actor: &'a Actor, name: &'a RouteName) -> Result<&'a str, CallError> {
    match (&name.module, actor) {
        (Some(module), _) => Ok(module),
        (None, Actor::Guest(caller)) => Ok(&caller.module),
        (None, Actor::Operator | Actor::Peer(_)) => Err(CallError::Invalid("name the module".to_owned())),
    }
}

/// The one given, else the caller's.
pub(super) fn subdomain(given: Option<String>, parent: Option<&Arc<Context>>) -> Option<Arc<str>> {
    given.map(Arc::from).or_else(|| parent.and_then(|parent| parent.subdomain.clone()))
}
