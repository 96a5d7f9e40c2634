//! Connections that the host opens to other services, with or without TLS.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::dial;

/// A connection to another service.
#[derive(Debug)]
pub enum Outgoing {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The authorities that the host trusts.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts the authorities in a file of PEM, or those of the system. Blocks while it reads
    /// files. The error names the file and says what is wrong.
    pub fn load(ca: Option<&Path>) -> Result<Tls, String> {
        let mut roots = RootCertStore::empty();
        match ca {
            Some(file) => {
                for certificate in certificates(file)? {
                    roots.add(certificate).map_err(|error| format!("{}: {error}", file.display()))?;
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    return Err(
                        "the system has no certificates of authorities: name a file with them in `ca`".to_owned()
                    );
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
        Ok(Tls(Arc::new(config)))
    }
}

/// Opens a connection. The caller bounds the time.
pub async fn open(host: &str, port: u16, tls: Option<&Tls>) -> io::Result<Outgoing> {
    let socket = dial(host, port).await?;
    socket.set_nodelay(true)?;
    match tls {
        Some(tls) => tls.secure(socket, host).await,
        None => Ok(Outgoing::Plain(socket)),
    }
}

/// Connects to an address without TLS. The caller bounds the time.
pub async fn open_at(address: SocketAddr) -> io::Result<Outgoing> {
    let socket = TcpStream::connect(address).await?;
    // Only a slower connection.
    _ = socket.set_nodelay(true);
    Ok(Outgoing::Plain(socket))
}

impl Tls {
    /// Trusts the authorities of the system as the system does, and those in a file of PEM, for
    /// servers of HTTP/1.1 and HTTP/2. Blocks while it reads files. The error names the file and
    /// says what is wrong.
    pub fn for_web(ca: Option<&Path>) -> Result<Tls, String> {
        let extra = ca.map(certificates).transpose()?.unwrap_or_default();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier::new_with_extra_roots(extra, provider.clone());
        let verifier = verifier.map_err(|error| format!("{error}: name a file with certificates of authorities"))?;
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| error.to_string())?;
        // This verifier checks all that the one of rustls does.
        let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls(Arc::new(config)))
    }

    /// Negotiates TLS with the server of this name.
    async fn secure(&self, socket: TcpStream, host: &str) -> io::Result<Outgoing> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(self.0.clone()).connect(name, socket).await?;
        Ok(Outgoing::Tls(Box::new(stream)))
    }
}

/// Reads a file of PEM, which has at least one certificate.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error| format!("{}: {error}", file.display());
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(wrong)?.collect();
    match found.map_err(wrong)? {
        found if found.is_empty() => Err(format!("{} has no certificate in PEM", file.display())),
        found => Ok(found),
    }
}

/// Whether an error of TLS is about the certificate of the server.
pub fn is_certificate_error(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}

impl Outgoing {
    /// Negotiates TLS on a connection that has none.
    pub async fn secure(self, tls: &Tls, host: &str) -> io::Result<Outgoing> {
        match self {
            Outgoing::Plain(socket) => tls.secure(socket, host).await,
            secured => Ok(secured),
        }
    }

    /// Whether both sides chose HTTP/2.
    pub fn is_http2(&self) -> bool {
        matches!(self, Outgoing::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2"))
    }
}

impl AsyncRead for Outgoing {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Outgoing::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Outgoing::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Outgoing {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Outgoing::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Outgoing::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Outgoing::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Outgoing::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Outgoing::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Outgoing::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
