//! The turn to hand the mailboxes of a module over. A swap has it from the mark to the switch, and
//! an immediate kill while it ends instances, so that the two never interleave.
//!
//! Without it, a swap that has saved the state would bring back what a kill drops.

use tokio::sync::{Mutex, MutexGuard, watch};

/// The turn of one module.
#[derive(Default)]
pub(super) struct HandOver {
    lock: Mutex<()>,
    /// How many immediate kills wait for the turn.
    kills: watch::Sender<usize>,
}

/// The turn of a swap.
pub(super) struct SwapTurn<'a> {
    _lock: MutexGuard<'a, ()>,
    kills: watch::Receiver<usize>,
}

impl HandOver {
    /// Waits for the turn of a swap.
    pub(super) async fn for_swap(&self) -> SwapTurn<'_> {
        SwapTurn { _lock: self.lock.lock().await, kills: self.kills.subscribe() }
    }

    /// Waits for the turn of an immediate kill. A swap that has the turn and has not switched gives
    /// it up.
    pub(super) async fn for_kill(&self) -> MutexGuard<'_, ()> {
        let _waiting = Waiting::new(&self.kills);
        self.lock.lock().await
    }
}

impl SwapTurn<'_> {
    /// Runs the part of a swap before the switch. `None` when an immediate kill wants the turn: the
    /// swap must then release it and prepare again, because the kill drops the state.
    pub(super) async fn unless_killed<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            // The only error is a missing sender, and the module's lock owns it.
            _ = self.kills.wait_for(|count| *count > 0) => None,
            done = work => Some(done),
        }
    }
}

/// Counts a kill that waits for the turn, until it is dropped.
struct Waiting<'a>(&'a watch::Sender<usize>);

impl Waiting<'_> {
    fn new(kills: &watch::Sender<usize>) -> Waiting<'_> {
        kills.send_modify(|count| *count += 1);
        Waiting(kills)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_kill_interrupts_the_swap_that_has_the_turn_and_goes_first() {
        let hand_over = Arc::new(HandOver::default());
        let mut turn = hand_over.for_swap().await;
        let killing = hand_over.clone();
        let kill = tokio::spawn(async move { drop(killing.for_kill().await) });
        assert_eq!(turn.unless_killed(pending::<()>()).await, None);
        drop(turn);
        let mut turn = hand_over.for_swap().await;
        assert!(kill.is_finished(), "the kill waited first");
        assert_eq!(turn.unless_killed(async { 7 }).await, Some(7));
    }

    #[tokio::test]
    async fn a_kill_that_no_longer_waits_interrupts_nothing() {
        let hand_over = HandOver::default();
        let mut turn = hand_over.for_swap().await;
        let given_up = tokio::time::timeout(std::time::Duration::ZERO, hand_over.for_kill()).await;
        assert!(given_up.is_err());
        assert_eq!(turn.unless_killed(async { 7 }).await, Some(7));
    }
}
