//! How the host tells its connections that it stops.

use tokio_util::sync::CancellationToken;

/// The two steps in which the host ends its connections.
#[derive(Debug, Clone, Default)]
pub struct Stopping {
    /// Answers announce the end from now on: `Connection: close`, or GOAWAY. Streams and sockets
    /// that were handed over say goodbye.
    pub announced: CancellationToken,
    /// Connections that are still idle are closed, and streams that have not ended are broken off.
    pub last: CancellationToken,
}
