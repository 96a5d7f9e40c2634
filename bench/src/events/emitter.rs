//! Clients that emit events, in a process of their own: one thread, one connection for each
//! emitter. An emitter sends the next event when it has the response to the previous one.
//!
//! The command `emit <n>` on standard input emits `n` events in all, and answers `emitted <begun>
//! <ended>` in nanoseconds of the wall clock. The end of the input ends the process.

use std::io::BufRead;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::BODY;
use crate::bare;
use crate::streams::child::{Child, now};

/// `event-emitter <address> <emitters>`.
pub fn main(arguments: &[String]) {
    let [address, emitters] = arguments else { panic!("event-emitter <address> <emitters>") };
    let (address, emitters): (SocketAddr, u64) = (address.parse().unwrap(), emitters.parse().unwrap());
    let runtime = bare::runtime();
    let mut all = Vec::new();
    for _ in 0..emitters {
        all.push(runtime.block_on(Emitter::open(address)));
    }
    println!("open {emitters}");
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let count: u64 = line.strip_prefix("emit ").and_then(|count| count.parse().ok()).expect("emit <n>");
        let begun = now();
        runtime.block_on(async {
            let each = all.iter_mut().zip(0..).map(|(emitter, index)| {
                let share = count / emitters + u64::from(index < count % emitters);
                emitter.emit(share)
            });
            futures_util::future::join_all(each).await;
        });
        println!("emitted {begun} {}", now());
    }
}

struct Emitter {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
}

impl Emitter {
    async fn open(address: SocketAddr) -> Emitter {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        // Runs while a command does.
        tokio::spawn(async move { connection.await.unwrap() });
        Emitter { sender, host: HeaderValue::try_from(address.to_string()).unwrap() }
    }

    async fn emit(&mut self, count: u64) {
        for _ in 0..count {
            let mut request = Request::new(Full::new(Bytes::from_static(BODY.as_bytes())));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = http::Uri::from_static("/events");
            request.headers_mut().insert(HOST, self.host.clone());
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            self.sender.ready().await.unwrap();
            let response = self.sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            response.into_body().collect().await.unwrap();
        }
    }
}

/// The emitters as a child process.
pub struct Emitters(Child);

impl Emitters {
    pub fn start(address: &str, emitters: usize) -> Emitters {
        let mut child = Child::start(&["event-emitter", address, &emitters.to_string()]);
        assert_eq!(child.line(), format!("open {emitters}"));
        Emitters(child)
    }

    /// Emits events, and returns when this began, once all have their responses.
    pub fn emit(&mut self, events: u64) -> u64 {
        self.0.send(&format!("emit {events}"));
        let line = self.0.line();
        line.split(' ').nth(1).and_then(|begun| begun.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    }
}
