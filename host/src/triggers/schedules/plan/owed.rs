//! The runs that are owed by a schedule that makes up for missed due times.
//!
//! Whether one is owed, the other nodes or the state of this one know. A schedule asks when it is
//! new, and as long as it does not know that its last due time was handled: another node runs it
//! and may be lost, or no answer has arrived.

/// The pauses between two questions, in milliseconds.
const PAUSES: (u64, u64) = (500, 4_000);

/// What a schedule does not know.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// When to ask next. `None` if nothing is owed.
    ask: Option<u64>,
    pause: u64,
    /// This node has handled every due time up to this one.
    pub(super) done: u64,
    /// Whether nothing is owed from before.
    pub(super) is_anew: bool,
}

impl Owed {
    /// Owes nothing from before, and asks for what follows.
    pub(super) fn begin_anew(&mut self, now: u64) {
        (self.is_anew, self.pause) = (true, 0);
        self.ask(now);
    }

    /// Asks whether a run is owed, after a pause that grows.
    pub(super) fn ask(&mut self, now: u64) {
        self.ask = Some(now.saturating_add(self.pause));
        self.pause = (self.pause * 2).clamp(PAUSES.0, PAUSES.1);
    }

    /// Nothing is owed.
    pub(super) fn clear(&mut self) {
        (self.ask, self.pause) = (None, 0);
    }

    /// Whether it is time to ask.
    pub(super) fn asks(&mut self, now: u64) -> bool {
        // Later than the longest pause, the clock has gone back.
        let asks = self.ask.is_some_and(|ask| ask <= now || ask > now.saturating_add(PAUSES.1));
        if asks {
            // The answer says when to ask next.
            self.ask = Some(now.saturating_add(PAUSES.1));
        }
        asks
    }

    /// When to ask next.
    pub(super) fn wakes(&self) -> Option<u64> {
        self.ask
    }
}
