//! Serves the connections of the service's listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

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
    /// Serves a connection until it ends. Beyond `events.maxConnections`, only a few more stay open
    /// until their requests are rejected, so that silent ones leave `http.maxConnections` to the
    /// clients of other listeners.
    pub async fn serve(self, stream: Stream, peer: SocketAddr, guard: ConnectionGuard, stopping: Stopping) {
        let (place, is_served) = match self.service.enter() {
            Some(place) => (Some(place), true),
            None => (self.service.refuse(), false),
        };
        let Some(place) = place.map(Arc::new) else {
            self.service.counters.refused_connections.fetch_add(1, Relaxed);
            return;
        };
        let routes = WithoutModules(EventRoutes { service: self.service, _place: place, is_served });
        http_server::serve(stream, peer, guard, self.settings, routes, stopping).await;
    }
}

/// The routes of the service, for one connection.
#[derive(Clone)]
struct EventRoutes {
    service: Arc<EventService>,
    _place: Arc<ConnectionPlace>,
    /// Whether the connection is within `events.maxConnections`. Otherwise its requests are
    /// rejected.
    is_served: bool,
}

impl HostRoutes for EventRoutes {
    fn route(&self, _: &str) -> Option<HostRoute> {
        let (service, is_served) = (self.service.clone(), self.is_served);
        Some(Box::new(move |request| Box::pin(async move { routes::respond(service, request, is_served).await })))
    }
}
