//! One swap: prepare, hold, then switch or release.
//!
//! The old generation keeps serving while the new instances start. Then a mark goes into every
//! mailbox: calls behind it wait, and none is rejected. The state is handed over, and all isolates
//! switch between the same two broadcasts. If anything fails in any isolate, the mark is released
//! and the old generation continues in all of them.
//!
//! Between the mark and the switch, a call passes the mark if a running call of the module waits
//! for it. If that call waits for a `gather`, the gathered broadcast passes, and so does every
//! broadcast queued before it. Broadcasts before the mark still start in the old instances, because
//! another worker may have started them already. A `save` that continues after its swap was
//! rejected cannot be ended from outside: it counts as leaked.

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::error::SwapError;
use super::hand_over::HandOver;
use super::scope::SwapScope;
use super::swapper::{POLL, Swapper};
use crate::call::Payload;
use crate::config::SwapConfig;
use crate::dispatch::Dispatch;
use crate::isolate::{Isolate, PendingSwitch, Prepared, Program, ReplacedInstance, Slot};
use crate::registry::Generation;

impl Swapper {
    /// Swaps from the generation `from` to a program, in the isolates of the scope. Hands the state
    /// over when `keep_state` is set and both generations have `snapshot`. An error changes
    /// nothing. Cancelling `preempt` ends the swap only while its new instances are being prepared;
    /// later it has no effect.
    ///
    /// Returns how many calls were still running when `save` ran (0 if no state was handed over),
    /// and a task that ends when the old instances have drained and the slots that leave have
    /// ended.
    pub(super) async fn switch(
        &self,
        program: &Arc<Program>,
        from: &Generation,
        scope: SwapScope,
        keep_state: bool,
        preempt: &CancellationToken,
    ) -> Result<(usize, JoinHandle<()>), SwapError> {
        let lock = self.locks.of(&program.generation.module);
        loop {
            let switched = self.try_switch(program, from, &scope, keep_state, preempt, &lock.hand_over).await?;
            if let Some((running, old)) = switched {
                let left = scope.leave;
                let drain = tokio::spawn(async move {
                    join_all(old.into_iter().map(ReplacedInstance::ended)).await;
                    join_all(left.iter().map(|slot| slot.retired())).await;
                });
                return Ok((running, drain));
            }
            tracing::info!(
                module = %program.generation.module,
                "the swap starts again, because an isolate was killed while the state was handed over"
            );
        }
    }

    /// Returns `None` when an immediate kill ends instances during the hand-over.
    async fn try_switch(
        &self,
        program: &Arc<Program>,
        from: &Generation,
        scope: &SwapScope,
        keep_state: bool,
        preempt: &CancellationToken,
        hand_over: &HandOver,
    ) -> Result<Option<(usize, Vec<ReplacedInstance>)>, SwapError> {
        let module = &program.generation.module;
        let prepare = |slot: &Arc<Slot>| Prepared::start(slot, program, &self.services);
        let vacant = |isolate: &Arc<Isolate>| isolate.unlisted_slot(program, &self.services);
        let joining: Vec<Arc<Slot>> = scope.join.iter().map(vacant).collect();
        let mut prepared: Vec<_> = scope.stay.iter().map(prepare).collect();
        let mut first: Vec<_> = joining.iter().map(prepare).collect();
        let ready = try_join_all(prepared.iter_mut().chain(&mut first).map(Prepared::ready));
        let ready = preempt.run_until_cancelled(ready).await.ok_or(SwapError::Preempted)?;
        ready.map_err(SwapError::Start)?;

        let mut turn = hand_over.for_swap().await;
        let slots = scope.old_slots();
        let hold = Hold::new(&self.dispatch, module, &slots);
        let handed_over = turn.unless_killed(async {
            self.wait_for_mark(&slots).await?;
            match keep_state && from.exports.snapshot && program.generation.exports.snapshot {
                true => self.hand_over_state(&scope.stay, &mut prepared, from).await,
                false => Ok(0),
            }
        });
        let Some(running) = handed_over.await.transpose()? else { return Ok(None) };
        let former = self.dispatch.between_broadcasts(module, || {
            hold.end_by_switch();
            let former: Vec<_> = prepared.into_iter().chain(first).map(Prepared::switch).collect();
            for (isolate, slot) in scope.join.iter().zip(&joining) {
                isolate.install_prepared(slot, &self.services);
            }
            let places = self.dispatch.places();
            let left = scope.leave.iter().filter_map(|slot| places.get(slot.isolate));
            left.for_each(|isolate| isolate.remove(module));
            former
        });
        let old = join_all(former.into_iter().map(PendingSwitch::adopted)).await;
        Ok(Some((running, old)))
    }

