//! The port to the host as one object: its options, and messages to it.

use std::time::Duration;

use super::{BoxFuture, Caller};
use crate::call::{CallError, Payload};

/// The functions of the host for the imports `master`, `master-await` and `master-blocking`.
pub trait Master: Send + Sync {
    /// The option at a JSON Pointer, as JSON text.
    fn option(&self, pointer: &str) -> Option<String>;

    /// Queues a message for the master, without waiting for the reply.
    fn post(&self, from: Caller, data: Payload) -> Result<(), CallError>;

    /// Sends a message to the master and waits for the reply.
    fn send(&self, from: Caller, data: Payload, timeout: Option<Duration>) -> BoxFuture<Result<Payload, CallError>>;
}

/// The port of a host that only inspects modules.
#[derive(Debug, Clone, Copy)]
pub struct NoMaster;

impl Master for NoMaster {
    fn option(&self, _: &str) -> Option<String> {
        None
    }

    fn post(&self, _: Caller, _: Payload) -> Result<(), CallError> {
        Err(unavailable())
    }

    fn send(&self, _: Caller, _: Payload, _: Option<Duration>) -> BoxFuture<Result<Payload, CallError>> {
        Box::pin(std::future::ready(Err(unavailable())))
    }
}

fn unavailable() -> CallError {
    CallError::Unavailable("this host only inspects modules and receives no messages".to_owned())
}
