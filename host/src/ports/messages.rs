//! The port to brokers outside.

use super::Caller;
use crate::call::{CallError, Payload};

/// The functions of brokers outside for the import `messages`. None of them waits. An
/// implementation checks what it receives, and the capability of the caller.
pub trait Messages: Send + Sync {
    /// Queues a message for a topic. `connection` is `redis` or `redis.<name>`.
    fn publish(&self, from: Caller, connection: String, topic: String, payload: Payload) -> Result<(), CallError>;
}

/// The port of a host without connections to brokers.
#[derive(Debug, Clone, Copy)]
pub struct NoMessages;

impl Messages for NoMessages {
    fn publish(&self, _: Caller, _: String, _: String, _: Payload) -> Result<(), CallError> {
        Err(CallError::Unavailable("this host connects to no broker".to_owned()))
    }
}
