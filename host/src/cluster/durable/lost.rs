//! Notices that the NATS servers have lost the end of the stream, as after a loss of power or from
//! a backup. Other broadcasts get the places that were lost, so that a place counts only with the
//! id of its broadcast.

use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::context::Context;
use async_nats::jetstream::stream::{DirectGetErrorKind, State};

use super::message::ID;
use super::read::Reader;
use crate::cluster::Cluster;

impl Reader {
    /// Checks whether the stream still has what this node has run, and runs. Returns where another
    /// consumer must begin, if the present one stays behind the end.
    pub(super) async fn check_end(
        &mut self,
        context: &Context,
        consumer: &Info,
        state: &State,
    ) -> Result<Option<u64>, String> {
        let cluster = self.cluster.clone();
        let (last, delivered) = (state.last_sequence, consumer.delivered.stream_sequence);
        // What was there and is not kept any more is no loss.
        let there = id_at(&cluster, context, self.done, state).await?;
        let is_other = self.done_id.is_some() && there.is_some() && there != self.done_id;
        let mut anew = None;
        if self.done > last || is_other || delivered > last {
            self.lose_present(last);
            // It reads again what this process remembers, because other broadcasts may have those
            // places.
            let remembered = self.done.saturating_add(1).saturating_sub(self.ids.len());
            let start = remembered.min(last.saturating_add(1)).max(state.first_sequence);
            // Some versions of NATS do not deliver what gets the places up to the last delivery.
            anew = (delivered >= self.done).then_some(start);
            let floor = consumer.ack_floor.stream_sequence.min(last);
            (self.done, self.done_id) = (anew.map_or(floor, |start| start.saturating_sub(1)), None);
        } else if self.done_id.is_none() {
            self.done_id = there;
        }
        let present = self.current.as_ref().and_then(|current| current.place.clone());
        if let Some((place, id)) = present
            && (place > last || id_at(&cluster, context, place, state).await?.is_some_and(|there| there != id))
        {
            self.lose_present(last);
        }
        Ok(anew)
    }

    /// The end is lost, and with it the broadcast that runs.
    fn lose_present(&mut self, last: u64) {
        tracing::warn!(module = %self.module, run = self.done, last, "the stream of durable broadcasts has lost its end, and what is emitted gets those places again: see docs/durable.md, What is promised");
        self.current.iter_mut().for_each(|current| current.place = None);
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
