//! A proxy between a client and the host that cuts connections as a network does.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Copies bytes between its clients and one address. Dropping it cuts all connections.
pub struct Proxy {
    pub address: SocketAddr,
    cut: watch::Sender<()>,
    marker: Marker,
    open: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

/// The text after which the proxy cuts a connection.
type Marker = Arc<Mutex<Option<&'static str>>>;

impl Proxy {
    pub async fn to(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, seen) = watch::channel(());
        let open = Arc::<AtomicUsize>::default();
        let marker = Marker::default();
        let (count, wanted) = (open.clone(), marker.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut seen, count, marker) = (seen.clone(), count.clone(), wanted.clone());
                seen.mark_unchanged();
                count.fetch_add(1, Ordering::AcqRel);
                tokio::spawn(async move {
                    if let Ok(host) = TcpStream::connect(target).await {
                        let ((mut from_client, to_client), (from_host, mut to_host)) =
                            (client.into_split(), host.into_split());
                        let up = async {
                            _ = copy(&mut from_client, &mut to_host).await;
                            _ = to_host.shutdown().await;
                            std::future::pending::<()>().await;
                        };
                        tokio::select! {
                            () = up => {}
                            () = down(from_host, to_client, &marker) => {}
                            _ = seen.changed() => {}
                        }
                    }
                    count.fetch_sub(1, Ordering::AcqRel);
                });
            }
        });
        Proxy { address, cut, marker, open, task }
    }

    /// Cuts all connections. New ones are accepted.
    pub fn cut(&self) {
        self.cut.send_replace(());
    }

    /// Cuts the connection on which the host next sends this text, right after the text.
    pub fn cut_after(&self, text: &'static str) {
        *self.marker.lock().unwrap() = Some(text);
    }

    /// Whether the text of [`Proxy::cut_after`] was sent.
    pub fn has_cut(&self) -> bool {
        self.marker.lock().unwrap().is_none()
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

/// Copies what the host sends, until it ends or the marker was sent.
async fn down(mut host: OwnedReadHalf, mut client: OwnedWriteHalf, marker: &Marker) {
    // What was sent before, as far as the marker may begin in it.
    let (mut last, mut part) = (Vec::new(), vec![0; 16 * 1024]);
    while let Ok(count @ 1..) = host.read(&mut part).await {
        let before = last.len();
        last.extend_from_slice(&part[..count]);
        let end = cut_at(&last, marker);
        let sent = end.map_or(count, |end| end - before);
        if client.write_all(&part[..sent]).await.is_err() || end.is_some() {
            return;
        }
        last.drain(..last.len().saturating_sub(64));
    }
}

/// Where to cut these bytes. Forgets the marker if it is in them.
fn cut_at(bytes: &[u8], marker: &Marker) -> Option<usize> {
    let mut marker = marker.lock().unwrap();
    let text = (*marker)?.as_bytes();
    let start = bytes.windows(text.len()).position(|window| window == text)?;
    *marker = None;
    Some(start + text.len())
}
