//! A proxy between a client and the host that cuts connections as a network does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Copies bytes between its clients and one address. Dropping it cuts all connections.
pub struct Proxy {
    pub address: SocketAddr,
    cut: watch::Sender<()>,
    open: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub async fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, seen) = watch::channel(());
        let open = Arc::<AtomicUsize>::default();
        let count = open.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (mut seen, count) = (seen.clone(), count.clone());
                seen.mark_unchanged();
                count.fetch_add(1, Ordering::AcqRel);
                tokio::spawn(async move {
                    if let Ok(mut host) = TcpStream::connect(target).await {
                        tokio::select! {
                            _ = copy_bidirectional(&mut client, &mut host) => {}
                            _ = seen.changed() => {}
                        }
                    }
                    count.fetch_sub(1, Ordering::AcqRel);
                });
            }
        });
        Proxy { address, cut, open, task }
    }

    /// Cuts all connections. New ones are accepted.
    pub fn cut(&self) {
        self.cut.send_replace(());
    }

    /// Returns the number of open connections.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
