//! Listeners and connections, independent of the protocol: binds addresses, accepts connections,
//! hands them to workers, and limits the file descriptors and bytes that connections use.

mod accept;
mod backoff;
mod buffer_budget;
mod connect;
mod descriptors;
mod listener;
mod outgoing;
mod retry;
mod stream;

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use prometheus_client::metrics::counter::Counter;

pub use accept::{AcceptedConnection, ConnectionGuard, WorkerQueue, accept};
pub use backoff::{AcceptBackoff, affects_one_connection};
pub use buffer_budget::{BudgetExceeded, BufferAccount, BufferBudget};
pub use connect::{connect, dial};
pub use descriptors::{Descriptors, raise_descriptor_limit};
pub use listener::{BindError, Incoming, Listener, ListenerId, bind};
pub use outgoing::{Outgoing, Tls, is_certificate_error, open, open_at};
pub use retry::Retry;
pub use stream::{Socket, Stream};

/// The limits and counters of a node's sockets, as `fanfare status` and the metrics show them.
#[derive(Debug)]
pub struct Sockets {
    pub descriptors: Descriptors,
    /// `http.maxConnections`, or fewer when the process may not open that many descriptors.
    max_connections: AtomicUsize,
    /// Open connections of the admin listener.
    admin_connections: Arc<AtomicUsize>,
    /// Connections that the host closed at once because they would have used reserved descriptors.
    pub refused: Counter,
    /// Failed calls of `accept`, on any listener.
    pub accept_failures: Counter,
    pub buffered: Arc<BufferBudget>,
}

impl Sockets {
    /// `max_connections` is `http.maxConnections`, `max_buffered` is `http.maxBuffered`.
    pub fn new(descriptors: Descriptors, max_connections: usize, max_buffered: u64) -> Sockets {
        Sockets {
            descriptors,
            max_connections: AtomicUsize::new(max_connections),
            admin_connections: Arc::default(),
            refused: Counter::default(),
            accept_failures: Counter::default(),
            buffered: Arc::new(BufferBudget::new(max_buffered)),
        }
    }

    /// Lowers the maximum number of connections to what the free descriptors allow, logs the
    /// result, and returns it. Call this after the modules are loaded, because each module keeps a
    /// descriptor open.
    pub fn limit_to_descriptors(&self) -> usize {
        let Descriptors { limit, reserved, .. } = self.descriptors;
        let (wanted, in_use) = (self.max_connections(), Descriptors::in_use());
        let connections = self.descriptors.max_connections(wanted, in_use);
        self.max_connections.store(connections, Relaxed);
        if connections < wanted {
            let enough = wanted.saturating_add(in_use).saturating_add(reserved);
            tracing::warn!(
                limit,
                reserved,
                in_use,
                connections,
                "the limit of file descriptors allows fewer connections than http.maxConnections, {wanted}: \
                 raise the hard limit to {enough} (`ulimit -n`), or lower http.maxConnections"
            );
        } else {
            tracing::debug!(
                limit,
                reserved,
                in_use,
                connections,
                "there are enough file descriptors for http.maxConnections"
            );
        }
        connections
    }

    /// Counts a connection of the admin listener until the guard is dropped.
    pub fn enter_admin(&self) -> AdminConnectionGuard {
        self.admin_connections.fetch_add(1, Relaxed);
        AdminConnectionGuard(self.admin_connections.clone())
    }

    /// Whether an HTTP connection that was just accepted uses a descriptor reserved for the admin
    /// listener, reloads and compiling.
    pub fn uses_reserve(&self, socket: &impl AsRawFd) -> bool {
        self.descriptors.uses_reserve(socket, self.admin_connections.load(Relaxed))
    }

    /// The maximum number of open connections, over all listeners except the admin listener.
    pub fn max_connections(&self) -> usize {
        self.max_connections.load(Relaxed)
    }
}

/// Counts an open connection of the admin listener until it is dropped.
#[derive(Debug)]
pub struct AdminConnectionGuard(Arc<AtomicUsize>);

impl Drop for AdminConnectionGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
