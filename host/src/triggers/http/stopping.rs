//! The signals with which the host stops its connections.
//!
//! In the first step idle connections stay open and new ones are accepted, because closing an idle
//! HTTP/1.1 connection would lose a request that is already on its way. Streams and socket handlers
//! learn of the first step, so that they can send a last message; the second step aborts them, so
//! that they never make a stop wait for `shutdown.drain`.

use tokio_util::sync::CancellationToken;

/// The two steps in which the host ends its connections.
#[derive(Debug, Clone, Default)]
pub struct Stopping {
    /// The first step: responses announce that the connection closes, with `Connection: close` or
    /// GOAWAY. Streams and socket handlers should end.
    pub announced: CancellationToken,
    /// The second step, `shutdown.linger` later or when all clients have disconnected: the host
    /// closes idle connections, and aborts streams and socket handlers that have not ended.
    pub closing: CancellationToken,
}
