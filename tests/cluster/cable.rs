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
        Cable::with(target, delay, None).await
    }

    /// Loses what its clients publish if it contains a text.
    pub async fn losing(target: SocketAddr, text: &'static str) -> Cable {
        Cable::with(target, Duration::ZERO, Some(text)).await
    }

    async fn with(target: SocketAddr, delay: Duration, loses: Option<&'static str>) -> Cable {
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
                        () = carry(from_client, to_server, (delay, loses), &state) => {}
                        () = carry(from_server, to_client, (delay, None), &state) => {}
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

/// Takes the complete lines and messages of a client of NATS, without those that contain a text.
fn without(text: &str, bytes: &mut Vec<u8>) -> Vec<u8> {
    let mut kept = Vec::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned();
        let body = if line.starts_with("PUB ") || line.starts_with("HPUB ") {
            line.rsplit(' ').next().unwrap().parse::<usize>().unwrap() + 2
        } else {
            0
        };
        if bytes.len() < end + 1 + body {
            break;
        }
        let rest = bytes.split_off(end + 1 + body);
        let message = std::mem::replace(bytes, rest);
        if body == 0 || !String::from_utf8_lossy(&message).contains(text) {
            kept.extend(message);
        }
    }
    kept
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    (delay, loses): (Duration, Option<&str>),
    plugged: &watch::Receiver<bool>,
) {
    let (sender, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(1_024);
    let read = async {
        let (mut buffer, mut begun) = (vec![0; 64 * 1_024], Vec::new());
        while let Ok(size @ 1..) = {
            _ = plugged.clone().wait_for(|plugged| *plugged).await;
            from.read(&mut buffer).await
        } {
            let bytes = match loses {
                Some(text) => {
                    begun.extend_from_slice(&buffer[..size]);
                    without(text, &mut begun)
                }
                None => buffer[..size].to_vec(),
            };
            if sender.send((Instant::now() + delay, bytes)).await.is_err() {
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
