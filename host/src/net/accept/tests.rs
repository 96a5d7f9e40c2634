use super::*;
use crate::net::{Descriptors, bind};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use tokio::io::AsyncReadExt;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn queues(count: usize, room: usize) -> (Vec<WorkerQueue>, Vec<mpsc::Receiver<AcceptedConnection>>) {
    (0..count)
        .map(|_| {
            let (send, receive) = mpsc::channel(room);
            (WorkerQueue { open: Arc::default(), send }, receive)
        })
        .unzip()
}

fn counts(queues: &[WorkerQueue]) -> Vec<usize> {
    queues.iter().map(|queue| queue.open.load(Ordering::Relaxed)).collect()
}

fn sockets(max: usize) -> Arc<Sockets> {
    Arc::new(Sockets::new(Descriptors::read(), max, 0))
}

/// Starts an acceptor. Returns its address, and the token that stops it.
fn start(queues: &[WorkerQueue], max: usize) -> (SocketAddr, CancellationToken) {
    let listener = bind(ListenerId::Http, ANY).unwrap();
    let (address, shutdown) = (listener.address().unwrap(), CancellationToken::new());
    tokio::spawn(accept(vec![listener], queues.to_vec(), sockets(max), TaskTracker::new(), shutdown.clone()));
    (address, shutdown)
}

async fn connect(address: SocketAddr) -> tokio::net::TcpStream {
    tokio::net::TcpStream::connect(address).await.unwrap()
}

#[tokio::test]
async fn connections_go_to_the_worker_with_the_fewest_and_rotate_among_equals() {
    let (queues, mut workers) = queues(3, 16);
    let (address, _shutdown) = start(&queues, 100);
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
    assert_eq!(counts(&queues), [3, 3, 3]);
    // The second worker closes one, so it gets the next connection.
    taken.remove(4);
    assert_eq!(counts(&queues), [3, 2, 3]);
    kept.push(connect(address).await);
    taken.push(workers[1].recv().await.unwrap());
    assert_eq!(counts(&queues), [3, 3, 3]);
    drop(taken);
    assert_eq!(counts(&queues), [0, 0, 0]);
}

