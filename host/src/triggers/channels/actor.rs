//! Who acts on a channel.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{ChannelAction, ChannelCall, ChannelTrigger, Context, Origin, Payload};
use crate::hub::Session;
use crate::ports::Caller;

/// Who acts on a channel.
#[derive(Debug, Clone)]
pub struct Actor {
    origin: Origin,
    /// The session of a client.
    pub(super) session: Option<Arc<str>>,
    /// The call of a guest.
    parent: Option<Arc<Context>>,
    /// Whether that call waits for the outcome.
    awaited: bool,
    /// How long the actor waits for the route.
    timeout: Option<Duration>,
}

impl Actor {
    /// A client. `timeout` is `websocket.ackTimeout`.
    pub fn client(session: &Session, timeout: Duration) -> Actor {
        let session = session.id.clone();
        let origin = Origin::Session(session.clone());
        Actor { origin, session: Some(session), parent: None, awaited: false, timeout: Some(timeout) }
    }

    /// A client that has no session, because it reads over HTTP.
    pub fn reader(timeout: Duration) -> Actor {
        Actor { origin: Origin::Client, session: None, parent: None, awaited: false, timeout: Some(timeout) }
    }

    /// A guest. `awaited` says whether its call waits for the outcome.
    pub fn guest(caller: Caller, awaited: bool) -> Actor {
        let origin = Origin::Guest { module: caller.module, isolate: caller.isolate, node: None };
        Actor { origin, session: None, parent: caller.context, awaited, timeout: None }
    }

    /// The embedding program.
    pub fn operator() -> Actor {
        Actor { origin: Origin::Operator, session: None, parent: None, awaited: false, timeout: None }
    }

    /// A client whose session has ended.
    pub(super) fn ended(session: &Session) -> Actor {
        let session = session.id.clone();
        let origin = Origin::Session(session.clone());
        Actor { origin, session: Some(session), parent: None, awaited: false, timeout: None }
    }

    /// Whether it is a client, which `websocket.channels` is about.
    pub(super) fn is_client(&self) -> bool {
        matches!(self.origin, Origin::Client | Origin::Session(_))
    }

    /// The call that waits for the outcome.
    pub(super) fn waiter(&self) -> Option<&Context> {
        self.parent.as_deref().filter(|_| self.awaited)
    }

    /// A call of the route of `channel` about what this actor does. `session` is the client that it
    /// is about.
    pub(super) fn call(
        &self,
        module: &Arc<str>,
        channel: &Arc<str>,
        action: ChannelAction,
        session: Option<Arc<str>>,
        payload: Payload,
    ) -> ChannelCall {
        ChannelCall {
            module: module.clone(),
            trigger: ChannelTrigger { channel: channel.clone(), action, session },
            origin: self.origin.clone(),
            parent: self.parent.clone(),
            awaited: self.awaited,
            payload,
            timeout: self.timeout,
        }
    }

    /// The same actor for what the host tells the route afterwards. Nobody waits for that.
    pub(super) fn afterwards(&self) -> Actor {
        Actor { parent: None, awaited: false, timeout: None, ..self.clone() }
    }
}
