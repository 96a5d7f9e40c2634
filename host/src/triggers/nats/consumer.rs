//! Receives the messages of a stream of JetStream for one subscription: each at least once, and
//! acknowledges it after its handler has succeeded.
//!
//! JetStream knows which messages a durable consumer has delivered and how often, so the host keeps
//! nothing about them. It asks for as many messages as may run or wait, tells the server regularly
//! that it still works on them, and gives one back whose handler failed, with a pause that doubles.
//! All hosts that name the same consumer share its messages.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::pull::{Batch, Config};
use async_nats::jetstream::consumer::{AckPolicy, Consumer};
use async_nats::jetstream::context::Context;
use async_nats::jetstream::message::{AckKind, Acker};
use async_nats::jetstream::stream::{ConsumerError, ConsumerErrorKind};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::shared::Shared;
use crate::call::CallError;
use crate::call::text::{MESSAGE, NAME, line};
use crate::events::{HostEvent, Notice};
use crate::net::Retry;
use crate::ports::NatsConnection;
use crate::registry::NatsSource;
use crate::triggers::subscriptions::{Message, Subscription, pause_after, payload_of};

/// The most messages of one consumer whose handlers run or wait.
const MOST_IN_FLIGHT: usize = 64;

/// The host asks for more only when it has room for this number, so that each request is for
/// several.
const LEAST_ROOM: usize = 16;

/// The host asks for no more messages while those with handlers have this number of bytes, which is
/// also the most bytes that it asks for.
const MOST_BYTES_IN_FLIGHT: usize = 16 * 1_024 * 1_024;

/// The most bytes that the server counts for a message besides its payload and its headers.
const OVERHEAD: usize = 4_096;

/// How long a request for messages waits for them at the server.
const EXPIRES: Duration = Duration::from_secs(5);

/// The settings of a consumer that the host makes. One that exists keeps its own.
const ACK_WAIT: Duration = Duration::from_secs(30);
const MAX_DELIVER: i64 = 5;

/// The pauses between attempts to use the consumer.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A message whose handler has ended.
struct Ended {
    sequence: u64,
    deliveries: i64,
    outcome: Result<(), CallError>,
}

/// A message whose handler runs or waits.
struct InFlight {
    acker: Acker,
    bytes: usize,
}

struct Reader {
    shared: Arc<Shared>,
    subscriber: Arc<Subscription>,
    stream: Arc<str>,
    consumer: String,
    subject: Arc<str>,
    running: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// The largest message that the server delivers.
    largest: usize,
    /// By the number of the message in the stream.
    in_flight: HashMap<u64, InFlight>,
    /// The failed messages of which no event tells yet.
    failed: Notice,
}

/// Reads until the subscription ends, and then waits for the handlers that run.
pub async fn run(
    shared: Arc<Shared>,
    connection: Arc<dyn NatsConnection>,
    subscriber: Arc<Subscription>,
    source: &NatsSource,
    stream: &Arc<str>,
) {
    let mut retry = Retry::new(RETRY.0, RETRY.1);
    let mut reader = Reader {
        shared,
        subscriber: subscriber.clone(),
        stream: stream.clone(),
        consumer: source.group.as_deref().unwrap_or_default().to_owned(),
        subject: source.subject.clone(),
        largest: 0,
        running: FuturesUnordered::new(),
        in_flight: HashMap::new(),
        failed: Notice::default(),
    };
    loop {
        let Err(reason) = reader.connection(&*connection, &mut retry).await else { return };
        // While the connection is away, its own events say so.
        if connection.connected().is_some() {
            subscriber.set_refusal(Some(reason));
        }
        tokio::select! {
            () = sleep(retry.delay()) => {}
            () = subscriber.ended(), if reader.running.is_empty() => return,
        }
    }
}

impl Reader {
    /// How many messages the host may ask for now.
    fn room(&self) -> usize {
        let bytes: usize = self.in_flight.values().map(|one| one.bytes).sum();
        if bytes >= MOST_BYTES_IN_FLIGHT { 0 } else { MOST_IN_FLIGHT.saturating_sub(self.in_flight.len()) }
    }

