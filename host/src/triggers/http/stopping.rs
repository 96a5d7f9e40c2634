//! The signals with which the host stops its connections.

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
