//! Notices that the stream has dropped broadcasts before this node has run them, because it was
//! full, or they were too old.
//!
//! All modules share the stream, so the places that are missing may have been those of others.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::consumer::Consumer;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::context::Context;
use async_nats::jetstream::stream::{DirectGetErrorKind, State};
use tokio::time::Instant;

use super::message::ID;
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
        let floor = info.ack_floor.stream_sequence;
        if floor > self.done {
            (self.done, self.done_id) = (floor, None);
        }
        let cluster = self.cluster.clone();
        let state = state(&cluster, context).await?;
        let last = state.last_sequence;
        // What was there and is not kept any more is no loss.
        let there = id_at(&cluster, context, self.done, &state).await?;
        let is_other = self.done_id.is_some() && there.is_some() && there != self.done_id;
        let delivered = info.delivered.stream_sequence;
        // Where another consumer begins, if this one stays behind the end. It reads again what this
        // process remembers, because other broadcasts may have those places.
        let mut anew = None;
        if self.done > last || is_other || delivered > last {
            self.begin_anew(last);
            let remembered = self.done.saturating_add(1).saturating_sub(self.ids.len());
            let start = remembered.min(last.saturating_add(1)).max(state.first_sequence);
            // Some versions of NATS do not deliver what gets the places up to the last delivery.
            anew = (delivered >= self.done).then_some(start);
            (self.done, self.done_id) = (anew.map_or(floor.min(last), |start| start.saturating_sub(1)), None);
        } else if self.done_id.is_none() {
            self.done_id = there;
        }
        let present = self.current.as_ref().and_then(|current| current.place.clone());
        if let Some((place, id)) = present
            && (place > last || id_at(&cluster, context, place, &state).await?.is_some_and(|there| there != id))
        {
            self.begin_anew(last);
        }
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

    /// The servers have lost the end of the stream, as after a loss of power, and other
    /// broadcasts get the places of what this node has run, or runs.
    fn begin_anew(&mut self, last: u64) {
        tracing::warn!(module = %self.module, run = self.done, last, "the stream of durable broadcasts has lost its end, and what is emitted gets those places again: see docs/durable.md, What is promised");
        self.current.iter_mut().for_each(|current| current.place = None);
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

/// The id of the broadcast at a place, if the stream has one there.
async fn id_at(cluster: &Cluster, context: &Context, position: u64, state: &State) -> Result<Option<String>, String> {
    if position == 0 || !(state.first_sequence..=state.last_sequence).contains(&position) {
        return Ok(None);
    }
    let name = cluster.durable.names.broadcasts();
    let failed = |error: String| format!("the broadcast {position} of the stream {name}: {error}");
    let stream = context.get_stream_no_info(&name).await.map_err(|error| failed(error.to_string()))?;
    match stream.direct_get(position).await {
        Ok(message) => Ok(message.headers.get(ID).map(|id| id.as_str().to_owned())),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error.to_string())),
    }
}

async fn state(cluster: &Cluster, context: &Context) -> Result<State, String> {
    let name = cluster.durable.names.broadcasts();
    let stream = context.get_stream(&name).await.map_err(|error| format!("the stream {name}: {error}"))?;
    Ok(stream.cached_info().state.clone())
}
