//! An admin listener that is none, for the tests of the commands.

use super::*;
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use tokio::sync::mpsc;

/// What was asked: method, path with query, body.
pub type Asked = (String, String, String);

/// Answers every request alike.
pub async fn admin(status: u16, body: &str) -> (AdminArgs, mpsc::UnboundedReceiver<Asked>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = listener.local_addr().unwrap().to_string().parse().unwrap();
    let (send, asked) = mpsc::unbounded_channel();
    let body = Bytes::from(body.to_owned());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (send, body) = (send.clone(), body.clone());
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let (send, body) = (send.clone(), body.clone());
                async move {
                    let (head, sent) = request.into_parts();
                    let sent = String::from_utf8(sent.collect().await.unwrap().to_bytes().to_vec()).unwrap();
                    send.send((head.method.to_string(), head.uri.to_string(), sent)).unwrap();
                    let response = http::Response::builder().status(status).body(Full::new(body)).unwrap();
                    Ok::<_, Infallible>(response)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    (AdminArgs { admin, json: false }, asked)
}
