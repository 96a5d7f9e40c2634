//! Binding listeners, and giving each connection to the worker that has the fewest.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::net::{Sockets, Trouble, of_one_connection};

/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 1_024;

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{key} {address} is in use: choose another with {flag} or {key}, or stop the program that has it")]
    InUse { key: &'static str, flag: &'static str, address: SocketAddr },
    #[error("{key} {address} cannot be listened on: {error}: choose another with {flag} or {key}")]
    Other { key: &'static str, flag: &'static str, address: SocketAddr, error: io::Error },
}

/// Listens on an address. `key` and `flag` name where it was set, such as `http.listen` and `--listen`.
pub fn bind(address: SocketAddr, key: &'static str, flag: &'static str) -> Result<TcpListener, BindError> {
    listener(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { key, flag, address },
        _ => BindError::Other { key, flag, address, error },
    })
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The way to one worker.
#[derive(Debug, Clone)]
pub struct Hand {
    /// Connections it has, those on the way to it included.
    pub open: Arc<AtomicUsize>,
    pub send: mpsc::Sender<Accepted>,
}

/// A connection on its way to a worker.
#[derive(Debug)]
pub struct Accepted {
    /// Nonblocking.
    pub stream: TcpStream,
    pub peer: SocketAddr,
    /// To be kept as long as the connection is open.
    pub open: Open,
}

/// Counts a connection as long as it is there.
#[derive(Debug)]
pub struct Open {
    count: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
    _token: TaskTrackerToken,
}

