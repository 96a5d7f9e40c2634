//! The interface through which the channel trigger uses the modules of the node.

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

use crate::call::{CallError, CallResult, ChannelCall, ChannelRule};

/// The modules of the node.
pub trait ChannelBackend: Send + Sync + 'static {
    /// Returns what applies to a channel.
    fn rule(&self, channel: &str) -> ChannelRule;

    /// Queues a call of a channel's route before it returns.
    fn call(&self, call: ChannelCall) -> Result<StartedCall, CallError>;
}

/// A call of a channel's route.
pub struct StartedCall {
    /// The runtime of the isolate that runs it.
    pub runtime: Handle,
    pub outcome: BoxFuture<'static, CallResult>,
}
