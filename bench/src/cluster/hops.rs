//! Requests and replies of bare `async-nats` with the threads of nodes: as in Fanfare, a connection
//! has a thread of its own, callers are on another, and so is what answers.

use std::future::pending;
use std::sync::mpsc;
use std::thread;

use async_nats::Client;
use futures_util::StreamExt;
use tokio::runtime::Runtime;

use crate::bare;

/// The subject that is answered.
pub const SUBJECT: &str = "hops.call";

/// A client whose connection is on another thread, and the thread that uses it.
pub struct Hops {
    pub runtime: Runtime,
    pub client: Client,
}

impl Hops {
    pub fn connect(url: &str) -> Hops {
        let (ready, served) = mpsc::channel();
        let of_server = url.to_owned();
        thread::spawn(move || bare::runtime().block_on(serve(&of_server, &ready)));
        served.recv().unwrap();
        let (connected, client) = mpsc::channel();
        let url = url.to_owned();
        thread::spawn(move || {
            bare::runtime().block_on(async {
                connected.send(async_nats::connect(url).await.unwrap()).unwrap();
                pending::<()>().await;
            });
        });
        Hops { runtime: bare::runtime(), client: client.recv().unwrap() }
    }
}

/// Hands each request to a thread that answers it.
async fn serve(url: &str, ready: &mpsc::Sender<()>) {
    let client = async_nats::connect(url).await.unwrap();
    let mut requests = client.subscribe(SUBJECT).await.unwrap();
    client.flush().await.unwrap();
    let (work, mut received) = tokio::sync::mpsc::unbounded_channel::<async_nats::Message>();
    thread::spawn(move || {
        bare::runtime().block_on(async {
            while let Some(message) = received.recv().await {
                client.publish(message.reply.unwrap(), message.payload).await.unwrap();
            }
        });
    });
    ready.send(()).unwrap();
    while let Some(message) = requests.next().await {
        work.send(message).unwrap();
    }
}