#[tokio::test]
async fn a_connection_beyond_the_maximum_waits() {
    let (queues, mut workers) = queues(1, 16);
    let (address, _shutdown) = start(&queues, 2);
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
async fn a_worker_that_is_full_or_has_stopped_is_skipped() {
    let (queues, mut workers) = queues(3, 1);
    let (address, _shutdown) = start(&queues, 100);
    workers[0].close();
    let _clients = [connect(address).await, connect(address).await, connect(address).await];
    let first = workers[1].recv().await.unwrap();
    let second = workers[2].recv().await.unwrap();
    // The third connection had to wait for room in a queue.
    let (left, right) = workers.split_at_mut(2);
    let third = tokio::select! {
        third = left[1].recv() => third,
        third = right[0].recv() => third,
    };
    assert_eq!(counts(&queues).iter().sum::<usize>(), 3);
    assert_eq!(counts(&queues)[0], 0);
    drop((first, second, third));
    assert_eq!(counts(&queues), [0, 0, 0]);
}

struct Script(VecDeque<io::Result<(Socket, SocketAddr)>>);

impl Source for Script {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<io::Result<(Socket, SocketAddr)>> {
        self.0.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

fn accepted(listener: &std::net::TcpListener) -> io::Result<(Socket, SocketAddr)> {
    listener.accept().map(|(stream, peer)| (Socket::Tcp(stream), peer))
}

#[tokio::test]
async fn accepting_continues_after_an_error() {
    let (queues, mut workers) = queues(1, 16);
    let listener = std::net::TcpListener::bind(ANY).unwrap();
    let _client = connect(listener.local_addr().unwrap()).await;
    let script = Script(VecDeque::from([
        Err(io::Error::from_raw_os_error(24)),
        Err(io::ErrorKind::ConnectionAborted.into()),
        accepted(&listener),
    ]));
    let sockets = sockets(10);
    let mut acceptor = Acceptor::new(vec![(ListenerId::Http, script)], queues, sockets.clone(), TaskTracker::new());
    tokio::select! {
        () = acceptor.run() => panic!("ended"),
        taken = workers[0].recv() => assert!(taken.is_some()),
    }
    assert_eq!(sockets.accept_failures.get(), 1);
}

#[tokio::test]
async fn a_connection_that_would_use_a_reserved_descriptor_is_closed_at_once() {
    let (queues, mut workers) = queues(1, 16);
    let listener = std::net::TcpListener::bind(ANY).unwrap();
    let mut refused = connect(listener.local_addr().unwrap()).await;
    let script = Script(VecDeque::from([accepted(&listener)]));
    // No number is below the reserve, however few files the other tests have open.
    let sockets = Arc::new(Sockets::new(Descriptors { limit: 0, reserved: 0 }, 10, 0));
    let mut acceptor = Acceptor::new(vec![(ListenerId::Http, script)], queues, sockets.clone(), TaskTracker::new());
    tokio::select! {
        () = acceptor.run() => panic!("ended"),
        _ = workers[0].recv() => panic!("accepted"),
        read = refused.read_u8() => assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof),
    }
    assert_eq!(sockets.refused.get(), 1);
}

#[tokio::test]
async fn connections_in_the_backlog_are_accepted_at_the_end() {
    let (queues, mut workers) = queues(1, 16);
    let listener = bind(ListenerId::Http, ANY).unwrap();
    let address = listener.address().unwrap();
    let _clients = [connect(address).await, connect(address).await, connect(address).await];
    let (connections, end) = (TaskTracker::new(), CancellationToken::new());
    end.cancel();
    accept(vec![listener], queues, sockets(2), connections.clone(), end).await.unwrap();
    // The third would exceed the maximum.
    assert_eq!(connections.len(), 2);
    let taken = [workers[0].recv().await.unwrap(), workers[0].recv().await.unwrap()];
    assert!(workers[0].recv().await.is_none());
    drop(taken);
    assert!(connections.is_empty());
}

#[tokio::test]
async fn one_acceptor_serves_several_listeners_and_tells_their_connections_apart() {
    let (queues, mut workers) = queues(1, 16);
    let bound = [ListenerId::Http, ListenerId::Admin].map(|id| bind(id, ANY).unwrap());
    let addresses = [bound[0].address().unwrap(), bound[1].address().unwrap()];
    tokio::spawn(accept(bound.into(), queues, sockets(2), TaskTracker::new(), CancellationToken::new()));
    let mut clients = Vec::new();
    for address in [addresses[1], addresses[0]] {
        clients.push(connect(address).await);
        clients.push(connect(address).await);
    }
    // Two may be open at once, counted over both listeners.
    let mut keys = Vec::new();
    while keys.len() < 4 {
        let (first, second) = (workers[0].recv().await.unwrap(), workers[0].recv().await.unwrap());
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(workers[0].try_recv().is_err(), "http.maxConnections counts all sockets");
        keys.extend([first.listener.key(), second.listener.key()]);
    }
    keys.sort_unstable();
    assert_eq!(keys, ["admin.listen", "admin.listen", "http.listen", "http.listen"]);
}

#[tokio::test]
async fn a_busy_listener_does_not_starve_another() {
    let (queues, mut workers) = queues(1, 64);
    let script = |count: usize| {
        let unix = |_| Ok((Socket::Unix(std::os::unix::net::UnixStream::pair().unwrap().0), ANY));
        Script((0..count).map(unix).collect())
    };
    let sources = vec![(ListenerId::Http, script(50)), (ListenerId::Admin, script(2))];
    let mut acceptor = Acceptor::new(sources, queues, sockets(60), TaskTracker::new());
    acceptor.drain_backlogs().await;
    let mut ids = Vec::new();
    while let Ok(accepted) = workers[0].try_recv() {
        ids.push(accepted.listener);
    }
    assert_eq!(ids.len(), 52);
    assert_eq!(ids[..4].iter().filter(|id| **id == ListenerId::Admin).count(), 2, "{ids:?}");
}

#[tokio::test]
async fn the_acceptor_stops_on_shutdown() {
    let (queues, mut workers) = queues(1, 16);
    let (_, shutdown) = start(&queues, 10);
    drop(queues);
    shutdown.cancel();
    assert!(workers[0].recv().await.is_none());
}
