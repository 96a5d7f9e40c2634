//! Metrics of WebSockets and of the sessions of their clients.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType::Counter;

use super::hub::member;
use super::writer::Writer;
use crate::hub::{Hub, SlowReason};
use crate::triggers::websocket::WebSockets;

pub(super) struct Clients {
    pub hub: Arc<Hub>,
    pub sockets: Arc<WebSockets>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("clients")
    }
}

impl Collector for Clients {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        let (sessions, counters) = (&self.hub.sessions, self.sockets.counters());
        let (topics, read) = (sessions.topics.counters(), |counter: &AtomicU64| counter.load(Relaxed));
        let (open, bound) = sessions.count();
        writer.gauge("fanfare_websocket_connections", "Open WebSockets", open.into())?;
        let most = self.sockets.max_clients().into();
        writer.gauge("fanfare_websocket_connections_max", "websocket.maxClients", most)?;
        writer.gauge("fanfare_websocket_bound", "Sessions that are bound to a user", bound.into())?;
        writer.gauge("fanfare_websocket_groups", "Groups of sessions", sessions.groups() as u64)?;
        writer.counter("fanfare_websocket_opened", "WebSockets that were opened", read(&counters.opened))?;
        writer.counter("fanfare_websocket_received", "Messages of clients", read(&counters.messages))?;
        let help = "Messages of clients whose call failed";
        writer.counter("fanfare_websocket_failed", help, read(&counters.failed))?;
        let help = "Pauses in reading from a client because of websocket.inFlight";
        writer.counter("fanfare_websocket_paused", help, read(&counters.paused))?;
        let help = "Messages queued for clients, once for each client";
        writer.counter("fanfare_websocket_sent", help, read(&topics.delivered))?;
        let help = "Messages that the full inbox of a worker did not accept";
        writer.counter("fanfare_websocket_inbox_overflow", help, sessions.topics.inbox_overflows())?;
        let help = "Changes of a session's values that were rejected because of websocket.sessionSize";
        writer.counter("fanfare_websocket_refused_values", help, read(&sessions.refused_values))?;
        let closed = counters.closed().map(|(code, count)| member("code", code, count));
        writer.family("fanfare_websocket_closed", "WebSockets that the host closed, by code", Counter, closed)?;
        let slow = SlowReason::ALL.into_iter();
        let slow = slow.map(|reason| member("reason", reason.as_str(), topics.slow(reason)));
        let help = "WebSockets closed because their client is too slow";
        writer.family("fanfare_websocket_slow_clients", help, Counter, slow)?;
        let refused = [
            ("maxClients", &topics.refused_connections),
            ("origin", &counters.refused_origins),
            ("hook", &counters.refused_hooks),
            ("token", &counters.refused_tokens),
        ];
        let refused = refused.into_iter().map(|(reason, counter)| member("reason", reason, read(counter)));
        let help = "Requests for a WebSocket, handshakes and tokens that the host or a module rejected";
        writer.family("fanfare_websocket_refused", help, Counter, refused)
    }
}
