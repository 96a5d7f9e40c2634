//! Broadcasts that failed too often: the second stream keeps them.

use async_nats::HeaderMap;
use bytes::Bytes;
use std::time::Duration;

use super::message::{ID, PARKED, Parked};
use super::state::Reading;
use crate::call::text::{MESSAGE, NAME, line};
use crate::cluster::Cluster;
use crate::events::HostEvent;

/// The pauses between attempts to park a broadcast.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

impl Cluster {
    /// Parks a broadcast. Returns when the stream of parked ones has it.
    pub(super) async fn park(&self, message: Result<(HeaderMap, Bytes), String>, parked: Parked, reading: &Reading) {
        let (mut headers, payload) = match message {
            Ok(message) => message,
            Err(error) => return tracing::error!(%error, "a broadcast cannot be parked"),
        };
        let subject = self.durable.names.parked_broadcast(&parked.module, &parked.broadcast);
        headers.insert(ID, format!("parked-{}-{}", parked.node, parked.position));
        headers.insert(PARKED, serde_json::to_string(&parked).unwrap_or_default());
        let mut pause = PAUSES.0;
        let id = loop {
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
