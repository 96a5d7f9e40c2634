//! Broadcasts that failed too often: the second stream keeps them.

use async_nats::HeaderMap;
use bytes::Bytes;
use std::time::Duration;

use super::message::{ID, PARKED, Parked};
use super::state::Reading;
use crate::call::text::{MESSAGE, NAME, line};
use crate::cluster::Cluster;
use crate::cluster::stored::size;
use crate::events::HostEvent;

/// The bytes that are added to a broadcast when it is parked, or replayed.
pub(super) const PARK_ROOM: usize = 4_096;

/// The bytes of the reason in the stream.
const MOST_REASON: usize = 512;

/// The pauses between attempts to park a broadcast.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

impl Cluster {
    /// Parks a broadcast. Returns when the stream of parked ones has it.
    pub(super) async fn park(&self, message: Result<(HeaderMap, Bytes), String>, parked: Parked, reading: &Reading) {
        let (headers, payload) = match message {
            Ok(message) => message,
            Err(error) => return tracing::error!(%error, "a broadcast cannot be parked"),
        };
        let subject = self.durable.names.parked_broadcast(&parked.module, &parked.broadcast);
        let mut pause = PAUSES.0;
        let id = loop {
            let (headers, payload) = labelled(headers.clone(), payload.clone(), &parked, self.link.max_payload());
            match self.store_parked(&subject, &headers, &payload).await {
                Ok(id) => break id,
                Err(why) => {
                    let why = line(&format!("a failed broadcast cannot be parked: {why}"), MESSAGE);
                    reading.change(|progress| progress.reason = Some(why));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        };
        reading.change(|progress| progress.reason = None);
        self.durable.counts.parked.inc();
        let Parked { module, broadcast, position, tries, reason, .. } = parked;
        let (broadcast, reason) = (line(&broadcast, NAME), line(&reason, MESSAGE));
        tracing::warn!(%module, %broadcast, position, tries, %reason, id, "a durable broadcast failed too often and is parked: see `fanfare broadcasts parked`");
        self.events.raise(HostEvent::BroadcastParked { module, broadcast, position, tries, reason, parked: id });
    }

    async fn store_parked(&self, subject: &str, headers: &HeaderMap, payload: &Bytes) -> Result<u64, String> {
        let context = self.open_streams().await?;
        let lost = self.link.lost();
        let store = async {
            let ack = context.publish_with_headers(subject.to_owned(), headers.clone(), payload.clone()).await;
            ack.map_err(|error| error.to_string())?.await.map_err(|error| error.to_string())
        };
        tokio::select! {
            stored = store => match stored {
                Ok(ack) => Ok(ack.sequence),
                Err(error) => {
                    self.forget_streams().await;
                    Err(error)
                }
            },
            () = lost.cancelled() => Err("the connection to NATS was lost".to_owned()),
        }
    }
}

/// Adds to a broadcast why it is parked. Of one that is too large for the NATS server meanwhile,
/// only that is left: it is listed, and cannot be replayed.
fn labelled(mut headers: HeaderMap, payload: Bytes, parked: &Parked, most: usize) -> (HeaderMap, Bytes) {
    // After the stream has lost its end, another broadcast may have the same place.
    let id = headers.get(ID).map(|id| line(id.as_str(), NAME)).unwrap_or_default();
    let label = |headers: &mut HeaderMap, reason: &str| {
        let parked = Parked { reason: line(reason, MOST_REASON), ..parked.clone() };
        headers.insert(ID, format!("parked-{}-{}-{id}", parked.node, parked.position));
        headers.insert(PARKED, serde_json::to_string(&parked).unwrap_or_default());
    };
    label(&mut headers, &parked.reason);
    let bytes = size(&headers, &payload);
    if most == 0 || bytes <= most {
        return (headers, payload);
    }
    let mut headers = HeaderMap::new();
    let why = format!("its {bytes} bytes are not kept, because max_payload of the NATS server allows {most}");
    label(&mut headers, &format!("{why}: {}", parked.reason));
    (headers, Bytes::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parked(reason: &str) -> Parked {
        Parked {
            module: "m".into(),
            broadcast: "b".into(),
            node: "a-1".into(),
            workers: (0..256).collect(),
            position: u64::MAX,
            tries: u32::MAX,
            reason: reason.into(),
        }
    }

    #[test]
    fn there_is_room_for_why_a_broadcast_is_parked() {
        let (headers, payload) = (HeaderMap::new(), Bytes::from(vec![0; 10]));
        let most = size(&headers, &payload) + PARK_ROOM;
        assert_eq!(labelled(headers, payload.clone(), &parked(&"\\".repeat(9_000)), most).1, payload);
    }

    #[test]
    fn broadcasts_that_have_had_the_same_place_are_both_parked() {
        let id = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ID, id);
            labelled(headers, Bytes::new(), &parked("no"), 0).0.get(ID).unwrap().to_string()
        };
        assert_ne!(id("first"), id("second"));
        assert_eq!(id("first"), id("first"), "it is parked once");
    }

    #[test]
    fn what_is_too_large_to_be_parked_is_listed_without_its_payload() {
        let mut headers = HeaderMap::new();
        headers.insert("Fanfare-Broadcast", "{}");
        let (headers, payload) = labelled(headers, Bytes::from(vec![0; 9_000]), &parked("no"), 9_000);
        assert!(payload.is_empty() && headers.get("Fanfare-Broadcast").is_none(), "it cannot be replayed");
        let reason = headers.get(PARKED).unwrap().as_str();
        assert!(reason.contains("max_payload of the NATS server allows 9000: no"), "{reason}");
    }
}
