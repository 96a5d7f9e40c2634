//! Notices that the stream has dropped broadcasts before this node has run them, because it was
//! full, or they were too old.
//!
//! All modules share the stream, so the places that are missing may have been those of others.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::consumer::Consumer;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::context::Context;
use async_nats::jetstream::stream::State;
use tokio::time::Instant;

use super::read::{EXPIRES, Reader};
use crate::cluster::Cluster;
use crate::events::HostEvent;

/// How often a node that is behind asks where the stream begins.
const ASKS: Duration = Duration::from_secs(1);

impl Reader {
    /// Checks what was dropped while this node was away. What is too old was emitted earlier.
    /// Returns the consumer, or the one in its place.
    pub(super) async fn check_away(
        &mut self,
        context: &Context,
        consumer: Consumer<Config>,
    ) -> Result<Consumer<Config>, String> {
        let info = consumer.cached_info().clone();
        if info.ack_floor.stream_sequence > self.done {
            (self.done, self.done_id) = (info.ack_floor.stream_sequence, None);
        }
        let cluster = self.cluster.clone();
        let state = state(&cluster, context).await?;
        let anew = self.check_end(context, &info, &state).await?;
        let first: SystemTime = state.first_timestamp.into();
        let left: Option<SystemTime> = info.delivered.last_active.map(Into::into);
        let age = first.elapsed().unwrap_or_default();
        let is_aged = age >= self.cluster.durable.config.max_age.mul_f64(0.9);
        let was_away = left.is_none_or(|left| left < first);
        if self.pending > 0 || was_away && !is_aged && info.ack_floor.consumer_sequence > 0 {
            self.tell_dropped(state.first_sequence);
        }
        match anew {
            Some(start) => self.replace(context, consumer, start).await,
            None => Ok(consumer),
        }
    }

    /// Checks what was dropped before a broadcast that has arrived, unless this node has waited for
    /// it, and so had run all that was there. A server that has dropped the next one may wait for
    /// the next request.
    pub(super) async fn check_behind(&mut self, context: &Context, position: u64) {
        let is_behind = self.ended.is_some_and(|ended| ended.elapsed() < EXPIRES * 2);
        let is_due = self.asked.is_none_or(|asked| asked.elapsed() >= ASKS);
        if !is_behind || position <= self.done.saturating_add(1) || !is_due {
            return;
        }
        self.asked = Some(Instant::now());
        let cluster = self.cluster.clone();
        if let Ok(state) = state(&cluster, context).await {
            self.tell_dropped(state.first_sequence.min(position));
        }
    }

    /// Tells that this node has not run what was before `first`.
    fn tell_dropped(&mut self, first: u64) {
        if self.done == 0 || first <= self.done.saturating_add(1) {
            return;
        }
        let (module, after) = (self.module.clone(), std::mem::replace(&mut self.done, first - 1));
        self.done_id = None;
        self.cluster.durable.counts.dropped.inc();
        tracing::warn!(%module, after, before = first, "the stream has dropped durable broadcasts that this node has not run, unless all of them were of other modules: raise cluster.durable.maxBytes or maxAge");
        self.cluster.events.raise(HostEvent::BroadcastsDropped { module, after, before: first });
    }
}

async fn state(cluster: &Cluster, context: &Context) -> Result<State, String> {
    let name = cluster.durable.names.broadcasts();
    let stream = context.get_stream(&name).await.map_err(|error| format!("the stream {name}: {error}"))?;
    Ok(stream.cached_info().state.clone())
}
