//! Opens connections to other services.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Stream;

/// Connects to a host name or IP address, registered with the runtime of this thread.
pub async fn connect(host: &str, port: u16, within: Duration) -> io::Result<Stream> {
    let connecting = TcpStream::connect((host, port));
    let stream = timeout(within, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    // This fails only when the other side has disconnected, which the first read reports.
    _ = stream.set_nodelay(true);
    Ok(Stream::Tcp(stream))
}