    /// Waits until the broadcasts before the mark have started in every isolate, so that each runs
    /// in one generation everywhere.
    async fn wait_for_mark(&self, slots: &[Arc<Slot>]) -> Result<(), SwapError> {
        let quiesce = self.config.swap.quiesce;
        let reached = wait_until(|| slots.iter().all(|slot| slot.is_past_mark()));
        tokio::time::timeout(quiesce, reached).await.map_err(|_| SwapError::Quiesce(quiesce))
    }

    /// Waits up to `swap.quiesce` for running calls, then saves the state of each old instance and
    /// loads it into the new one. Returns how many calls were still running.
    async fn hand_over_state(
        &self,
        slots: &[Arc<Slot>],
        prepared: &mut [Prepared],
        from: &Generation,
    ) -> Result<usize, SwapError> {
        let SwapConfig { quiesce, timeout, state, .. } = self.config.swap;
        let quiesced = wait_until(|| slots.iter().all(|slot| slot.has_quiesced()));
        // A call that runs longer may still change state, and that change is lost. The result of
        // the swap therefore counts these calls.
        let _ = tokio::time::timeout(quiesce, quiesced).await;
        let running = slots.iter().map(|slot| slot.running()).sum();
        let saves = try_join_all(slots.iter().map(|slot| save(slot, state)));
        let slow = |_| SwapError::SlowSave { module: from.module.clone(), timeout };
        let states = tokio::time::timeout(timeout, saves).await.map_err(slow)??;
        let loads = prepared.iter_mut().zip(states).filter_map(|(prepared, state)| Some((prepared, state?)));
        let loads = try_join_all(loads.map(|(prepared, state)| prepared.load(from.digest.clone(), state)));
        let loaded = tokio::time::timeout(timeout, loads).await.map_err(|_| SwapError::SlowLoad(timeout))?;
        loaded.map_err(SwapError::Load)?;
        Ok(running)
    }
}

async fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(POLL).await;
    }
}

async fn save(slot: &Slot, max: u64) -> Result<Option<Payload>, SwapError> {
    // A slot without an instance has no state: the new instance starts empty.
    let Some(saved) = slot.save().await else { return Ok(None) };
    let (module, isolate) = (slot.module.clone(), slot.isolate);
    let state = saved.map_err(|error| SwapError::Save { module: module.clone(), isolate, error })?;
    let size = state.len() as u64;
    if size > max { Err(SwapError::StateSize { module, isolate, size, max }) } else { Ok(Some(state)) }
}

/// The hold of a module's slots. Dropping it releases them, unless a switch has ended it.
struct Hold<'a> {
    slots: &'a [Arc<Slot>],
    ended: bool,
}

impl<'a> Hold<'a> {
    /// Begins the hold of all slots at the same point in the order of broadcasts.
    fn new(dispatch: &Dispatch, module: &Arc<str>, slots: &'a [Arc<Slot>]) -> Hold<'a> {
        dispatch.between_broadcasts(module, || slots.iter().for_each(|slot| slot.hold()));
        Hold { slots, ended: false }
    }

    /// Ends the hold without releasing the slots, because the switch itself lets their waiting
    /// calls continue.
    fn end_by_switch(mut self) {
        self.ended = true;
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.slots.iter().for_each(|slot| slot.release());
        }
    }
}
