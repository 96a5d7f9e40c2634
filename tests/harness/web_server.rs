//! A web server outside of the host, over plain HTTP/1.1 or over TLS with HTTP/1.1 and HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{Request, Response, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A running server. It ends with the runtime of the test.
pub struct WebServer {
    pub addr: SocketAddr,
    /// The connections that were accepted.
    pub accepted: Arc<AtomicUsize>,
    /// The connections that are open.
    pub open: Arc<AtomicUsize>,
    /// The paths of all requests.
    pub paths: Arc<Mutex<Vec<String>>>,
}

impl WebServer {
    pub async fn plain() -> WebServer {
        WebServer::start(None).await
    }

    /// With the certificate that [`sign_server`](super::sign_server) has made.
    pub async fn encrypted(dir: &Path, protocols: &[&str]) -> WebServer {
        let certificates = CertificateDer::pem_file_iter(dir.join("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let certificates = certificates.map(Result::unwrap).collect();
        let mut config = config.with_no_client_auth().with_single_cert(certificates, key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        WebServer::start(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start(tls: Option<TlsAcceptor>) -> WebServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = WebServer {
            addr: listener.local_addr().unwrap(),
            accepted: Arc::default(),
            open: Arc::default(),
            paths: Arc::default(),
        };
        let (accepted, open, paths) = (server.accepted.clone(), server.open.clone(), server.paths.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                let (tls, open, paths) = (tls.clone(), open.clone(), paths.clone());
                tokio::spawn(async move {
                    open.fetch_add(1, Ordering::SeqCst);
                    let service = service_fn(|request| {
                        paths.lock().unwrap().push(request.uri().path().to_owned());
                        answer(request)
                    });
                    match tls {
                        None => drop(http1::Builder::new().serve_connection(TokioIo::new(socket), service).await),
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(socket).await {
                                match stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                                    true => {
                                        let server = http2::Builder::new(TokioExecutor::new());
                                        drop(server.serve_connection(TokioIo::new(stream), service).await);
                                    }
                                    false => {
                                        let server = http1::Builder::new();
                                        drop(server.serve_connection(TokioIo::new(stream), service).await);
                                    }
                                }
                            }
                        }
                    }
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        server
    }
}

fn text(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let http2 = request.version() == Version::HTTP_2;
    Ok(match request.uri().path() {
        "/redirect" => {
            Response::builder().status(302).header("location", "http://127.0.0.1:1/elsewhere").body(text("")).unwrap()
        }
        // A head that never comes.
        "/never" => std::future::pending().await,
        // A head, and a body that never ends nor continues.
        "/stalls" => {
            let pieces = stream::iter([Ok(Frame::data(Bytes::from_static(b"first")))]).chain(stream::pending());
            Response::new(StreamBody::new(pieces).boxed_unsync())
        }
        // A body without an end.
        "/endless" => {
            let piece = || Ok(Frame::data(Bytes::from_static(&[b'x'; 8_192])));
            Response::new(StreamBody::new(stream::repeat_with(piece)).boxed_unsync())
        }
        "/echo" => echo(request).await,
        "/large" => Response::new(text(vec![b'x'; 18 << 20])),
        "/size" => {
            let body = request.into_body().collect().await;
            Response::new(text(body.map_or(0, |body| body.to_bytes().len()).to_string()))
        }
        "/later" => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Response::new(text("later"))
        }
        _ => Response::new(text(if http2 { "hello over HTTP/2" } else { "hello over HTTP/1" })),
    })
}

/// Returns what arrived: the body, the method and the path in header fields, and each field `x-a`.
async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut response = Response::builder().header("x-method", head.method.as_str());
    response = response.header("x-path", head.uri.path_and_query().unwrap().as_str());
    for value in head.headers.get_all("x-a") {
        response = response.header("x-a", value);
    }
    response.body(text(body.collect().await.unwrap().to_bytes())).unwrap()
}
