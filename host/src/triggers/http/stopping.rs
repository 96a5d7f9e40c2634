//! How the host tells its connections that it stops.

use tokio_util::sync::CancellationToken;

/// The two steps in which the host ends its connections.
#[derive(Debug, Clone, Default)]
pub struct Stopping {
    /// From now on answers announce the end with `Connection: close` or GOAWAY, and streams and
    /// handlers of sockets should end.
    pub announced: CancellationToken,
    /// From now on idle connections are closed, and streams that have not ended are broken off.
    pub last: CancellationToken,
}
