//! Calls of the routes of channels, as plain data.

use std::sync::Arc;
use std::time::Duration;

use super::{CallError, ChannelActions, ChannelSettings, ChannelTrigger, Context, Envelope, Origin, Payload};

/// What applies to a channel.
#[derive(Debug, Clone, PartialEq)]
pub enum ChannelRule {
    /// No module declares it.
    Undeclared,
    /// A module declares it without a route.
    Open(ChannelSettings),
    /// The route of a module decides about these actions.
    Routed { module: Arc<str>, settings: ChannelSettings, on: ChannelActions },
    /// The module that may want to decide is not installed.
    Unavailable(CallError),
}

/// What a module declares about a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredChannel {
    pub module: Arc<str>,
    pub settings: ChannelSettings,
    /// What its route is asked about. Empty without a route.
    pub on: ChannelActions,
}

/// A call of the route of a channel.
#[derive(Debug, Clone)]
pub struct ChannelCall {
    /// The module that declares the channel.
    pub module: Arc<str>,
    pub trigger: ChannelTrigger,
    pub origin: Origin,
    /// The call of the guest that acts.
    pub parent: Option<Arc<Context>>,
    /// Whether that call waits for the outcome.
    pub awaited: bool,
    /// The envelope, if another node asks.
    pub remote: Option<Arc<Envelope>>,
    pub payload: Payload,
    /// How long the call may take, if that is less than `limits.timeout` of the module.
    pub timeout: Option<Duration>,
}
