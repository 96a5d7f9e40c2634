//! The last bytes of a connection, after it has left the hub.
//!
//! When a connection ends or is cut, a short task sends the Close frame, closes the sending side,
//! and reads until the client closes, for a short time. Dropping the socket at once would make the
//! system discard what the client has not read.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::{ConnectionGuard, Stream};

/// How long a client may take to read the last bytes and to close its side.
const PATIENCE: Duration = Duration::from_secs(2);

/// The bytes that one read discards.
const DISCARDED: usize = 1_024;

/// Sends the last bytes, closes the sending side, and waits until the client closes its side.
/// Closing the socket at once would make the system discard bytes that the client has not read.
pub(super) async fn say_farewell(mut stream: Stream, guard: Arc<ConnectionGuard>, last: Vec<u8>) {
    let farewell = async {
        stream.write_all(&last).await?;
        stream.shutdown().await?;
        let mut bytes = [0; DISCARDED];
        while stream.read(&mut bytes).await? > 0 {}
        std::io::Result::Ok(())
    };
    // A client that is gone has read all that it will read.
    _ = tokio::time::timeout(PATIENCE, farewell).await;
    drop((stream, guard));
}
