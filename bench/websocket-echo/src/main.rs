//! Returns every message of every client. One thread. Prints `serves <address>`.

use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_websockets::{Message, ServerBuilder};

/// The messages that one write may carry.
const BURST: usize = 64;

fn main() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("serves {}", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(echo(stream));
        }
    });
}

/// Reads all that has arrived before it writes, so that replies leave together.
async fn echo(stream: TcpStream) -> Option<()> {
    let (_, mut socket) = ServerBuilder::new().accept(stream).await.ok()?;
    let mut messages: Vec<Message> = Vec::new();
    loop {
        messages.extend(data(socket.next().await?.ok()?));
        while messages.len() < BURST
            && let Some(next) = socket.next().now_or_never()
        {
            messages.extend(data(next?.ok()?));
        }
        for message in messages.drain(..) {
            socket.feed(message).await.ok()?;
        }
        socket.flush().await.ok()?;
    }
}

fn data(message: Message) -> Option<Message> {
    (message.is_text() || message.is_binary()).then_some(message)
}
