//! Serves the connections of the service's listener.

use std::net::SocketAddr;
use std::sync::Arc;

use super::routes;
use super::service::{ConnectionPlace, EventService};
use crate::net::{ConnectionGuard, Stream};
use crate::triggers::http::{self as http_server, HostRoute, HostRoutes, Settings, Stopping, WithoutModules};

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
        let routes = WithoutModules(EventRoutes { service: self.service, place });
        http_server::serve(stream, peer, guard, self.settings, routes, stopping).await;
    }
}

/// The routes of the service, for one connection.
#[derive(Clone)]
struct EventRoutes {
    service: Arc<EventService>,
    /// `None` for a connection beyond `events.maxConnections`. Its requests are rejected.
    place: Option<Arc<ConnectionPlace>>,
}

impl HostRoutes for EventRoutes {
    fn route(&self, _: &str) -> Option<HostRoute> {
        let (service, has_place) = (self.service.clone(), self.place.is_some());
        Some(Box::new(move |request| Box::pin(async move { routes::respond(service, request, has_place).await })))
    }
}
