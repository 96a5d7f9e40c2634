//! Listeners and connections of every protocol: binds, accepts, hands over, and bounds the file
//! descriptors and bytes that connections use.

mod accept;
mod buffered;
mod descriptors;
mod listener;
mod stream;
mod trouble;

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use prometheus_client::metrics::counter::Counter;

pub use accept::{Accepted, Hand, Open, accept};
pub use buffered::{Account, Buffered, Full};
pub use descriptors::{Descriptors, original_limit, raise_limit};
pub use listener::{BindError, Incoming, Listener, ListenerId, bind};
pub use stream::{Socket, Stream};
pub use trouble::{Trouble, of_one_connection};

/// The sockets of a node, as status and metrics show them.
#[derive(Debug)]
pub struct Sockets {
    pub descriptors: Descriptors,
    /// `http.maxConnections`, or fewer where descriptors do not suffice.
    max_connections: AtomicUsize,
    /// Open connections of the admin listener.
    admin_connections: Arc<AtomicUsize>,
    /// Connections that were closed at once, because they would have used reserved descriptors.
    pub refused: Counter,
    /// Calls of `accept` that failed, on any listener.
    pub accept_failures: Counter,
    pub buffered: Arc<Buffered>,
}

impl Sockets {
    /// Applies the settings `http.maxConnections` and `http.maxBuffered`.
    pub fn new(descriptors: Descriptors, max_connections: usize, max_buffered: u64) -> Sockets {
        Sockets {
            descriptors,
            max_connections: AtomicUsize::new(max_connections),
            admin_connections: Arc::default(),
            refused: Counter::default(),
            accept_failures: Counter::default(),
            buffered: Arc::new(Buffered::new(max_buffered)),
        }
    }

    /// Lowers the number of connections to what the descriptors allow, and logs the result. The
    /// host calls it when the modules are loaded, because each of them keeps a descriptor.
    pub fn settle(&self) -> usize {
        let Descriptors { limit, reserved, .. } = self.descriptors;
        let (wanted, in_use) = (self.max_connections(), Descriptors::in_use());
        let connections = self.descriptors.connections(wanted, in_use);
        self.max_connections.store(connections, Relaxed);
        if connections < wanted {
            let enough = wanted.saturating_add(in_use).saturating_add(reserved);
            tracing::warn!(
                limit,
                reserved,
                in_use,
                connections,
                "file descriptors allow fewer connections than http.maxConnections, {wanted}: \
                 raise the hard limit to {enough} (`ulimit -n`), or lower http.maxConnections"
            );
        } else {
            tracing::info!(limit, reserved, in_use, connections, "file descriptors suffice for http.maxConnections");
        }
        connections
    }

    /// Counts a connection of the admin listener until the guard is dropped.
    pub fn enter_admin(&self) -> AdminConnection {
        self.admin_connections.fetch_add(1, Relaxed);
        AdminConnection(self.admin_connections.clone())
    }

    /// Whether an HTTP connection that was just accepted uses descriptors that are kept for the
    /// operator, reloads and compiling.
    pub fn needs_reserve(&self, socket: &impl AsRawFd) -> bool {
        self.descriptors.needs_reserve(socket, self.admin_connections.load(Relaxed))
    }

    /// The most connections at once, of all listeners but the admin one.
    pub fn max_connections(&self) -> usize {
        self.max_connections.load(Relaxed)
    }
}

/// An open connection of the admin listener.
#[derive(Debug)]
pub struct AdminConnection(Arc<AtomicUsize>);

impl Drop for AdminConnection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
