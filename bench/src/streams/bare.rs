//! The baselines: a loop of writes to sockets, and bare hyper with a channel for each stream.

use std::convert::Infallible;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::server::{Address, DATA, Publish};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// An event with an id, as the host sends it.
fn event() -> Bytes {
    Bytes::from(format!("id: 0123456789abcdef-1\ndata: {DATA}\n\n"))
}

/// Work for a thread.
enum Work {
    Serve(TcpStream),
    Write(Bytes),
}

/// Accepts connections and hands each to the next thread.
fn accept(threads: Vec<UnboundedSender<Work>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (stream, thread) in listener.incoming().zip(threads.iter().cycle()) {
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            // A thread that has ended has printed why.
            let _ = thread.send(Work::Serve(stream));
        }
    });
    address
}

/// Starts threads, each with a runtime like that of a worker.
fn threads<F: Future<Output = ()> + 'static>(
    count: usize,
    each: fn(tokio::sync::mpsc::UnboundedReceiver<Work>) -> F,
) -> Vec<UnboundedSender<Work>> {
    let one = |_| {
        let (send, receive) = unbounded_channel();
        thread::spawn(move || crate::bare::runtime().block_on(each(receive)));
        send
    };
    (0..count).map(one).collect()
}

/// Threads that write each event to one socket after the other.
pub struct Loop {
    threads: Vec<UnboundedSender<Work>>,
    address: SocketAddr,
    frame: Bytes,
}

impl Loop {
    pub fn start(count: usize) -> Loop {
        let threads = threads(count, write_loop);
        let address = accept(threads.clone());
        let event = event();
        let mut frame = format!("{:x}\r\n", event.len()).into_bytes();
        frame.extend_from_slice(&event);
        frame.extend_from_slice(b"\r\n");
        Loop { threads, address, frame: frame.into() }
    }
}

async fn write_loop(mut work: tokio::sync::mpsc::UnboundedReceiver<Work>) {
    let mut sockets = Vec::new();
    while let Some(work) = work.recv().await {
        match work {
            Work::Serve(mut stream) => {
                // The request arrives with the connection: the client writes it at once.
                let count = stream.read(&mut [0; 4_096]).unwrap();
                assert!(count > 0, "a client has left");
                stream.set_nonblocking(true).unwrap();
                let socket = tokio::net::TcpStream::from_std(stream).unwrap();
                write(&socket, HEAD).await;
                sockets.push(socket);
            }
            Work::Write(frame) => {
                for socket in &sockets {
                    write(socket, &frame).await;
                }
            }
        }
    }
}

async fn write(socket: &tokio::net::TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match socket.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => socket.writable().await.unwrap(),
            // The client has left.
            Err(_) => return,
        }
    }
}

impl Publish for Loop {
    fn publish(&self, _key: &str) {
        for thread in &self.threads {
            thread.send(Work::Write(self.frame.clone())).ok().unwrap();
        }
    }
}

impl Address for Loop {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

type Senders = Arc<Mutex<Vec<UnboundedSender<Bytes>>>>;

/// Bare hyper: a body for each stream, fed by a channel. The body of a `POST` is an event for all
/// streams.
pub struct Hyper {
    address: SocketAddr,
    streams: Senders,
}

/// The senders of all streams. One process runs one server.
static STREAMS: std::sync::LazyLock<Senders> = std::sync::LazyLock::new(Senders::default);

impl Hyper {
    pub fn start(count: usize) -> Hyper {
        Hyper { address: accept(threads(count, serve_hyper)), streams: STREAMS.clone() }
    }
}

async fn serve_hyper(mut work: tokio::sync::mpsc::UnboundedReceiver<Work>) {
    while let Some(work) = work.recv().await {
        let Work::Serve(stream) = work else { continue };
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new();
            // A client that disconnects is not an error.
            let _ = connection.serve_connection(TokioIo::new(stream), service_fn(open)).await;
        });
    }
}

type Body = StreamBody<std::pin::Pin<Box<dyn stream::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>>;

async fn open(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if request.method() == http::Method::POST {
        return Ok(publish(request.into_body()).await);
    }
    let (send, mut receive) = unbounded_channel::<Bytes>();
    send.send(Bytes::from_static(b": connected\n\n")).unwrap();
    STREAMS.lock().unwrap().push(send);
    let frames =
        stream::poll_fn(move |cx| receive.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))));
    let mut response = Response::new(StreamBody::new(Box::pin(frames) as std::pin::Pin<Box<_>>));
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

async fn publish(body: Incoming) -> Response<Body> {
    let body = body.collect().await.unwrap().to_bytes();
    let event = [b"id: 0123456789abcdef-1\ndata: ".as_slice(), &body, b"\n\n"].concat();
    send(&STREAMS, &event.into());
    let answer = Bytes::from_static(br#"{"position":"0123456789abcdef-1"}"#);
    Response::new(StreamBody::new(Box::pin(stream::iter([Ok(Frame::data(answer))])) as std::pin::Pin<Box<_>>))
}

impl Publish for Hyper {
    fn publish(&self, _key: &str) {
        send(&self.streams, &event());
    }
}

fn send(streams: &Senders, event: &Bytes) {
    for stream in streams.lock().unwrap().iter() {
        // The client may have left.
        let _ = stream.send(event.clone());
    }
}

impl Address for Hyper {
    fn address(&self) -> SocketAddr {
        self.address
    }
}
