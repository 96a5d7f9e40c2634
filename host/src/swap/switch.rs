//! One swap: prepare, hold, then switch or release.
//!
//! Everyone serves while the startups of the next instances run. Then a mark goes into every mailbox: calls that come
//! after it wait, none is refused. State goes over, and every place switches between the same two broadcasts; or, when
//! anything fails in any of them, all go on as they were.

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::error::SwapError;
use super::swapper::{LOOK, Swapper};
use super::union::Union;
use crate::call::Payload;
use crate::config::SwapConfig;
use crate::dispatch::Dispatch;
use crate::isolate::{Former, Isolate, Old, Prepared, Program, Slot};
use crate::registry::Generation;

impl Swapper {
    /// Lets a program take over in the places that `from` serves, with their state when `keep_state`; starts it in those that
    /// are new, and ends `from` in those that are lost. The error leaves everything as it was. It ends while its instances are
    /// being prepared when `hurry` is cancelled. Answers how many calls ran on when their state was saved, and the end of the
    /// old instances.
    pub(super) async fn switch(
        &self,
        program: &Arc<Program>,
        from: &Generation,
        union: Union,
        keep_state: bool,
        hurry: &CancellationToken,
    ) -> Result<(usize, JoinHandle<()>), SwapError> {
        let module = &program.generation.module;
        let prepare = |slot: &Arc<Slot>| Prepared::start(slot, program, &self.services);
        let vacant = |isolate: &Arc<Isolate>| isolate.vacant(program, &self.services);
        let joining: Vec<Arc<Slot>> = union.join.iter().map(vacant).collect();
        let mut prepared: Vec<_> = union.stay.iter().map(prepare).collect();
        let mut first: Vec<_> = joining.iter().map(prepare).collect();
        let ready = try_join_all(prepared.iter_mut().chain(&mut first).map(Prepared::ready));
        let ready = hurry.run_until_cancelled(ready).await.ok_or(SwapError::Overtaken)?;
        ready.map_err(SwapError::Start)?;

        let slots = union.held();
        let held = Held::new(&self.dispatch, module, &slots);
        self.reach_the_mark(&slots).await?;
        let running = match keep_state && from.exports.snapshot && program.generation.exports.snapshot {
            true => self.hand_over(&union.stay, &mut prepared, &from.digest).await?,
            false => 0,
        };
        let former = self.dispatch.between_broadcasts(module, || {
            held.keep();
            let former: Vec<_> = prepared.into_iter().chain(first).map(Prepared::switch).collect();
            for (isolate, slot) in union.join.iter().zip(&joining) {
                isolate.join(slot, program, &self.services);
            }
            let places = self.dispatch.places();
            let lost = union.leave.iter().filter_map(|slot| places.get(slot.isolate));
            lost.for_each(|isolate| isolate.let_go(module));
            former
        });
        let old = join_all(former.into_iter().map(Former::adopted)).await;
        let lost = union.leave;
        let drain = tokio::spawn(async move {
            join_all(old.into_iter().map(Old::ended)).await;
            join_all(lost.iter().map(|slot| slot.retired())).await;
        });
        Ok((running, drain))
    }

    /// Waits until the broadcasts before the mark have started in every worker, so that each runs in one generation.
    async fn reach_the_mark(&self, slots: &[Arc<Slot>]) -> Result<(), SwapError> {
        let quiesce = self.config.swap.quiesce;
        let reached = until(|| slots.iter().all(|slot| slot.is_past_mark()));
        tokio::time::timeout(quiesce, reached).await.map_err(|_| SwapError::Quiesce(quiesce))
    }

    /// Lets what runs end, within `swap.quiesce`, then brings each place's state to its next instance.
    async fn hand_over(&self, slots: &[Arc<Slot>], prepared: &mut [Prepared], from: &str) -> Result<usize, SwapError> {
        let SwapConfig { quiesce, timeout, state, .. } = self.config.swap;
        let quiet = until(|| slots.iter().all(|slot| slot.is_quiet()));
        // What runs on after this may change state that is not handed over: it is counted.
        let _ = tokio::time::timeout(quiesce, quiet).await;
        let running = slots.iter().map(|slot| slot.running()).sum();
        let saves = try_join_all(slots.iter().map(|slot| save(slot, state)));
        let states = tokio::time::timeout(timeout, saves).await.map_err(|_| SwapError::SlowSave(timeout))??;
        let loads = prepared.iter_mut().zip(states).filter_map(|(prepared, state)| Some((prepared, state?)));
        let loads = try_join_all(loads.map(|(prepared, state)| prepared.load(from.to_owned(), state)));
        let loaded = tokio::time::timeout(timeout, loads).await.map_err(|_| SwapError::SlowLoad(timeout))?;
        loaded.map_err(SwapError::Load)?;
        Ok(running)
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(LOOK).await;
    }
}

async fn save(slot: &Slot, most: u64) -> Result<Option<Payload>, SwapError> {
    // No instance, no state: the next one begins anew.
    let Some(saved) = slot.save().await else { return Ok(None) };
    let (module, isolate) = (slot.module.clone(), slot.isolate);
    let state = saved.map_err(|error| SwapError::Save { module: module.clone(), isolate, error })?;
    let size = state.len() as u64;
    if size > most { Err(SwapError::StateSize { module, isolate, size, most }) } else { Ok(Some(state)) }
}

/// The slots of a module that are held, and released again unless it is kept.
struct Held<'a> {
    slots: &'a [Arc<Slot>],
    released: bool,
}

impl<'a> Held<'a> {
    /// All in the same place of the order of broadcasts.
    fn new(dispatch: &Dispatch, module: &Arc<str>, slots: &'a [Arc<Slot>]) -> Held<'a> {
        dispatch.between_broadcasts(module, || slots.iter().for_each(|slot| slot.hold()));
        Held { slots, released: false }
    }

    /// Switching releases them.
    fn keep(mut self) {
        self.released = true;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.released {
            self.slots.iter().for_each(|slot| slot.release());
        }
    }
}
