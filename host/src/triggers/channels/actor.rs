//! Who acts on a channel.

use std::sync::Arc;
use std::time::Duration;

use crate::call::{
    ChannelAction, ChannelAsk, ChannelCall, ChannelTrigger, Context, Envelope, HomeCall, Origin, Payload,
};
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
    /// The envelope, if another node asks.
    remote: Option<Arc<Envelope>>,
    /// How long the actor waits for the route.
    timeout: Option<Duration>,
}

impl Actor {
    /// A client. `timeout` is `websocket.ackTimeout`.
    pub fn client(session: &Session, timeout: Duration) -> Actor {
        let session = session.id.clone();
        let origin = Origin::Session(session.clone());
        Actor { session: Some(session), timeout: Some(timeout), ..Actor::new(origin) }
    }

    fn new(origin: Origin) -> Actor {
        Actor { origin, session: None, parent: None, awaited: false, remote: None, timeout: None }
    }

    /// Someone on another node. `parent` is the call of this node that waits for it, if any.
    pub fn remote(envelope: Envelope, parent: Option<Arc<Context>>, session: Option<Arc<str>>) -> Actor {
        let (awaited, timeout) = (parent.is_some(), Some(envelope.left));
        let origin = envelope.origin.clone();
        Actor { session, parent, awaited, timeout, remote: Some(Arc::new(envelope)), ..Actor::new(origin) }
    }

    /// The host.
    pub(super) fn host(timeout: Duration) -> Actor {
        Actor { timeout: Some(timeout), ..Actor::new(Origin::Host) }
    }

    /// A client that has no session, because it reads over HTTP.
    pub fn reader(timeout: Duration) -> Actor {
        Actor { timeout: Some(timeout), ..Actor::new(Origin::Client) }
    }

    /// A guest. `awaited` says whether its call waits for the outcome.
    pub fn guest(caller: Caller, awaited: bool) -> Actor {
        let origin = Origin::Guest { module: caller.module, isolate: caller.isolate, node: None };
        Actor { parent: caller.context, awaited, ..Actor::new(origin) }
    }

    /// The embedding program.
    pub fn operator() -> Actor {
        Actor::new(Origin::Operator)
    }

    /// Who has published a message on another node: a client, if its session is known.
    pub(super) fn publisher(session: Option<Arc<str>>) -> Actor {
        let origin = session.clone().map_or(Origin::Host, Origin::Session);
        Actor { session, ..Actor::new(origin) }
    }

    /// A client whose session has ended.
    pub(super) fn ended(session: &Session) -> Actor {
        let session = session.id.clone();
        let origin = Origin::Session(session.clone());
        Actor { session: Some(session), ..Actor::new(origin) }
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
            remote: self.remote.clone(),
            payload,
            timeout: self.timeout,
        }
    }

    /// A request of this actor to the home of a channel.
    pub(super) fn home_call(&self, channel: &Arc<str>, ask: ChannelAsk, payload: Payload) -> HomeCall {
        HomeCall {
            channel: channel.clone(),
            ask,
            origin: self.origin.clone(),
            session: self.session.clone(),
            parent: self.parent.clone(),
            awaited: self.awaited,
            timeout: self.timeout,
            payload,
        }
    }

    /// Whether another node has asked for this.
    pub(super) fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// The same actor for what the host tells the route afterwards. Nobody waits for that.
    pub(super) fn afterwards(&self) -> Actor {
        Actor { parent: None, awaited: false, remote: None, timeout: None, ..self.clone() }
    }
}
