//! The port to the event service.

use super::Caller;
use crate::call::{CallError, Payload, RouteName};

/// The functions of the event service for the import `events`. None of them waits. An
/// implementation checks what it receives, and the capability of the caller.
pub trait Events: Send + Sync {
    /// Emits an event. `None` is the type `message`.
    fn emit(&self, from: Caller, event_type: Option<String>, value: Payload) -> Result<(), CallError>;

    /// Subscribes a route of the caller's generation, in the caller's isolate. `None` is the
    /// pattern `*`. Returns the name of the subscription.
    fn subscribe(&self, from: Caller, pattern: Option<String>, route: RouteName) -> Result<String, CallError>;

    /// Ends a subscription that `subscribe` made in the caller's isolate.
    fn unsubscribe(&self, from: Caller, subscription: String) -> Result<(), CallError>;
}

/// The port of a host without an event service.
#[derive(Debug, Clone, Copy)]
pub struct NoEvents;

impl Events for NoEvents {
    fn emit(&self, _: Caller, _: Option<String>, _: Payload) -> Result<(), CallError> {
        Err(unavailable())
    }

    fn subscribe(&self, _: Caller, _: Option<String>, _: RouteName) -> Result<String, CallError> {
        Err(unavailable())
    }

    fn unsubscribe(&self, _: Caller, _: String) -> Result<(), CallError> {
        Err(unavailable())
    }
}

fn unavailable() -> CallError {
    CallError::Unavailable("this host has no event service".to_owned())
}
