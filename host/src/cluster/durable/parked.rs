//! Parked broadcasts for the operator: what is there, and running one again.

use async_nats::HeaderMap;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};

use super::message::{ID, Kept, Only, PARKED, Parked};
use crate::api::{ParkedBroadcast, ParkedBroadcasts, Replayed, ReplayedBroadcasts};
use crate::call::CallError;
use crate::call::text::{MESSAGE, NAME, line};
use crate::cluster::Cluster;
use crate::cluster::stored::size;

/// The most parked broadcasts of one answer.
const MOST_LISTED: usize = 1_000;

/// The bytes of a payload that are shown.
const SHOWN: usize = 256;

impl Cluster {
    /// The parked broadcasts of one module, or of all, with the oldest first.
    pub async fn parked_broadcasts(&self, module: Option<&str>) -> Result<ParkedBroadcasts, CallError> {
        let stream = self.parked_stream().await?;
        let (mut broadcasts, mut next) = (Vec::new(), 1);
        while broadcasts.len() <= MOST_LISTED {
            let Some(message) = self.next_parked(&stream, module, next).await? else { break };
            next = message.sequence + 1;
            broadcasts.push(shown(&message));
        }
        let more = broadcasts.len() > MOST_LISTED;
        broadcasts.truncate(MOST_LISTED);
        Ok(ParkedBroadcasts { broadcasts, more })
    }

    /// Replays the parked broadcasts of one module, or of all, that are there now. Stops at the
    /// first one that the stream does not accept.
    pub async fn replay_all(&self, module: Option<&str>, everywhere: bool) -> Result<ReplayedBroadcasts, CallError> {
        let stream = self.parked_stream().await?;
        let last = stream.get_info().await.map_err(unreachable)?.state.last_sequence;
        let (mut replayed, mut failed, mut next) = (Vec::new(), Vec::new(), 1);
        while let Some(message) = self.next_parked(&stream, module, next).await?.filter(|one| one.sequence <= last) {
            next = message.sequence + 1;
            match self.replay_message(&stream, message, everywhere).await {
                Ok(one) => replayed.push(one),
                // It stays parked.
                Err(CallError::Invalid(reason)) => failed.push(reason),
                Err(error) => {
                    failed.push(error.to_string());
                    break;
                }
            }
        }
        Ok(ReplayedBroadcasts { replayed, failed })
    }

    /// Replays one parked broadcast.
    pub async fn replay(&self, id: u64, everywhere: bool) -> Result<ReplayedBroadcasts, CallError> {
        let stream = self.parked_stream().await?;
        let message = stream.direct_get(id).await.map_err(|error| match error.kind() {
            DirectGetErrorKind::NotFound => CallError::NotFound(format!("no broadcast is parked as {id}")),
            _ => unreachable(error),
        })?;
        let replayed = vec![self.replay_message(&stream, message, everywhere).await?];
        Ok(ReplayedBroadcasts { replayed, failed: Vec::new() })
    }

    async fn parked_stream(&self) -> Result<Stream<()>, CallError> {
        self.client()?;
        let context = self.open_streams().await.map_err(CallError::Unavailable)?;
        context.get_stream_no_info(self.durable.names.parked()).await.map_err(unreachable)
    }

    async fn next_parked(
        &self,
        stream: &Stream<()>,
        module: Option<&str>,
        from: u64,
    ) -> Result<Option<StreamMessage>, CallError> {
        let subject = self.durable.names.parked_of(module);
        match stream.direct_get_next_for_subject(subject, Some(from)).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreachable(error)),
        }
    }

    /// Brings a parked broadcast into the stream again, for the workers that have not run it. Then
    /// it is parked no longer.
    async fn replay_message(
        &self,
        stream: &Stream<()>,
        message: StreamMessage,
        everywhere: bool,
    ) -> Result<Replayed, CallError> {
        let id = message.sequence;
        let read =
            Kept::read(&message.headers, &message.payload).and_then(|kept| Ok((kept, parked(&message.headers)?)));
        let (mut kept, parked) =
            read.map_err(|error| CallError::Invalid(format!("parked broadcast {id} cannot be replayed: {error}")))?;
        kept.only = (!everywhere).then_some(Only { node: parked.node, workers: parked.workers });
        let subject = self.durable.names.broadcast(&kept.broadcast.module, &kept.broadcast.name);
        let (mut headers, payload) = kept.write().map_err(CallError::Invalid)?;
        // A second replay of the same one is noticed.
        headers.insert(ID, format!("replay-{id}-{}", message.time.unix_timestamp_nanos()));
        let (bytes, most) = (size(&headers, &payload), self.link.max_payload());
        if bytes > most {
            return Err(CallError::Invalid(format!(
                "parked broadcast {id} cannot be replayed: it has {bytes} bytes, and max_payload of the NATS server allows {most}"
            )));
        }
        let context = self.open_streams().await.map_err(CallError::Unavailable)?;
        let published = context.publish_with_headers(subject, headers, payload).await.map_err(unreachable)?;
        let position = published.await.map_err(unreachable)?.sequence;
        if let Err(error) = stream.delete_message(id).await {
            tracing::warn!(%error, id, "a replayed broadcast is still in the stream of parked ones");
        }
        self.durable.counts.replayed.inc();
        Ok(Replayed { id, position })
    }
}

fn unreachable(error: impl std::fmt::Display) -> CallError {
    CallError::Unavailable(line(&format!("the stream of parked broadcasts: {error}"), MESSAGE))
}

fn parked(headers: &HeaderMap) -> Result<Parked, String> {
    let text = headers.get(PARKED).ok_or_else(|| format!("it has no header {PARKED}"))?;
    serde_json::from_str(text.as_str()).map_err(|error| format!("its header {PARKED}: {error}"))
}

fn shown(message: &StreamMessage) -> ParkedBroadcast {
    let id = message.sequence;
    let time = u64::try_from(message.time.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    let size = message.payload.len() as u64;
    let start = message.payload.get(..SHOWN).unwrap_or(&message.payload);
    let payload = line(&String::from_utf8_lossy(start), SHOWN);
    match parked(&message.headers) {
        Ok(Parked { module, broadcast, node, workers, position, tries, reason }) => ParkedBroadcast {
            id,
            time,
            module,
            broadcast: line(&broadcast, NAME),
            node,
            workers,
            position,
            tries,
            reason,
            size,
            payload,
        },
        Err(reason) => ParkedBroadcast { id, time, reason, size, payload, ..ParkedBroadcast::default() },
    }
}
