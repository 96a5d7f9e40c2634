//! A fake admin listener for the tests of the commands.

use super::*;
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use tokio::sync::mpsc;

/// A request that the fake received: method, path with query, body.
pub type RecordedRequest = (String, String, String);

/// Starts a fake that returns the same response to every request; the receiver yields the requests.
pub async fn admin(status: u16, body: &str) -> (AdminClient, mpsc::UnboundedReceiver<RecordedRequest>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = AdminClient::of(&listener.local_addr().unwrap().to_string());
    let (record, requests) = mpsc::unbounded_channel();
    let body = Bytes::from(body.to_owned());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (record, body) = (record.clone(), body.clone());
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let (record, body) = (record.clone(), body.clone());
                async move {
                    let (head, sent) = request.into_parts();
                    let sent = String::from_utf8(sent.collect().await.unwrap().to_bytes().to_vec()).unwrap();
                    record.send((head.method.to_string(), head.uri.to_string(), sent)).unwrap();
                    let response = http::Response::builder().status(status).body(Full::new(body)).unwrap();
                    Ok::<_, Infallible>(response)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    (client, requests)
}
