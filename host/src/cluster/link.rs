//! The connection to NATS: whether it is there, and what waits until it is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, Server};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::counts::Counts;
use super::login;
use crate::blocking::run_blocking;
use crate::call::text::{MESSAGE, line};
use crate::config::nats_address::NatsAddress;
use crate::config::{ClusterConfig, NatsSecrets};
use crate::events::{EventLog, HostEvent};
use crate::ports::NatsTroubles;

/// The most messages of a subscription that the host has not read yet. NATS drops further ones.
const MOST_UNREAD: usize = 65_536;

/// The most subjects that are kept because a server has refused them.
const MOST_REFUSED: usize = 256;

/// A message that waits until it is sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) subject: String,
    /// The subject for the answers.
    pub(super) reply: Option<String>,
    pub(super) bytes: Bytes,
}

/// Room for bytes in `cluster.queue`, until it is dropped.
pub(super) struct Room {
    link: Arc<Link>,
    bytes: u64,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.link.queued.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// The connection to NATS.
pub(super) struct Link {
    pub(super) servers: Vec<NatsAddress>,
    /// How long a request of JetStream waits.
    pub(super) timeout: Duration,
    /// The domain of JetStream. `None` is that of the server's account.
    pub(super) domain: Option<String>,
    secrets: NatsSecrets,
    client: OnceCell<Client>,
    /// Whether the client says that it is connected.
    connected: AtomicBool,
    /// Whether NATS delivers what this node sends to itself.
    silent: AtomicBool,
    state: Mutex<State>,
    queue: mpsc::Sender<Outgoing>,
    /// The bytes in the queue.
    queued: AtomicU64,
    max_queued: u64,
    /// For the subscriptions of modules.
    troubles: watch::Sender<NatsTroubles>,
    events: Arc<EventLog>,
    pub(super) counts: Arc<Counts>,
}

struct State {
    /// Cancelled when the present connection is lost.
    lost: CancellationToken,
    /// Whether the last event said that it is up. `None` before the first event.
    announced: Option<bool>,
    reason: Option<String>,
}

impl Link {
    /// Returns the link, and its queue, which [`Link::send_queued`] empties.
    pub(super) fn new(
        config: &ClusterConfig,
        secrets: NatsSecrets,
        events: Arc<EventLog>,
    ) -> (Link, mpsc::Receiver<Outgoing>) {
        let (queue, queued) = mpsc::channel(usize::try_from(config.queue.messages).unwrap_or(usize::MAX));
        let state = State { lost: CancellationToken::new(), announced: None, reason: None };
        let link = Link {
            servers: config.addresses(),
            timeout: config.timeout,
            domain: config.jet_stream_domain.clone(),
            secrets,
            client: OnceCell::new(),
            connected: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            state: Mutex::new(state),
            queue,
            queued: AtomicU64::new(0),
            max_queued: config.queue.bytes,
            troubles: watch::Sender::default(),
            events,
            counts: Arc::default(),
        };
        (link, queued)
    }

    /// Begins to connect, and to connect again whenever the connection is lost. The error is about
    /// secrets or files.
    pub(super) async fn open(
        self: &Arc<Self>,
        config: &ClusterConfig,
        name: &str,
        inbox: String,
    ) -> Result<(), String> {
        let (link, attempts) = (Arc::downgrade(self), Arc::downgrade(self));
        let options = self.options().await?.name(name).custom_inbox_prefix(inbox);
        let options = options
            .retry_on_initial_connect()
            .connection_timeout(config.timeout)
            .request_timeout(Some(config.timeout))
            .ping_interval(config.gone_after)
            .subscription_capacity(MOST_UNREAD)
            // The only way to learn why an attempt has failed.
            .reconnect_to_server_callback(move |servers, _| {
                if let Some(link) = attempts.upgrade() {
                    link.refused(&servers);
                }
                std::future::ready(None)
            })
            .skip_subject_validation(true)
            .event_callback(move |event| {
                let link = link.clone();
                async move {
                    if let Some(link) = link.upgrade() {
                        link.on_event(event);
                    }
                }
            });
        let addresses: Vec<String> = self.servers.iter().map(NatsAddress::to_string).collect();
        let client = options.connect(addresses).await.map_err(|error| error.to_string())?;
        // This is the only place that sets it.
        _ = self.client.set(client);
        Ok(())
    }

    async fn options(&self) -> Result<ConnectOptions, String> {
        let (secrets, tls) = (self.secrets.clone(), self.servers.iter().any(|server| server.tls));
        run_blocking(move || login::options(&secrets, tls)).await
    }

