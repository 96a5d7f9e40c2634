//! The lines of actions on channels: each action waits for those before it, and for its route.

use std::sync::{MutexGuard, PoisonError};

use super::channels::Placed;
use super::node::Node;
use super::promise::Resolver;
use crate::channels::ChannelMessage;
use crate::failure::{CallError, Failure};
use crate::types::{CallId, Outcome, Payload};
use crate::wit::types::ChannelAction;

/// One order of actions: those of a channel, or the messages of a channel to one client.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub channel: String,
    client: Option<String>,
}

/// An action on a channel.
pub(super) enum Step {
    Subscribe { session: String, info: Payload },
    Unsubscribe { session: String },
    Publish { session: Option<String>, payload: Payload },
    Deliver { session: String, message: ChannelMessage },
}

/// An action that waits.
pub(super) struct Waiting {
    /// The call of the route.
    pub call: Option<CallId>,
    pub step: Step,
    /// The outcome of the call.
    pub outcome: Option<Result<Outcome, CallError>>,
    pub resolver: Resolver<Placed>,
}

impl Step {
    pub fn line(&self, channel: &str) -> Line {
        let client = match self {
            Step::Deliver { session, .. } => Some(session.clone()),
            _ => None,
        };
        Line { channel: channel.to_owned(), client }
    }

    /// The name in `on` of a manifest, and the action of the contract.
    pub fn action(&self) -> (&'static str, ChannelAction) {
        match self {
            Step::Subscribe { .. } => ("subscribe", ChannelAction::Subscribe),
            Step::Unsubscribe { .. } => ("unsubscribe", ChannelAction::Unsubscribe),
            Step::Publish { .. } => ("publish", ChannelAction::Publish),
            Step::Deliver { .. } => ("deliver", ChannelAction::Deliver),
        }
    }

    pub fn session(&self) -> Option<&str> {
        match self {
            Step::Subscribe { session, .. } | Step::Unsubscribe { session } | Step::Deliver { session, .. } => {
                Some(session)
            }
            Step::Publish { session, .. } => session.as_deref(),
        }
    }

    pub fn payload(&self) -> Option<&Payload> {
        match self {
            Step::Subscribe { info, .. } => Some(info),
            Step::Unsubscribe { .. } => None,
            Step::Publish { payload, .. } => Some(payload),
            Step::Deliver { message, .. } => Some(&message.payload),
        }
    }
}

/// Returns the payload that the route of a channel passed, or why it refuses.
pub(super) fn decided(outcome: Result<Outcome, CallError>) -> Result<Option<Payload>, CallError> {
    match outcome? {
        Outcome::Pass(passed) => Ok(passed.payload),
        Outcome::Reply(reply) if reply.status < 300 => Ok(None),
        Outcome::Reply(reply) => {
            let failure = Failure::new("refused", "the route of the channel refuses this");
            Err(CallError::Failure(failure.with_status(reply.status)))
        }
    }
}

impl Node {
    /// Locks all lines, so that one action after another changes them.
    pub fn lines(&self) -> MutexGuard<'_, ()> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
