//! Brings the durable broadcasts of this node into the stream.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, SeqCst};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::message::Kept;
use super::outbox::Entry;
use super::park::PARK_ROOM;
use crate::call::text::{MESSAGE, line};
use crate::call::{CallError, PeerBroadcast};
use crate::cluster::Cluster;
use crate::cluster::jetstream::JetStream;
use crate::cluster::stored::size;
use crate::ports::BoxFuture;

/// The most broadcasts that are sent before the first of them is acknowledged.
const MOST_IN_FLIGHT: usize = 64;

/// How often the host looks whether it can send again.
const POLL: Duration = Duration::from_millis(20);

/// The pauses after attempts that the server refuses.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

impl Cluster {
    /// Queues a broadcast until the stream has it, also while NATS is away.
    pub(in crate::cluster) fn queue_for_stream(&self, broadcast: PeerBroadcast) -> Result<(), CallError> {
        let entry = self.entry(broadcast, None)?;
        self.offer(entry)
    }

    /// Brings a broadcast into the stream. Fails at once while NATS is away, and waits for at most
    /// `cluster.timeout`, so that the caller has time to do something else.
    pub(in crate::cluster) fn keep_in_stream(&self, broadcast: PeerBroadcast) -> BoxFuture<Result<u64, CallError>> {
        let left = broadcast.envelope.left.min(self.config.timeout);
        let (cluster, module) = (self.me.clone(), broadcast.module.clone());
        let (caller, mut answer) = oneshot::channel();
        let begun = self.client().and_then(|_| {
            if self.node.dispatch().is_none() {
                let why = "the host does not serve yet, or no longer: use `emit` in a startup";
                return Err(CallError::Unavailable(why.to_owned()));
            }
            let entry = self.entry(broadcast, Some(caller))?;
            let sent = entry.sent.clone();
            self.offer(entry).map(|()| sent)
        });
        Box::pin(async move {
            let sent = begun?;
            if let Ok(ended) = tokio::time::timeout(left, &mut answer).await {
                return ended.unwrap_or_else(|_| Err(CallError::stopping()));
            }
            // From now on it is not sent, if it was not yet.
            answer.close();
            if let Ok(ended) = answer.try_recv() {
                return ended;
            }
            // So that it takes no room.
            if let Some(cluster) = cluster.upgrade() {
                cluster.durable.outbox.drop_abandoned();
            }
            match sent.load(SeqCst) {
                true => Err(CallError::Timeout(Some("the stream may have the broadcast".to_owned()))),
                false => {
                    let why = cluster.upgrade().and_then(|cluster| cluster.why_unread(&module));
                    let why = why.unwrap_or_else(|| "the broadcast could not be sent to the stream in time".to_owned());
                    Err(CallError::Unavailable(why))
                }
            }
        })
    }

    /// Why the stream keeps no broadcasts of a module for this node.
    fn why_unread(&self, module: &str) -> Option<String> {
        let progress = self.durable.modules.lock().get(module)?.get();
        progress.reason.filter(|_| !progress.is_ready)
    }

    fn offer(&self, entry: Entry) -> Result<(), CallError> {
        self.durable.outbox.offer(entry).map_err(|setting| {
            self.durable.counts.refused.inc();
            CallError::Overloaded(format!(
                "{setting} has no room for a further broadcast that the stream does not have"
            ))
        })
    }

    fn entry(
        &self,
        broadcast: PeerBroadcast,
        caller: Option<oneshot::Sender<Result<u64, CallError>>>,
    ) -> Result<Entry, CallError> {
        let (module, subject) =
            (broadcast.module.clone(), self.durable.names.broadcast(&broadcast.module, &broadcast.name));
        let kept = Kept { broadcast, boot: self.boot(), only: None };
        let (headers, payload) = kept.write().map_err(CallError::Invalid)?;
        let (bytes, most) = (size(&headers, &payload), self.link.max_payload());
        if most > 0 && bytes.saturating_add(PARK_ROOM) > most {
            return Err(CallError::Invalid(format!(
                "the broadcast has {bytes} bytes in the stream, and max_payload of the NATS server allows {}: \
                 {most} less {PARK_ROOM}, so that it can be parked",
                most.saturating_sub(PARK_ROOM)
            )));
        }
        let sent = Arc::new(AtomicBool::new(false));
        Ok(Entry { module, subject, headers, payload, size: bytes as u64, sent, is_unknown: false, caller })
    }

    /// The connection to the streams, which the first call makes.
    pub(super) async fn open_streams(&self) -> Result<Context, String> {
        let mut opened = self.durable.opened.lock().await;
        if let Some(context) = &*opened {
            return Ok(context.clone());
        }
        let jetstream = JetStream::by(&self.link)?;
        let lost = self.link.lost();
        tokio::select! {
            done = self.durable.names.open(&jetstream, &self.durable.config) => done?,
            () = lost.cancelled() => return Err("the connection to NATS was lost".to_owned()),
        }
        *opened = Some(jetstream.context.clone());
        Ok(jetstream.context)
    }

    /// Opens the streams anew next time, because one of them does not exist.
    pub(super) async fn forget_streams(&self) {
        *self.durable.opened.lock().await = None;
    }

