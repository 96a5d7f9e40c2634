//! The baseline for HTTP: the same response from hyper and nothing else, on one thread.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// Serves until the process is killed. The port is the last argument.
pub fn serve() {
    let port: u16 = std::env::args().next_back().unwrap().parse().unwrap();
    crate::bare::runtime().block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        println!("ready");
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let service = service_fn(|_: Request<Incoming>| async {
                    let mut response = Response::new(Full::new(Bytes::from_static(b"hello")));
                    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
                    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
                    Ok::<_, Infallible>(response)
                });
                let connection = hyper::server::conn::http1::Builder::new();
                // A client that disconnects is not an error.
                let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}