impl Open {
    fn new(count: &Arc<AtomicUsize>, permit: OwnedSemaphorePermit, token: TaskTrackerToken) -> Open {
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

/// Accepts until `end`, and then what the system's queue still has. Each connection goes to the
/// worker with the fewest. At [`Sockets::max_connections`] the next ones wait in the queue.
/// Accepting continues after an error. `connections` knows which are open.
pub async fn accept(
    listener: TcpListener,
    hands: Vec<Hand>,
    sockets: Arc<Sockets>,
    connections: TaskTracker,
    end: CancellationToken,
) -> io::Result<()> {
    let mut listener = tokio::net::TcpListener::from_std(listener)?;
    let mut acceptor = Acceptor::new(hands, sockets, connections);
    tokio::select! {
        biased;
        () = end.cancelled() => {}
        () = acceptor.run(&mut listener) => {}
    }
    // The system resets what is in its queue when the listener closes. Once around the reactor, so
    // that all of it is seen.
    tokio::task::yield_now().await;
    acceptor.empty(&mut listener).await;
    Ok(())
}

/// Where connections come from.
trait Source {
    fn next(&mut self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Source for tokio::net::TcpListener {
    async fn next(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = self.accept().await?;
        Ok((stream.into_std()?, peer))
    }
}

struct Acceptor {
    hands: Vec<Hand>,
    sockets: Arc<Sockets>,
    connections: TaskTracker,
    permits: Arc<Semaphore>,
    trouble: Trouble,
    /// Who is first among equals.
    turn: usize,
}

impl Acceptor {
    fn new(hands: Vec<Hand>, sockets: Arc<Sockets>, connections: TaskTracker) -> Acceptor {
        let trouble = Trouble::new("http.listen", sockets.accept_failures.clone());
        let permits = Arc::new(Semaphore::new(sockets.max_connections().min(Semaphore::MAX_PERMITS)));
        Acceptor { hands, sockets, connections, permits, trouble, turn: 0 }
    }

    async fn run(&mut self, source: &mut impl Source) {
        // It is never closed.
        while let Ok(permit) = self.permits.clone().acquire_owned().await {
            match source.next().await {
                // Modules that were added since the start use descriptors too. A client that is
                // closed at once tries again.
                Ok((stream, _)) if self.sockets.needs_reserve(&stream) => {
                    drop(stream);
                    self.sockets.refused.inc();
                    self.trouble.wait(&Errno::MFILE.into()).await;
                }
                Ok((stream, peer)) => {
                    self.trouble.is_over();
                    self.give(stream, peer, permit).await;
                }
                Err(error) if of_one_connection(&error) => {
                    tracing::debug!(%error, "a connection ended before it was accepted");
                }
                Err(error) => self.trouble.wait(&error).await,
            }
        }
    }

    /// Accepts what is there and waits for nothing.
    async fn empty(&mut self, source: &mut impl Source) {
        while let Ok(permit) = self.permits.clone().try_acquire_owned()
            && let Some(Ok((stream, peer))) = source.next().now_or_never()
        {
            self.give(stream, peer, permit).await;
        }
    }

    /// To the worker with the fewest that takes it; when none does at once, to the one with the fewest when it does.
    async fn give(&mut self, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let mut order: Vec<&Hand> = self.hands.iter().collect();
        let first = self.turn.checked_rem(order.len()).unwrap_or_default();
        order.rotate_left(first);
        self.turn = self.turn.wrapping_add(1);
        order.sort_by_key(|hand| hand.open.load(Ordering::Relaxed));
        let Some(fewest) = order.first() else {
            return;
        };
        let mut accepted = Accepted { stream, peer, open: Open::new(&fewest.open, permit, self.connections.token()) };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Descriptors;
    use std::collections::VecDeque;
    use std::net::Ipv4Addr;
    use tokio::io::AsyncReadExt;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn hands(count: usize, room: usize) -> (Vec<Hand>, Vec<mpsc::Receiver<Accepted>>) {
        (0..count)
            .map(|_| {
                let (send, receive) = mpsc::channel(room);
                (Hand { open: Arc::default(), send }, receive)
            })
            .unzip()
    }

    fn counts(hands: &[Hand]) -> Vec<usize> {
        hands.iter().map(|hand| hand.open.load(Ordering::Relaxed)).collect()
    }

    fn sockets(max: usize) -> Arc<Sockets> {
        Arc::new(Sockets::new(Descriptors::read(), max, 0))
    }

    /// An acceptor under test: its address, and what ends it.
    fn start(hands: &[Hand], max: usize) -> (SocketAddr, CancellationToken) {
        let listener = bind(ANY, "http.listen", "--listen").unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(accept(listener, hands.to_vec(), sockets(max), TaskTracker::new(), shutdown.clone()));
        (address, shutdown)
    }

    async fn connect(address: SocketAddr) -> tokio::net::TcpStream {
        tokio::net::TcpStream::connect(address).await.unwrap()
    }

    #[test]
    fn a_busy_port_is_one_error_that_says_what_to_do() {
        let first = bind(ANY, "http.listen", "--listen").unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address, "http.listen", "--listen").unwrap_err();
        let expected = format!(
            "http.listen {address} is in use: choose another with --listen or http.listen, or stop the program that has it"
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        let error = bind("192.0.2.1:80".parse().unwrap(), "admin.listen", "--admin").unwrap_err().to_string();
        assert!(error.starts_with("admin.listen 192.0.2.1:80 cannot be listened on: "), "{error}");
        assert!(error.ends_with("choose another with --admin or admin.listen"), "{error}");
    }

    #[tokio::test]
    async fn connections_go_to_the_worker_with_the_fewest_and_in_turn_among_equals() {
        let (hands, mut workers) = hands(3, 16);
        let (address, _shutdown) = start(&hands, 100);
        let mut kept = Vec::new();
        for _ in 0..9 {
            kept.push(connect(address).await);
        }
        let mut taken = Vec::new();
        for worker in &mut workers {
            for _ in 0..3 {
                taken.push(worker.recv().await.unwrap());
            }
        }
        assert_eq!(counts(&hands), [3, 3, 3]);
        // The second worker loses one: the next connection is its.
        taken.remove(4);
        assert_eq!(counts(&hands), [3, 2, 3]);
        kept.push(connect(address).await);
        taken.push(workers[1].recv().await.unwrap());
        assert_eq!(counts(&hands), [3, 3, 3]);
        drop(taken);
        assert_eq!(counts(&hands), [0, 0, 0]);
    }

    #[tokio::test]
    async fn at_the_most_connections_the_next_one_waits() {
        let (hands, mut workers) = hands(1, 16);
        let (address, _shutdown) = start(&hands, 2);
        let _clients = [connect(address).await, connect(address).await, connect(address).await];
        let first = workers[0].recv().await.unwrap();
        let _second = workers[0].recv().await.unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(workers[0].try_recv().is_err());
        drop(first);
        workers[0].recv().await.unwrap();
    }

    #[tokio::test]
    async fn a_full_or_ended_worker_is_passed_over() {
        let (hands, mut workers) = hands(3, 1);
        let (address, _shutdown) = start(&hands, 100);
        workers[0].close();
        let _clients = [connect(address).await, connect(address).await, connect(address).await];
        let first = workers[1].recv().await.unwrap();
        let second = workers[2].recv().await.unwrap();
        // The third had to wait for room.
        let (left, right) = workers.split_at_mut(2);
        let third = tokio::select! {
            third = left[1].recv() => third,
            third = right[0].recv() => third,
        };
        assert_eq!(counts(&hands).iter().sum::<usize>(), 3);
        assert_eq!(counts(&hands)[0], 0);
        drop((first, second, third));
        assert_eq!(counts(&hands), [0, 0, 0]);
    }

    struct Script(VecDeque<io::Result<(TcpStream, SocketAddr)>>);

    impl Source for Script {
        async fn next(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
            match self.0.pop_front() {
                Some(result) => result,
                None => std::future::pending().await,
            }
        }
    }

    #[tokio::test]
    async fn an_error_of_accept_is_survived() {
        let (hands, mut workers) = hands(1, 16);
        let listener = std::net::TcpListener::bind(ANY).unwrap();
        let _client = connect(listener.local_addr().unwrap()).await;
        let mut script = Script(VecDeque::from([
            Err(io::Error::from_raw_os_error(24)),
            Err(io::ErrorKind::ConnectionAborted.into()),
            listener.accept(),
        ]));
        let sockets = sockets(10);
        let mut acceptor = Acceptor::new(hands, sockets.clone(), TaskTracker::new());
        tokio::select! {
            () = acceptor.run(&mut script) => panic!("ended"),
            taken = workers[0].recv() => assert!(taken.is_some()),
        }
        assert_eq!(sockets.accept_failures.get(), 1);
    }

    #[tokio::test]
    async fn a_connection_that_would_use_a_reserved_descriptor_is_closed_at_once() {
        let (hands, mut workers) = hands(1, 16);
        let listener = std::net::TcpListener::bind(ANY).unwrap();
        let mut refused = connect(listener.local_addr().unwrap()).await;
        let mut script = Script(VecDeque::from([listener.accept()]));
        let sockets = Arc::new(Sockets::new(Descriptors { limit: 64, reserved: 64 }, 10, 0));
        let mut acceptor = Acceptor::new(hands, sockets.clone(), TaskTracker::new());
        tokio::select! {
            () = acceptor.run(&mut script) => panic!("ended"),
            _ = workers[0].recv() => panic!("accepted"),
            read = refused.read_u8() => assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof),
        }
        assert_eq!(sockets.refused.get(), 1);
    }

    #[tokio::test]
    async fn at_the_end_what_the_queue_has_is_accepted() {
        let (hands, mut workers) = hands(1, 16);
        let listener = bind(ANY, "http.listen", "--listen").unwrap();
        let address = listener.local_addr().unwrap();
        let _clients = [connect(address).await, connect(address).await, connect(address).await];
        let (connections, end) = (TaskTracker::new(), CancellationToken::new());
        end.cancel();
        accept(listener, hands, sockets(2), connections.clone(), end).await.unwrap();
        // As many as there may be.
        assert_eq!(connections.len(), 2);
        let taken = [workers[0].recv().await.unwrap(), workers[0].recv().await.unwrap()];
        assert!(workers[0].recv().await.is_none());
        drop(taken);
        assert!(connections.is_empty());
    }

    #[tokio::test]
    async fn it_ends_on_shutdown() {
        let (hands, mut workers) = hands(1, 16);
        let (_, shutdown) = start(&hands, 10);
        drop(hands);
        shutdown.cancel();
        assert!(workers[0].recv().await.is_none());
    }
}
