//! Opens connections to other services.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Stream;
use crate::blocking::run_blocking;

/// Connects to a host name or IP address, registered with the runtime of this thread.
pub async fn connect(host: &str, port: u16, within: Duration) -> io::Result<Stream> {
    let stream = timeout(within, dial(host, port)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    // This fails only when the other side has disconnected, which the first read reports.
    _ = stream.set_nodelay(true);
    Ok(Stream::Tcp(stream))
}

/// Connects to a host name or IP address. The caller bounds the time.
pub async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return TcpStream::connect((address, port)).await;
    }
    let host = host.to_owned();
    let resolve = move || Ok::<Vec<SocketAddr>, io::Error>((host.as_str(), port).to_socket_addrs()?.collect());
    TcpStream::connect(run_blocking(resolve).await?.as_slice()).await
}