    /// Reads as long as the connection lasts. Returns when the subscription has ended, and the
    /// handlers.
    async fn connection(&mut self, connection: &dyn NatsConnection, retry: &mut Retry) -> Result<(), String> {
        let (lost, subscriber) = (connection.lost(), self.subscriber.clone());
        let client = connection.connected().ok_or("this host is not connected to NATS")?;
        self.largest = client.max_payload().saturating_add(OVERHEAD);
        let context = connection.jetstream()?;
        let consumer = self.consumer(&context).await?;
        subscriber.set_refusal(None);
        retry.reset();
        let (ack_wait, max_deliver) =
            (consumer.cached_info().config.ack_wait, consumer.cached_info().config.max_deliver);
        let mut working = interval((ack_wait / 3).max(Duration::from_millis(10)));
        working.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch: Option<Request> = None;
        let mut is_over = false;
        loop {
            if is_over {
                // The server asks nobody who has asked and listens no more.
                batch = None;
                if self.running.is_empty() {
                    return Ok(());
                }
            }
            if batch.is_none() && self.room() >= LEAST_ROOM && !is_over {
                batch = Some(self.request(&consumer).await?);
            }
            let next = async {
                match batch.as_mut() {
                    Some(request) => request.batch.next().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                Some(ended) = self.running.next(), if !self.running.is_empty() => self.ended(ended, max_deliver).await,
                message = next => match message {
                    Some(Ok(message)) => {
                        batch.iter_mut().for_each(|request| request.got = true);
                        self.begin(message).await;
                    }
                    // The next message is for the next request.
                    Some(Err(error)) if is_full(&error.to_string()) => batch = None,
                    Some(Err(error)) => return Err(error.to_string()),
                    None => {
                        let request = batch.take();
                        if request.is_some_and(|request| !request.got && request.since.elapsed() < EXPIRES / 2) {
                            return Err(format!("the consumer {} answers nothing", self.consumer));
                        }
                    }
                },
                _ = working.tick(), if !self.in_flight.is_empty() => self.tell_working().await,
                () = subscriber.ended(), if !is_over => is_over = true,
                () = lost.cancelled() => return Err("the connection to NATS was lost".to_owned()),
            }
        }
    }

    /// Asks for as many messages as there is room for.
    async fn request(&mut self, consumer: &Consumer<Config>) -> Result<Request, String> {
        let bytes: usize = self.in_flight.values().map(|one| one.bytes).sum();
        let request = consumer.batch().max_messages(self.room()).expires(EXPIRES);
        // A limit below the size of the next message is an error.
        let most = MOST_BYTES_IN_FLIGHT.saturating_sub(bytes).max(self.largest);
        let batch = request.max_bytes(most).messages().await.map_err(|error| error.to_string())?;
        Ok(Request { batch, since: Instant::now(), got: false })
    }

    /// The consumer, which the host makes if it does not exist.
    async fn consumer(&mut self, context: &Context) -> Result<Consumer<Config>, String> {
        let (stream, name) = (&*self.stream, self.consumer.as_str());
        let found = context.get_consumer_from_stream::<Config, _, _>(name, stream).await;
        let consumer = match found {
            Ok(consumer) => consumer,
            Err(error) if has_code(&error, ErrorCode::CONSUMER_NOT_FOUND) => {
                let config = Config {
                    durable_name: Some(name.to_owned()),
                    description: Some("Made by Fanfare".to_owned()),
                    ack_policy: AckPolicy::Explicit,
                    ack_wait: ACK_WAIT,
                    max_deliver: MAX_DELIVER,
                    filter_subject: self.subject.to_string(),
                    ..Config::default()
                };
                let made = context.create_consumer_on_stream(config, stream).await;
                made.map_err(|error| format!("the consumer {name} of the stream {stream} cannot be made: {error}"))?
            }
            Err(error) if has_code(&error, ErrorCode::STREAM_NOT_FOUND) => {
                return Err(format!(
                    "the stream {stream} does not exist: make it, such as with `nats stream add {stream}`"
                ));
            }
            Err(error) => return Err(format!("the consumer {name} of the stream {stream}: {error}")),
        };
        let config = &consumer.cached_info().config;
        if config.ack_policy != AckPolicy::Explicit {
            return Err(format!("the consumer {name} of the stream {stream} must have the ack policy explicit"));
        }
        // What the operator has granted is the subject of the manifest.
        if config.filter_subject != *self.subject {
            return Err(format!(
                "the consumer {name} of the stream {stream} must have the filter subject {}, found {}: name another \
                 `group`, or change the consumer",
                self.subject,
                if config.filter_subject.is_empty() { "none" } else { &config.filter_subject }
            ));
        }
        Ok(consumer)
    }

    async fn begin(&mut self, message: jetstream::Message) {
        // JetStream says both in each message.
        let Ok((sequence, deliveries)) = message.info().map(|info| (info.stream_sequence, info.delivered)) else {
            return;
        };
        if deliveries > 1 {
            self.shared.counts.redelivered.inc();
        }
        let (message, acker) = message.split();
        let bytes = message.payload.len();
        if bytes as u64 > self.shared.settings.max_payload {
            self.shared.counts.oversized.inc();
            let most = self.shared.settings.max_payload;
            let reason = format!("the message has {bytes} bytes, and limits.max.payload is {most}");
            self.give_up(sequence, deliveries, &reason);
            return answer(&acker, AckKind::Term).await;
        }
        if let Some(one) = self.in_flight.get_mut(&sequence) {
            // Its handler has not ended. The server wants the newest acknowledgement.
            one.acker = acker;
            return;
        }
        self.in_flight.insert(sequence, InFlight { acker, bytes });
        self.shared.counts.received.inc();
        let message = Message {
            topic: message.subject.as_str().into(),
            id: Some(format!("{}-{sequence}", self.stream).into()),
            payload: payload_of(&message.payload),
        };
        let subscriber = self.subscriber.clone();
        // The futures are polled in this order, and the queue of each worker accepts them in the
        // order of their first poll. So no message overtakes another.
        let run = async move { Ended { sequence, deliveries, outcome: subscriber.run(message).await } };
        self.running.push(run.boxed());
    }

    /// Acknowledges a message, or gives it back.
    async fn ended(&mut self, Ended { sequence, deliveries, outcome }: Ended, max_deliver: i64) {
        let Some(InFlight { acker, .. }) = self.in_flight.remove(&sequence) else { return };
        let kind = match outcome {
            Ok(()) => {
                self.shared.counts.acknowledged.inc();
                AckKind::Ack
            }
            Err(error) if max_deliver > 0 && deliveries >= max_deliver => {
                self.give_up(sequence, deliveries, &error.to_string());
                // The server says so at once to its other clients, and does not deliver it again.
                AckKind::Nak(None)
            }
            Err(_) => AckKind::Nak(Some(pause_after(u64::try_from(deliveries).unwrap_or_default()))),
        };
        answer(&acker, kind).await;
    }

    /// Tells the server that the host still works on messages, so that it gives them to no other.
    async fn tell_working(&mut self) {
        for InFlight { acker, .. } in self.in_flight.values() {
            answer(acker, AckKind::Progress).await;
        }
    }

    /// Reports a message that no handler will get again.
    fn give_up(&mut self, sequence: u64, deliveries: i64, reason: &str) {
        self.shared.counts.given_up.inc();
        let Some(failed) = self.failed.add(1, Instant::now().into_std()) else { return };
        let (subscription, reason) = (self.subscriber.label(), line(reason, MESSAGE));
        let tries = u64::try_from(deliveries).unwrap_or_default();
        tracing::warn!(%subscription, stream = %self.stream, sequence, tries, %reason, failed, "a message of JetStream failed too often");
        self.shared.events.raise(HostEvent::NatsMessageFailed {
            subscription,
            stream: line(&self.stream, NAME),
            sequence,
            tries,
            reason,
            failed,
        });
    }
}

/// A request for messages.
struct Request {
    batch: Batch,
    since: Instant,
    /// Whether a message has come.
    got: bool,
}

/// Whether a request has ended because of the bytes that it asked for.
fn is_full(error: &str) -> bool {
    let error = error.to_ascii_lowercase();
    ["message size exceeds maxbytes", "batch completed"].iter().any(|why| error.contains(why))
}

async fn answer(acker: &Acker, kind: AckKind) {
    if let Err(error) = acker.ack_with(kind).await {
        // The server delivers the message again.
        tracing::debug!(%error, "an acknowledgement was not sent");
    }
}

/// Whether the server has refused something with this code.
fn has_code(error: &ConsumerError, code: ErrorCode) -> bool {
    matches!(error.kind(), ConsumerErrorKind::JetStream(error) if error.error_code() == code)
}
