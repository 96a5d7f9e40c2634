//! The baseline for HTTP: the same response from hyper and nothing else, on one thread. `/upload`
//! and `/download/<size>` are the baseline for large bodies.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// The bytes of one part of a large body.
const PART: u64 = 64 * 1024;

/// A body of this size, in parts.
fn download(size: u64) -> impl Body<Data = Bytes, Error = Infallible> {
    let parts = (0..size.div_ceil(PART)).map(move |index| {
        let length = PART.min(size - index * PART);
        Ok(Frame::data(Bytes::from(vec![b'x'; usize::try_from(length).unwrap()])))
    });
    StreamBody::new(stream::iter(parts))
}

/// Reads a body and returns its size.
async fn size(mut body: Incoming) -> usize {
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        size += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    size
}

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
                let service = service_fn(|request: Request<Incoming>| async {
                    let body = match request.uri().path() {
                        "/" => Either::Left(Full::new(Bytes::from_static(b"hello"))),
                        "/upload" => Either::Left(Full::new(size(request.into_body()).await.to_string().into())),
                        path => Either::Right(download(path.rsplit('/').next().unwrap().parse().unwrap())),
                    };
                    let mut response = Response::new(body);
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