    /// Whether the stream keeps the broadcasts of a module for this node, if it reads them. What
    /// is sent earlier would pass this node by.
    fn may_send(&self, module: &str) -> bool {
        // A module that is loading has workers before it is installed, and may emit in a startup.
        if !self.node.dispatch().is_some_and(|dispatch| dispatch.runs_durable(module)) {
            return true;
        }
        self.durable.modules.lock().get(module).is_some_and(|reading| reading.get().is_ready)
    }

    /// Sends what waits, until the host ends.
    pub(in crate::cluster) async fn send_durable(self: Arc<Self>) {
        let mut pause = PAUSES.0;
        let mut warned = false;
        loop {
            self.durable.outbox.filled().await;
            if !self.link.is_up() || !self.joined.load(Acquire) {
                tokio::time::sleep(POLL).await;
                continue;
            }
            let batch = self.durable.outbox.take(MOST_IN_FLIGHT, |module| self.may_send(module));
            if batch.is_empty() {
                tokio::time::sleep(POLL).await;
                continue;
            }
            match self.send_batch(batch).await {
                Ok(()) => (pause, warned) = (PAUSES.0, false),
                Err(reason) => {
                    if self.link.is_up() && !warned {
                        warned = true;
                        let reason = line(&reason, MESSAGE);
                        tracing::warn!(%reason, "the stream of durable broadcasts does not accept what this node emits; it tries again");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Sends some broadcasts, and waits until each is acknowledged. Puts those back that are not.
    async fn send_batch(&self, batch: Vec<Entry>) -> Result<(), String> {
        let context = match self.open_streams().await {
            Ok(context) => context,
            Err(reason) => {
                let refused = batch.into_iter().filter_map(|entry| self.refused(entry, &reason)).collect();
                self.durable.outbox.give_back(refused);
                return Err(reason);
            }
        };
        let lost = self.link.lost();
        let mut sent = Vec::with_capacity(batch.len());
        for entry in batch {
            if !entry.begin() {
                self.durable.outbox.end(entry, Err(CallError::Timeout(None)));
                continue;
            }
            if entry.is_unknown {
                self.durable.counts.resent.inc();
            }
            let published =
                context.publish_with_headers(entry.subject.clone(), entry.headers.clone(), entry.payload.clone());
            let published = published.await;
            sent.push((entry, published));
        }
        let (mut open, mut failure) = (Vec::new(), None);
        for (mut entry, published) in sent {
            match acknowledged(published, &lost).await {
                Ok(position) => {
                    self.durable.counts.kept.inc();
                    self.durable.outbox.end(entry, Ok(position));
                }
                Err(Unsent::TooLarge(reason)) => {
                    tracing::error!(
                        module = entry.module,
                        reason,
                        "a durable broadcast is too large for NATS and is lost"
                    );
                    self.durable.outbox.end(entry, Err(CallError::Invalid(reason)));
                }
                Err(Unsent::Unknown(reason)) => {
                    entry.is_unknown = true;
                    failure = Some(reason);
                    open.push(entry);
                }
                Err(Unsent::Refused(reason)) => {
                    open.extend(self.refused(entry, &reason));
                    failure = Some(reason);
                }
                Err(Unsent::NoStream) => {
                    let reason = "the stream of durable broadcasts does not exist, or JetStream is away".to_owned();
                    self.forget_streams().await;
                    open.extend(self.refused(entry, &reason));
                    failure = Some(reason);
                }
            }
        }
        self.durable.outbox.give_back(open);
        failure.map_or(Ok(()), Err)
    }

    /// Tells the caller of a broadcast that the stream does not have it. Returns one that nobody
    /// waits for, or that the stream may have.
    fn refused(&self, entry: Entry, reason: &str) -> Option<Entry> {
        if entry.caller.is_none() || entry.is_unknown {
            return Some(entry);
        }
        self.durable.outbox.end(entry, Err(CallError::Unavailable(line(reason, MESSAGE))));
        None
    }
}

/// Why a broadcast was not acknowledged.
enum Unsent {
    /// The stream may have it.
    Unknown(String),
    /// The stream does not have it.
    Refused(String),
    NoStream,
    TooLarge(String),
}

async fn acknowledged(
    published: Result<PublishAckFuture, PublishError>,
    lost: &CancellationToken,
) -> Result<u64, Unsent> {
    let ack = match published {
        Ok(ack) => ack.into_future(),
        Err(error) => return Err(unsent(&error)),
    };
    tokio::select! {
        biased;
        ack = ack => ack.map(|ack| ack.sequence).map_err(|error| unsent(&error)),
        () = lost.cancelled() => Err(Unsent::Unknown("the connection to NATS was lost".to_owned())),
    }
}

fn unsent(error: &PublishError) -> Unsent {
    match error.kind() {
        PublishErrorKind::StreamNotFound => Unsent::NoStream,
        PublishErrorKind::MaxPayloadExceeded => Unsent::TooLarge(error.to_string()),
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Unsent::Unknown(error.to_string()),
        _ => Unsent::Refused(error.to_string()),
    }
}
