//! Accepts connections, and hands each to the worker with the fewest.

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

use super::{Incoming, Listener, ListenerId, Socket, Sockets, Trouble, of_one_connection};

#[cfg(test)]
mod tests;

/// The way to one worker.
#[derive(Debug, Clone)]
pub struct Hand {
    /// Connections that the worker has, including those on their way to it.
    pub open: Arc<AtomicUsize>,
    pub send: mpsc::Sender<Accepted>,
}

/// A connection on its way to a worker.
#[derive(Debug)]
pub struct Accepted {
    /// The listener that it arrived at.
    pub listener: ListenerId,
    pub socket: Socket,
    pub peer: SocketAddr,
    /// A guard to keep as long as the connection is open.
    pub open: Open,
}

/// Counts a connection until it is dropped.
#[derive(Debug)]
pub struct Open {
    count: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
    _token: TaskTrackerToken,
}

impl Open {
    /// `token`: of the tracker of all connections.
    pub fn new(count: &Arc<AtomicUsize>, permit: OwnedSemaphorePermit, token: TaskTrackerToken) -> Open {
        count.fetch_add(1, Ordering::Relaxed);
        Open { count: count.clone(), _permit: permit, _token: token }
    }

    /// Counts it for another worker.
    fn move_to(&mut self, count: &Arc<AtomicUsize>) {
        count.fetch_add(1, Ordering::Relaxed);
        std::mem::replace(&mut self.count, count.clone()).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts from all listeners until `end`, and then what the system's queues still have. Each
/// connection goes to the worker with the fewest. At [`Sockets::max_connections`], which counts the
/// connections of all listeners, the next ones wait in the queues. Accepting continues after an
/// error. `connections` knows which are open.
pub async fn accept(
    listeners: Vec<Listener>,
    hands: Vec<Hand>,
    sockets: Arc<Sockets>,
    connections: TaskTracker,
    end: CancellationToken,
) -> io::Result<()> {
    let opened = listeners.into_iter().map(|listener| Ok((listener.id(), listener.open()?)));
    let sources = opened.collect::<io::Result<Vec<_>>>()?;
    let mut acceptor = Acceptor::new(sources, hands, sockets, connections);
    tokio::select! {
        biased;
        () = end.cancelled() => {}
        () = acceptor.run() => {}
    }
    // The system resets the connections in a queue when its listener closes. The reactor runs once,
    // so that all of them are seen.
    tokio::task::yield_now().await;
    acceptor.empty().await;
    Ok(())
}

/// The source of connections.
trait Source {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>>;
}

impl Source for Incoming {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        self.poll_accept(cx)
    }
}

/// A listener and its failed attempts.
struct Door<S> {
    id: ListenerId,
    source: S,
    trouble: Trouble,
}

struct Acceptor<S> {
    doors: Vec<Door<S>>,
    hands: Vec<Hand>,
    sockets: Arc<Sockets>,
    connections: TaskTracker,
    permits: Arc<Semaphore>,
    /// The worker and the listener that are first among equals.
    turn: usize,
}

impl<S: Source> Acceptor<S> {
    fn new(
        sources: Vec<(ListenerId, S)>,
        hands: Vec<Hand>,
        sockets: Arc<Sockets>,
        connections: TaskTracker,
    ) -> Acceptor<S> {
        let trouble = |id: ListenerId| Trouble::new(id.key(), sockets.accept_failures.clone());
        let doors = sources.into_iter().map(|(id, source)| Door { id, source, trouble: trouble(id) }).collect();
        let permits = Arc::new(Semaphore::new(sockets.max_connections().min(Semaphore::MAX_PERMITS)));
        Acceptor { doors, hands, sockets, connections, permits, turn: 0 }
    }

    async fn run(&mut self) {
        // The semaphore is never closed.
        while let Ok(permit) = self.permits.clone().acquire_owned().await {
            let (id, next) = self.next().await;
            match next {
                // Modules that were added since the start use descriptors too. A client that is
                // closed at once tries again.
                Ok((socket, _)) if self.sockets.needs_reserve(&socket) => {
                    drop(socket);
                    self.sockets.refused.inc();
                    self.wait(id, &Errno::MFILE.into()).await;
                }
                Ok((socket, peer)) => {
                    self.trouble(id).for_each(Trouble::is_over);
                    self.give(id, socket, peer, permit).await;
                }
                Err(error) if of_one_connection(&error) => {
                    tracing::debug!(%error, "a connection ended before it was accepted");
                }
                Err(error) => self.wait(id, &error).await,
            }
        }
    }

    /// The next connection or error of any listener. None of them can keep the others waiting.
    async fn next(&mut self) -> (ListenerId, io::Result<(Socket, SocketAddr)>) {
        poll_fn(|cx| {
            let first = self.turn.checked_rem(self.doors.len()).unwrap_or_default();
            let (front, back) = self.doors.split_at_mut(first);
            for door in back.iter_mut().chain(front) {
                if let Poll::Ready(next) = door.source.poll_next(cx) {
                    return Poll::Ready((door.id, next));
                }
            }
            Poll::Pending
        })
        .await
    }

    fn trouble(&mut self, id: ListenerId) -> impl Iterator<Item = &mut Trouble> {
        self.doors.iter_mut().filter(move |door| door.id == id).map(|door| &mut door.trouble)
    }

    async fn wait(&mut self, id: ListenerId, error: &io::Error) {
        // Another listener may still work.
        self.turn = self.turn.wrapping_add(1);
        for trouble in self.trouble(id) {
            trouble.wait(error).await;
        }
    }

    /// Accepts the connections that have arrived, and does not wait for others.
    async fn empty(&mut self) {
        while let Ok(permit) = self.permits.clone().try_acquire_owned()
            && let Some((id, Ok((socket, peer)))) = self.next().now_or_never()
        {
            self.give(id, socket, peer, permit).await;
        }
    }

    /// Hands the connection to the worker with the fewest that has room; when none has, waits for
    /// the one with the fewest.
    async fn give(&mut self, listener: ListenerId, socket: Socket, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let mut order: Vec<&Hand> = self.hands.iter().collect();
        let first = self.turn.checked_rem(order.len()).unwrap_or_default();
        order.rotate_left(first);
        self.turn = self.turn.wrapping_add(1);
        order.sort_by_key(|hand| hand.open.load(Ordering::Relaxed));
        let Some(fewest) = order.first() else {
            return;
        };
        let open = Open::new(&fewest.open, permit, self.connections.token());
        let mut accepted = Accepted { listener, socket, peer, open };
        let mut full = None;
        for hand in order {
            accepted.open.move_to(&hand.open);
            match hand.send.try_send(accepted) {
                Ok(()) => return,
                Err(TrySendError::Full(back)) => {
                    full.get_or_insert(hand);
                    accepted = back;
                }
                Err(TrySendError::Closed(back)) => accepted = back,
            }
        }
        let Some(hand) = full else {
            tracing::warn!(%peer, "a connection is refused: no worker is running");
            return;
        };
        accepted.open.move_to(&hand.open);
        if hand.send.send(accepted).await.is_err() {
            tracing::warn!(%peer, "a connection is lost: its worker has ended");
        }
    }
}
