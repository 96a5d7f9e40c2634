//! Serves the connections of the service's listener.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Method;

use super::routes;
use super::service::{ConnectionPlace, EventService};
use crate::call::{CallError, CallResult, HttpRequest};
use crate::net::{ConnectionGuard, Stream};
use crate::registry::{MatchedRoute, RouteLookup};
use crate::triggers::http::{self as http_server, Backend, HostRoute, IndexModule, Settings, Stopping};

/// The service, and how it serves connections. Cloning is cheap.
#[derive(Clone)]
pub struct EventListener {
    pub service: Arc<EventService>,
    pub settings: Arc<Settings>,
}

impl EventListener {
    /// Serves a connection until it ends.
    pub async fn serve(self, stream: Stream, peer: SocketAddr, guard: ConnectionGuard, stopping: Stopping) {
        let place = self.service.enter().map(Arc::new);
        let backend = EventBackend { service: self.service, place };
        http_server::serve(stream, peer, guard, self.settings, backend, stopping).await;
    }
}

/// The routes of the service, for one connection.
#[derive(Clone)]
struct EventBackend {
    service: Arc<EventService>,
    /// `None` for a connection beyond `events.maxConnections`. Its requests are rejected.
    place: Option<Arc<ConnectionPlace>>,
}

impl Backend for EventBackend {
    /// There are no modules.
    type Module = Infallible;

    fn module(&self, name: &str) -> Result<Infallible, CallError> {
        Err(CallError::NotFound(format!("the event service has no module `{name}`")))
    }

    fn find(&self, module: &Infallible, _: &Method, _: &str) -> RouteLookup {
        match *module {}
    }

    fn max_payload(&self, module: &Infallible) -> u64 {
        match *module {}
    }

    async fn call(&self, module: &Infallible, _: MatchedRoute, _: HttpRequest) -> CallResult {
        match *module {}
    }

    fn has_only_host_routes(&self) -> bool {
        true
    }

    fn host_route(&self, _: &str) -> Option<HostRoute> {
        let (service, has_place) = (self.service.clone(), self.place.is_some());
        Some(Box::new(move |request| Box::pin(async move { routes::respond(service, request, has_place).await })))
    }

    fn index(&self) -> Vec<IndexModule> {
        Vec::new()
    }
}
