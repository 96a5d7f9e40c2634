//! Metrics. A request reads the counters where the other parts keep them, so that they need not
//! know who wants to see them. There is one collector for each subject: [`calls`], [`channels`],
//! [`cluster`], [`events`], [`hub`], [`instances`], [`nats`], [`node`], [`redis`], [`schedules`],
//! [`subscriptions`], [`websocket`].

mod calls;
mod channels;
mod cluster;
mod events;
mod hub;
mod instances;
mod nats;
mod node;
mod redis;
mod schedules;
mod subscriptions;
mod websocket;
mod writer;

use http::{HeaderMap, StatusCode, header};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

use super::answer::{Answer, problem, with_type};
use super::state::AdminState;
use crate::call::{Problem, ProblemCode};
use calls::Calls;
use channels::Channels;
use cluster::Nodes;
use events::{Events, Link};
use hub::Streams;
use instances::Instances;
use nats::Nats;
use node::Node;
use redis::Redis;
use schedules::Schedules;
use subscriptions::Subscriptions;
use websocket::Clients;

/// The content type of OpenMetrics text.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Responds with all metrics: as OpenMetrics if `Accept` names it, otherwise in the text format of
/// Prometheus.
pub fn answer(admin: &AdminState, headers: &HeaderMap) -> Answer {
    let slots: Vec<_> = admin.dispatch.places().all().flat_map(|isolate| isolate.slots()).collect();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Calls(slots.clone())));
    registry
        .register_collector(Box::new(Instances { slots, isolates: admin.dispatch.places().all().cloned().collect() }));
    registry.register_collector(Box::new(Schedules(admin.schedules.counts())));
    registry.register_collector(Box::new(Subscriptions::of(admin.subscriptions.all())));
    registry.register_collector(Box::new(Redis(admin.redis.counts())));
    registry.register_collector(Box::new(Nats(admin.nats.counts())));
    if let Some(cluster) = &admin.cluster {
        registry.register_collector(Box::new(Nodes(cluster.snapshot())));
    }
    registry.register_collector(Box::new(Node::of(admin)));
    registry.register_collector(Box::new(Streams(admin.hub.clone())));
    registry.register_collector(Box::new(Clients { hub: admin.hub.clone(), sockets: admin.web_sockets.clone() }));
    registry.register_collector(Box::new(Channels {
        hub: admin.hub.clone(),
        service: admin.channels.clone(),
        max: admin.config.hub.topics,
    }));
    if let Some((service, _)) = &admin.event_service {
        registry.register_collector(Box::new(Events(service.clone())));
    }
    if let Some(link) = &admin.event_link {
        registry.register_collector(Box::new(Link(link.clone())));
    }
    let mut body = String::new();
    let (content_type, encoded) = match wants_openmetrics(headers) {
        true => (OPENMETRICS, text::encode(&mut body, &registry)),
        false => (prometheus_text::CONTENT_TYPE, prometheus_text::encode(&mut body, &registry)),
    };
    match encoded {
        Ok(()) => with_type(StatusCode::OK, content_type, body),
        Err(error) => problem(Problem::new(ProblemCode::Internal, error.to_string())),
    }
}

/// Whether `Accept` names OpenMetrics, and not with `q=0`. Prometheus sends both types, OpenMetrics
/// first.
fn wants_openmetrics(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = accepted.flat_map(|value| value.split(','));
    ranges.any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
        is_named && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_selects_the_format() {
        let wants = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            wants_openmetrics(&headers)
        };
        assert!(wants("application/openmetrics-text"));
        assert!(wants("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"));
        assert!(!wants("application/openmetrics-text;q=0, text/plain"));
        assert!(!wants("text/plain;version=0.0.4") && !wants("*/*") && !wants_openmetrics(&HeaderMap::new()));
    }
}
