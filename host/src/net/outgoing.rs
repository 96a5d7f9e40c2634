//! Connections that the host opens to other services, with or without TLS.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
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
                let shown = file.display();
                let found = CertificateDer::pem_file_iter(file).map_err(|error| format!("{shown}: {error}"))?;
                for certificate in found {
                    let certificate = certificate.map_err(|error| format!("{shown}: {error}"))?;
                    roots.add(certificate).map_err(|error| format!("{shown}: {error}"))?;
                }
                if roots.is_empty() {
                    return Err(format!("{shown} has no certificate in PEM"));
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
    let Some(Tls(config)) = tls else { return Ok(Outgoing::Plain(socket)) };
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(config.clone()).connect(name, socket).await?;
    Ok(Outgoing::Tls(Box::new(stream)))
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
