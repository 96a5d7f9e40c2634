//! Accepts connections, and hands each to the worker with the fewest connections.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use rustix::io::Errno;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{AcceptBackoff, Incoming, Listener, ListenerId, Socket, Sockets, affects_one_connection};

#[cfg(test)]
mod tests;

/// The queue of accepted connections of one worker.
#[derive(Debug, Clone)]
pub struct WorkerQueue {
    /// Open connections of the worker, including those that are still in the queue.
    pub open: Arc<AtomicUsize>,
    pub send: mpsc::Sender<AcceptedConnection>,
}

/// An accepted connection that no worker has opened yet.
#[derive(Debug)]
pub struct AcceptedConnection {
    /// The listener that accepted it.
    pub listener: ListenerId,
    pub socket: Socket,
    pub peer: SocketAddr,
    /// Keep it as long as the connection is open.
    pub guard: ConnectionGuard,
}

/// Counts an open connection until it is dropped.
#[derive(Debug)]
pub struct ConnectionGuard {
    /// The open connections of its worker.
    count: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
    _token: TaskTrackerToken,
}

impl ConnectionGuard {
    /// `count` counts the connections of one worker. `token` is one of the tracker of all
    /// connections.
    pub fn new(count: &Arc<AtomicUsize>, permit: OwnedSemaphorePermit, token: TaskTrackerToken) -> ConnectionGuard {
        count.fetch_add(1, Ordering::Relaxed);
        ConnectionGuard { count: count.clone(), _permit: permit, _token: token }
    }

    /// Counts the connection for another worker.
    fn move_to(&mut self, count: &Arc<AtomicUsize>) {
        count.fetch_add(1, Ordering::Relaxed);
        std::mem::replace(&mut self.count, count.clone()).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts connections from all listeners until `end` is cancelled, then accepts the connections
/// that still wait in the backlogs of the listeners, and returns.
///
/// Each connection goes to the worker with the fewest connections. When
/// [`Sockets::max_connections`] are open over all listeners, further ones wait in the backlogs.
/// Accepting continues after an error. `connections` tracks the open connections.
pub async fn accept(
    listeners: Vec<Listener>,
    workers: Vec<WorkerQueue>,
    sockets: Arc<Sockets>,
    connections: TaskTracker,
    end: CancellationToken,
) -> io::Result<()> {
    let opened = listeners.into_iter().map(|listener| Ok((listener.id(), listener.open()?)));
    let sources = opened.collect::<io::Result<Vec<_>>>()?;
    let mut acceptor = Acceptor::new(sources, workers, sockets, connections);
    tokio::select! {
        biased;
        () = end.cancelled() => {}
        () = acceptor.run() => {}
    }
    // The system resets the connections in a backlog when its listener closes. Yielding lets the
    // reactor run once, so that none of them is missed.
    tokio::task::yield_now().await;
    acceptor.drain_backlogs().await;
    Ok(())
}

/// A listener, or a script in tests.
trait Source {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>>;
}

impl Source for Incoming {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        self.poll_accept(cx)
    }
}

/// A listener and the backoff after its failed attempts.
struct OpenListener<S> {
    id: ListenerId,
    source: S,
    backoff: AcceptBackoff,
}

struct Acceptor<S> {
    listeners: Vec<OpenListener<S>>,
    workers: Vec<WorkerQueue>,
    sockets: Arc<Sockets>,
    connections: TaskTracker,
    permits: Arc<Semaphore>,
    /// Rotates which listener is polled first and which of equally loaded workers is chosen.
    turn: usize,
}

impl<S: Source> Acceptor<S> {
    fn new(
        sources: Vec<(ListenerId, S)>,
        workers: Vec<WorkerQueue>,
        sockets: Arc<Sockets>,
        connections: TaskTracker,
    ) -> Acceptor<S> {
        let backoff = |id: ListenerId| AcceptBackoff::new(id.key(), sockets.accept_failures.clone());
        let listeners =
            sources.into_iter().map(|(id, source)| OpenListener { id, source, backoff: backoff(id) }).collect();
        let permits = Arc::new(Semaphore::new(sockets.max_connections().min(Semaphore::MAX_PERMITS)));
        Acceptor { listeners, workers, sockets, connections, permits, turn: 0 }
    }