    /// Why the attempts to connect have failed.
    fn refused(&self, servers: &[Server]) {
        let reasons = servers.iter().filter_map(|server| server.last_error.as_deref());
        // A refused login is more useful than a server that is away.
        let is_login = |reason: &&str| !login::is_away(reason);
        let Some(reason) = reasons.clone().find(is_login).or_else(|| reasons.clone().next()) else { return };
        if !self.connected.load(Ordering::Acquire) {
            self.down(&login::explained(&self.secrets, &line(reason, MESSAGE)));
        }
    }

    fn on_event(&self, event: Event) {
        match event {
            Event::Connected => {
                self.connected.store(true, Ordering::Release);
                self.silent.store(false, Ordering::Release);
                self.up();
            }
            Event::Disconnected | Event::Closed => {
                self.connected.store(false, Ordering::Release);
                self.down("the connection to NATS was closed");
            }
            Event::SlowConsumer(_) => {
                self.counts.slow.inc();
                // Which of the subscriptions lost a message is not known.
                self.troubles.send_modify(|troubles| troubles.interruptions += 1);
            }
            Event::ServerError(error) => self.note(&error.to_string()),
            // Of an attempt to connect, `refused` knows more.
            Event::ClientError(error) if self.is_connected() => self.note(&error.to_string()),
            Event::ClientError(_) => {}
            Event::LameDuckMode | Event::Draining => {}
        }
    }

    /// What a server or the client complains about. Without a connection it is the reason.
    fn note(&self, reason: &str) {
        let reason = login::explained(&self.secrets, &line(reason, MESSAGE));
        if let Some(subject) = refused_subject(&reason) {
            self.troubles.send_modify(|troubles| {
                let refused = Arc::make_mut(&mut troubles.refused);
                if refused.len() < MOST_REFUSED {
                    refused.insert(subject.to_owned(), reason.clone());
                }
            });
        }
        match self.connected.load(Ordering::Acquire) {
            true => tracing::warn!(%reason, "NATS refuses something"),
            false => self.down(&reason),
        }
    }

    fn up(&self) {
        let mut state = self.state.lock();
        if state.announced == Some(true) {
            return;
        }
        (state.announced, state.reason, state.lost) = (Some(true), None, CancellationToken::new());
        drop(state);
        // The server may accept now what it refused.
        self.troubles.send_modify(|troubles| troubles.refused = Arc::default());
        let address = self.server().unwrap_or_default();
        tracing::info!(%address, "connected to NATS");
        self.events.raise(HostEvent::NatsUp { address });
    }

    fn down(&self, reason: &str) {
        let mut state = self.state.lock();
        state.reason = Some(reason.to_owned());
        state.lost.cancel();
        if state.announced == Some(false) {
            return;
        }
        if state.announced.replace(false) == Some(true) {
            self.counts.downs.inc();
            self.troubles.send_modify(|troubles| troubles.interruptions += 1);
        }
        drop(state);
        tracing::warn!(%reason, "NATS is away");
        self.events.raise(HostEvent::NatsDown { reason: reason.to_owned() });
    }

    /// NATS delivers nothing any more, although the connection is open; or it does again. After a
    /// silence the host connects anew, because a server or a network that has vanished closes no
    /// connection.
    pub(super) fn set_silent(self: &Arc<Self>, silent: bool) {
        if self.silent.swap(silent, Ordering::AcqRel) == silent || !self.connected.load(Ordering::Acquire) {
            return;
        }
        if !silent {
            return self.up();
        }
        self.down("NATS is connected, but delivers nothing");
        let link = self.clone();
        tokio::spawn(async move {
            if let Some(client) = link.client() {
                // The only error is that the client has ended.
                _ = client.force_reconnect().await;
            }
        });
    }

    /// The client, once [`Link::open`] has made it.
    pub(super) fn client(&self) -> Option<&Client> {
        self.client.get()
    }

    /// The client, if it is connected.
    pub(super) fn up_client(&self) -> Option<&Client> {
        self.client.get().filter(|_| self.is_up())
    }

    /// Whether the client says that it is connected.
    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    pub(super) fn is_up(&self) -> bool {
        self.connected.load(Ordering::Acquire) && !self.silent.load(Ordering::Acquire)
    }

    /// Interruptions and refusals.
    pub(super) fn troubles(&self) -> watch::Receiver<NatsTroubles> {
        self.troubles.subscribe()
    }

