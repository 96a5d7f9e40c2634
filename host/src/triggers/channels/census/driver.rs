//! The task that takes what the hub reports, and tells other nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use super::Census;

/// How often a batch that has failed is tried again, and numbers of members are announced.
const TICK: Duration = Duration::from_millis(100);

/// Every which tick is a sweep.
const SWEEP: u32 = 10;

/// How many times `cluster.goneAfter` a home waits for what others tell. A node that was busy may
/// notice that another one is gone later than the others do.
const PATIENCE: u32 = 3;

/// The most bytes of a batch.
const BATCH: usize = 256 << 10;

impl Census {
    /// Runs until it is dropped.
    pub async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_sweep = SWEEP;
        let mut changed = self.neighbors.changed();
        self.see();
        loop {
            self.take_inputs();
            self.tell();
            tokio::select! {
                () = self.inputs.changed.notified() => {}
                () = &mut changed => {
                    changed = self.neighbors.changed();
                    self.see();
                }
                _ = ticks.tick() => {
                    next_sweep -= 1;
                    let (now, patience) = (Instant::now(), self.neighbors.gone_after() * PATIENCE);
                    let mut state = self.state.lock();
                    state.tick(now, patience, &*self);
                    if next_sweep == 0 {
                        next_sweep = SWEEP;
                        state.sweep(now, patience, &*self);
                    }
                    drop(state);
                    self.has_progress();
                }
            }
        }
    }

    /// Looks at the nodes.
    fn see(&self) {
        let mut state = self.state.lock();
        state.see(self.neighbors.nodes(), Instant::now(), self);
        drop(state);
        self.has_progress();
    }

    /// Takes what the hub has reported.
    pub(super) fn take_inputs(&self) {
        let mut state = self.state.lock();
        // Under the lock, so that nobody takes later reports first.
        let taken = self.inputs.take();
        if taken.is_empty() {
            return;
        }
        for (channel, is_watched) in &taken.watched {
            state.on_watch(channel, *is_watched, self);
        }
        for changed in taken.changes {
            state.on_member(&changed.channel, changed.step, changed.members, self);
        }
        for channel in &taken.again {
            state.on_members(channel, self);
        }
        drop(state);
        self.has_progress();
    }

    /// Sends each node the next batch, unless one is on its way.
    fn tell(self: &Arc<Self>) {
        if !self.neighbors.is_up() {
            return;
        }
        let most = BATCH.min(self.neighbors.max_bytes());
        let nodes = self.state.lock().peers();
        for node in nodes {
            let next = self.state.lock().next(&node, most, &**self);
            let Some((boot, batch)) = next else { continue };
            let (census, series) = (self.clone(), batch.series);
            let sent = self.neighbors.tell(&node, batch);
            tokio::spawn(async move {
                let is_accepted = match sent.await {
                    Ok(is_accepted) => is_accepted,
                    Err(error) => {
                        tracing::debug!(%error, %node, "a node was not told the members of channels");
                        false
                    }
                };
                census.state.lock().sent(&node, &boot, series, is_accepted);
                census.inputs.changed.notify_one();
                census.has_progress();
            });
        }
    }
}