    async fn run(&mut self) {
        // The semaphore is never closed.
        while let Ok(permit) = self.permits.clone().acquire_owned().await {
            let (id, next) = self.next().await;
            match next {
                // Modules that were added since the start use descriptors too. A client whose
                // connection closes at once can retry.
                Ok((socket, _)) if self.sockets.uses_reserve(&socket) => {
                    drop(socket);
                    self.sockets.refused.inc();
                    self.back_off(id, &Errno::MFILE.into()).await;
                }
                Ok((socket, peer)) => {
                    self.backoff(id).for_each(AcceptBackoff::reset);
                    self.hand_over(id, socket, peer, permit).await;
                }
                Err(error) if affects_one_connection(&error) => {
                    tracing::debug!(%error, "a client disconnected before the host accepted its connection");
                }
                Err(error) => self.back_off(id, &error).await,
            }
        }
    }

    /// Returns the next connection or error of any listener. A busy listener cannot starve another.
    async fn next(&mut self) -> (ListenerId, io::Result<(Socket, SocketAddr)>) {
        poll_fn(|cx| {
            let first = self.turn.checked_rem(self.listeners.len()).unwrap_or_default();
            let (front, back) = self.listeners.split_at_mut(first);
            for listener in back.iter_mut().chain(front) {
                if let Poll::Ready(next) = listener.source.poll_next(cx) {
                    return Poll::Ready((listener.id, next));
                }
            }
            Poll::Pending
        })
        .await
    }

    fn backoff(&mut self, id: ListenerId) -> impl Iterator<Item = &mut AcceptBackoff> {
        self.listeners.iter_mut().filter(move |listener| listener.id == id).map(|listener| &mut listener.backoff)
    }

    async fn back_off(&mut self, id: ListenerId, error: &io::Error) {
        // Another listener may still work.
        self.turn = self.turn.wrapping_add(1);
        for backoff in self.backoff(id) {
            backoff.wait(error).await;
        }
    }

    /// Accepts the connections that have already arrived, without waiting for more.
    async fn drain_backlogs(&mut self) {
        while let Ok(permit) = self.permits.clone().try_acquire_owned()
            && let Some((id, Ok((socket, peer)))) = self.next().now_or_never()
        {
            self.hand_over(id, socket, peer, permit).await;
        }
    }

    /// Hands the connection to the worker with the fewest connections whose queue has room. When
    /// every queue is full, waits for the worker with the fewest connections.
    async fn hand_over(
        &mut self,
        listener: ListenerId,
        socket: Socket,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
    ) {
        let mut order: Vec<&WorkerQueue> = self.workers.iter().collect();
        let first = self.turn.checked_rem(order.len()).unwrap_or_default();
        order.rotate_left(first);
        self.turn = self.turn.wrapping_add(1);
        order.sort_by_key(|worker| worker.open.load(Ordering::Relaxed));
        let Some(fewest) = order.first() else {
            return;
        };
        let guard = ConnectionGuard::new(&fewest.open, permit, self.connections.token());
        let mut accepted = AcceptedConnection { listener, socket, peer, guard };
        let mut full = None;
        for worker in order {
            accepted.guard.move_to(&worker.open);
            match worker.send.try_send(accepted) {
                Ok(()) => return,
                Err(TrySendError::Full(back)) => {
                    full.get_or_insert(worker);
                    accepted = back;
                }
                Err(TrySendError::Closed(back)) => accepted = back,
            }
        }
        let Some(worker) = full else {
            tracing::warn!(%peer, "a connection was dropped: no worker is running");
            return;
        };
        accepted.guard.move_to(&worker.open);
        if worker.send.send(accepted).await.is_err() {
            tracing::warn!(%peer, "a connection was dropped: its worker has stopped");
        }
    }
}
