//! The interface through which the channel trigger uses the modules of the node.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use crate::call::text::{NAME, line};
use crate::call::{
    CallError, CallResult, ChannelAnswer, ChannelCall, ChannelHome, ChannelRule, Context, Envelope, HomeCall,
};

/// The modules of the node.
pub trait ChannelBackend: Send + Sync + 'static {
    /// Returns what applies to a channel.
    fn rule(&self, channel: &str) -> ChannelRule;

    /// Whether this node has a module, so that the module's routes can run here.
    fn has(&self, _module: &str) -> bool {
        true
    }

    /// Queues a call of a channel's route before it returns.
    fn call(&self, call: ChannelCall) -> Result<StartedCall, CallError>;

    /// Returns the home of a channel. `None` if no live node declares the channel.
    fn home(&self, _channel: &str) -> Result<Option<ChannelHome>, CallError> {
        Ok(Some(ChannelHome::Own))
    }

    /// Asks the home of a channel. Requests to a node arrive in the order of these calls.
    fn ask_home(&self, node: &str, _: HomeCall) -> BoxFuture<'static, Result<ChannelAnswer, CallError>> {
        Box::pin(std::future::ready(Err(CallError::Unavailable(format!("node {node} was lost")))))
    }

    /// The nearest call in the chain of a request from another node that still runs here.
    fn caller_of(&self, _: &Envelope) -> Option<Arc<Context>> {
        None
    }
}

/// A call of a channel's route.
pub struct StartedCall {
    /// The runtime of the isolate that runs it.
    pub runtime: Handle,
    pub outcome: BoxFuture<'static, CallResult>,
}

/// The error of a request to a node that is not the home of a channel. Nothing was done.
pub(super) fn moves(channel: &str) -> CallError {
    let channel = line(channel, NAME);
    CallError::Unavailable(format!("the channel {channel} is moving to another node: try again"))
}

/// The error of a home that was frozen or cut off for so long that the channel may have another
/// one. Nothing was done.
pub(super) fn unsure(channel: &str) -> CallError {
    let channel = line(channel, NAME);
    CallError::Unavailable(format!("the channel {channel} may have moved to another node meanwhile: try again"))
}
