//! Opens the connections of a module's client: resolves the name, checks each address, connects to
//! that address, and negotiates TLS.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use tokio::sync::Semaphore;

use super::error::RequestError;
use super::names::Names;
use super::policy::Policy;
use super::stats::Stats;
use super::stream::Stream;
use crate::config::OutgoingConfig;
use crate::config::origin::Origin;
use crate::net::{Outgoing, Tls, is_certificate_error, open_at};

/// Opens connections for one module.
#[derive(Clone)]
pub struct Connector {
    pub(super) policy: Arc<Policy>,
    tls: Tls,
    names: Arc<Names>,
    timeout: Duration,
    places: Arc<Semaphore>,
    stats: Arc<Stats>,
}

impl Connector {
    pub fn new(policy: Policy, settings: &OutgoingConfig, tls: Tls, names: Names, stats: Arc<Stats>) -> Connector {
        let places = Arc::new(Semaphore::new(settings.connections as usize));
        let (policy, names) = (Arc::new(policy), Arc::new(names));
        Connector { policy, tls, names, timeout: settings.connect_timeout, places, stats }
    }

    async fn open(self, uri: Uri) -> Result<Stream, RequestError> {
        let origin = Origin::of(&uri).ok_or(RequestError::Uri)?;
        let place = self.places.clone().try_acquire_owned().map_err(|_| RequestError::TooManyConnections)?;
        let connecting = async {
            let socket = self.dial(&origin).await?;
            if !origin.tls {
                return Ok(socket);
            }
            let secured = socket.secure(&self.tls, origin.host.trim_matches(['[', ']'])).await;
            secured.map_err(|error| match is_certificate_error(&error) {
                true => RequestError::Certificate,
                false => RequestError::Tls,
            })
        };
        let io = tokio::time::timeout(self.timeout, connecting).await.map_err(|_| RequestError::ConnectTimeout)??;
        Ok(Stream::new(io, place, self.stats.clone()))
    }

    /// Connects to the first address that accepts, of those that the module may reach.
    async fn dial(&self, origin: &Origin) -> Result<Outgoing, RequestError> {
        let found: Vec<IpAddr> = match origin.address() {
            Some(address) => vec![address],
            None => self.names.look_up(&origin.host).await,
        };
        let mut last = RequestError::Unresolved;
        for address in found {
            if !self.policy.reaches(origin, address) {
                last = RequestError::Private { host: origin.host.clone(), address };
                continue;
            }
            match open_at(SocketAddr::new(address, origin.port)).await {
                Ok(stream) => return Ok(stream),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => last = RequestError::Refused,
                Err(_) => last = RequestError::Unreachable,
            }
        }
        Err(last)
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = RequestError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, RequestError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RequestError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().open(uri))
    }
}
