//! Binds listeners, and identifies each so that a worker can tell their connections apart.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use socket2::{Domain, Protocol, Type};
use tokio::net::TcpListener;

use super::{Socket, Stream};

/// Connections that the system queues until the host accepts them.
const BACKLOG: i32 = 1_024;

/// Identifies a listener. Each connection carries the id of its listener, so that the worker can
/// choose the trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerId {
    Http,
    Admin,
    Events,
}

impl ListenerId {
    /// The key in `fanfare.json` that sets its address.
    pub fn key(self) -> &'static str {
        match self {
            ListenerId::Http => "http.listen",
            ListenerId::Admin => "admin.listen",
            ListenerId::Events => "events.listen",
        }
    }

    /// How to set its address.
    fn fix(self) -> &'static str {
        match self {
            ListenerId::Http => "--listen or http.listen",
            ListenerId::Admin => "--admin or admin.listen",
            ListenerId::Events => "events.listen",
        }
    }
}

/// The reason why the host cannot listen on an address.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "{} {address} is already in use: choose another address with {}, or stop the program that uses it",
        .id.key(), .id.fix()
    )]
    InUse { id: ListenerId, address: SocketAddr },
    #[error(
        "cannot listen on {} {address}: {error}: choose another address with {}",
        .id.key(), .id.fix()
    )]
    Other { id: ListenerId, address: SocketAddr, error: io::Error },
}

/// A bound address. Nothing accepts its connections yet, so they wait in the system's backlog.
#[derive(Debug)]
pub struct Listener {
    id: ListenerId,
    socket: std::net::TcpListener,
}

/// Binds an address and starts to listen on it.
pub fn bind(id: ListenerId, address: SocketAddr) -> Result<Listener, BindError> {
    let bound = socket(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { id, address },
        _ => BindError::Other { id, address, error },
    });
    Ok(Listener { id, socket: bound? })
}

fn socket(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Listener {
    pub fn id(&self) -> ListenerId {
        self.id
    }

    /// Returns the bound address. Its port is the one that the system chose when port 0 was asked
    /// for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Registers the listener with the runtime of this thread.
    pub fn open(self) -> io::Result<Incoming> {
        Ok(Incoming { listener: TcpListener::from_std(self.socket)? })
    }
}

/// The incoming connections of a listener.
#[derive(Debug)]
pub struct Incoming {
    listener: TcpListener,
}

impl Incoming {
    /// Accepts the next connection and registers it with the runtime of this thread.
    pub async fn accept(&mut self) -> io::Result<(Stream, SocketAddr)> {
        let (stream, peer) = self.listener.accept().await?;
        // This fails only when the client has disconnected, which the first read reports.
        _ = stream.set_nodelay(true);
        Ok((Stream::Tcp(stream), peer))
    }

    /// Accepts the next connection without registering it, so that any thread can open it.
    pub(super) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        let (stream, peer) = ready!(self.listener.poll_accept(cx))?;
        Poll::Ready(Ok((Socket::Tcp(stream.into_std()?), peer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_a_busy_port_names_the_fix() {
        let first = bind(ListenerId::Http, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.address().unwrap();
        let error = bind(ListenerId::Http, address).unwrap_err();
        let expected = format!(
            "http.listen {address} is already in use: choose another address with --listen or http.listen, \
             or stop the program that uses it"
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn an_address_of_another_machine_is_rejected() {
        let error = bind(ListenerId::Admin, "192.0.2.1:80".parse().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("cannot listen on admin.listen 192.0.2.1:80: "), "{error}");
        assert!(error.ends_with("choose another address with --admin or admin.listen"), "{error}");
    }
}
