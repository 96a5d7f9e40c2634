//! The interface through which the WebSocket trigger uses the worker that has the socket.

use std::sync::Arc;

use crate::call::{CallError, CallResult, ClientHook, ClientMessage};
use crate::hub::SocketName;

/// The socket of a module that a client wants to open.
#[derive(Debug, Clone)]
pub struct SocketTarget {
    pub name: SocketName,
    /// The parameters of the path.
    pub params: Arc<[(String, String)]>,
    /// The sub-protocols that the socket accepts.
    pub protocols: Vec<String>,
    /// The largest message, if it is less than `websocket.maxMessage`.
    pub max_message: Option<u64>,
}

/// The modules of the worker that has the socket.
pub trait ClientBackend: Clone + Send + Sync + 'static {
    /// The index of the worker.
    fn worker(&self) -> u32;

    /// Whether the module has the socket now.
    fn has_socket(&self, socket: &SocketName) -> bool;

    /// Queues the call of a message before it returns. The future resolves with the outcome.
    fn message(&self, message: ClientMessage) -> Result<impl Future<Output = CallResult> + Send + 'static, CallError>;

    /// Calls a hook about a client. `None` if the module has no such hook.
    fn hook(&self, hook: ClientHook) -> Option<impl Future<Output = CallResult> + Send + 'static>;
}
