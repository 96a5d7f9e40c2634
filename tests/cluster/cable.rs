//! A network between a node and a NATS server that delays what it carries, or loses it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::harness::eventually;

/// Copies bytes between its clients and one address.
pub struct Cable {
    pub address: SocketAddr,
    plugged: watch::Sender<bool>,
    /// Changes when the present connections end.
    turn: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl Cable {
    pub async fn to(target: SocketAddr, delay: Duration) -> Cable {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (plugged, state) = watch::channel(true);
        let state = Arc::new(state);
        let (turn, present) = watch::channel(0);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (state, mut present) = (state.clone(), present.clone());
                present.mark_unchanged();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(target).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::select! {
                        () = carry(from_client, to_server, delay, &state) => {}
                        () = carry(from_server, to_client, delay, &state) => {}
                        _ = present.changed() => {}
                    }
                });
            }
        });
        Cable { address, plugged, turn, task }
    }

    /// Carries nothing any more, and closes no connection, as a network does whose cable is pulled.
    pub fn pull(&self) {
        self.plugged.send_replace(false);
    }

    /// Closes all connections, and loses what they had not carried.
    pub async fn tear(&self) {
        self.turn.send_modify(|turn| *turn += 1);
        // One receiver is that of the task.
        eventually("the connections end", || async { self.turn.receiver_count() == 1 }).await;
    }

    /// Carries again, also what was sent meanwhile.
    pub fn plug_in(&self) {
        self.plugged.send_replace(true);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration, plugged: &watch::Receiver<bool>) {
    let (sender, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(1_024);
    let read = async {
        let mut buffer = vec![0; 64 * 1_024];
        while let Ok(size @ 1..) = {
            _ = plugged.clone().wait_for(|plugged| *plugged).await;
            from.read(&mut buffer).await
        } {
            if sender.send((Instant::now() + delay, buffer[..size].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some((due, bytes)) = waiting.recv().await {
            sleep_until(due).await;
            _ = plugged.clone().wait_for(|plugged| *plugged).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}
