//! Gives streams more copies that were made while the NATS servers did not see each other.

use std::collections::BTreeSet;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::Config;

use super::Cluster;
use super::jetstream::{COPIES, JetStream};

/// How often a node looks after its streams, in units of `cluster.goneAfter`.
const PAUSE: u32 = 10;

impl Cluster {
    /// Looks after the streams that this node uses, until the host ends.
    pub(super) async fn look_after_copies(&self) {
        // Those that could not be changed, so that the log says it once.
        let mut told = BTreeSet::new();
        loop {
            tokio::time::sleep(self.config.gone_after * PAUSE).await;
            let Ok(jetstream) = JetStream::by(&self.link) else { continue };
            if !jetstream.may_have_copies() {
                continue;
            }
            for stream in self.used_streams().await {
                match raise(&jetstream.context, &stream).await {
                    Ok(false) => _ = told.remove(&stream),
                    Ok(true) => {
                        told.remove(&stream);
                        tracing::info!(%stream, copies = COPIES, "a stream has more copies from now on");
                    }
                    Err(error) if told.insert(stream.clone()) => {
                        tracing::warn!(%stream, %error, wanted = COPIES, "a stream has too few copies, and gets no more: see `fanfare doctor`");
                    }
                    Err(_) => {}
                }
            }
        }
    }

    /// The names of the streams that this node has opened.
    async fn used_streams(&self) -> Vec<String> {
        let mut streams = Vec::from_iter(self.bucket.stream());
        streams.extend(self.durable.streams().await);
        if self.histories.lock().await.is_some() {
            streams.push(self.histories_stream());
        }
        streams
    }
}

/// Gives a stream more copies if it has too few. Returns whether it had.
async fn raise(context: &Context, stream: &str) -> Result<bool, String> {
    let found = context.get_stream(stream).await.map_err(|error| error.to_string())?;
    let present = &found.cached_info().config;
    if present.num_replicas >= COPIES {
        return Ok(false);
    }
    let config = Config { num_replicas: COPIES, ..present.clone() };
    match context.update_stream(config).await {
        Ok(_) => Ok(true),
        // It may be a server alone, which has as many addresses.
        Err(error) if error.to_string().contains("replicas > 1 not supported") => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}