    /// Cancelled when the present connection is lost.
    pub(super) fn lost(&self) -> CancellationToken {
        self.state.lock().lost.clone()
    }

    /// Whether it is up (`None` while it connects for the first time), and why not.
    pub(super) fn state(&self) -> (Option<bool>, Option<String>) {
        let state = self.state.lock();
        (state.announced, state.reason.clone())
    }

    /// The address of the server that it is connected to.
    pub(super) fn server(&self) -> Option<String> {
        let info = self.up_client()?.try_server_info()?;
        if let [only] = self.servers.as_slice() {
            return Some(only.to_string());
        }
        let tls = self.servers.iter().any(|server| server.tls);
        Some(NatsAddress { host: info.host, port: info.port, tls }.to_string())
    }

    /// The most bytes of a message.
    pub(super) fn max_payload(&self) -> usize {
        self.client.get().map_or(0, Client::max_payload)
    }

    fn takes(&self, bytes: u64) -> bool {
        let reserved = self.queued.fetch_update(Ordering::AcqRel, Ordering::Acquire, |queued| {
            queued.checked_add(bytes).filter(|all| *all <= self.max_queued)
        });
        if reserved.is_err() {
            self.counts.refused.inc();
        }
        reserved.is_ok()
    }

    /// Takes room in the queue for something that waits elsewhere.
    pub(super) fn reserve(link: &Arc<Link>, bytes: u64) -> Option<Room> {
        link.takes(bytes).then(|| Room { link: link.clone(), bytes })
    }

    /// Queues a message, if there is room.
    pub(super) fn queue(&self, message: Outgoing) -> bool {
        let bytes = message.bytes.len() as u64;
        if !self.takes(bytes) {
            return false;
        }
        let queued = self.queue.try_send(message).is_ok();
        if !queued {
            self.queued.fetch_sub(bytes, Ordering::AcqRel);
            self.counts.refused.inc();
        }
        queued
    }

    /// Queues all of these messages, or none if there is no room.
    pub(super) fn queue_all(&self, messages: Vec<Outgoing>) -> bool {
        let bytes = messages.iter().map(|message| message.bytes.len() as u64).sum::<u64>();
        let reserved = self.queued.fetch_update(Ordering::AcqRel, Ordering::Acquire, |queued| {
            queued.checked_add(bytes).filter(|all| *all <= self.max_queued)
        });
        if reserved.is_err() {
            self.counts.refused.inc();
            return false;
        }
        let Ok(places) = self.queue.try_reserve_many(messages.len()) else {
            self.queued.fetch_sub(bytes, Ordering::AcqRel);
            self.counts.refused.inc();
            return false;
        };
        places.zip(messages).for_each(|(place, message)| place.send(message));
        true
    }

    /// The messages and the bytes that wait.
    pub(super) fn queued(&self) -> (u64, u64) {
        let waiting = self.queue.max_capacity() - self.queue.capacity();
        (waiting as u64, self.queued.load(Ordering::Acquire))
    }

    /// Sends what waits, in its order.
    pub(super) async fn send_queued(&self, mut queue: mpsc::Receiver<Outgoing>) {
        while let Some(Outgoing { subject, reply, bytes }) = queue.recv().await {
            self.queued.fetch_sub(bytes.len() as u64, Ordering::AcqRel);
            let Some(client) = self.up_client() else {
                self.counts.unsent.inc();
                continue;
            };
            let sent = match reply {
                Some(reply) => client.publish_with_reply(subject, reply, bytes).await,
                None => client.publish(subject, bytes).await,
            };
            if let Err(error) = sent {
                self.counts.unsent.inc();
                tracing::warn!(%error, "a message for other nodes was not sent");
            }
        }
    }
}

/// The subject that a server does not let this node subscribe to.
fn refused_subject(reason: &str) -> Option<&str> {
    let (before, after) = reason.split_once('"')?;
    let is_subscription = before.to_ascii_lowercase().contains("permissions violation for subscription");
    after.split_once('"').map(|(subject, _)| subject).filter(|_| is_subscription)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refused_subject_is_read_from_the_error_of_a_server() {
        let subject = |text| refused_subject(text);
        assert_eq!(subject(r#"Permissions Violation for Subscription to "a.>""#), Some("a.>"));
        assert_eq!(subject(r#"Permissions Violation for Subscription to "a" using queue "q""#), Some("a"));
        assert_eq!(subject(r#"Permissions Violation for Publish to "a""#), None);
        assert_eq!(subject("Permissions Violation"), None);
    }
}
