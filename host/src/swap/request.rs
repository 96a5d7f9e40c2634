//! Requests for a reload that have not begun.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;

use super::outcome::Ended;

/// What a reload is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Want {
    /// New instances even when nothing has changed.
    pub renew: bool,
    /// What is in the folder even when a rollback has pinned another generation, or the state cannot go over.
    pub force: bool,
}

impl Want {
    /// For a change that was noticed.
    pub const CHANGE: Want = Want { renew: false, force: false };
    /// For somebody who asks.
    pub const RENEW: Want = Want { renew: true, force: false };

    pub(super) fn and(self, other: Want) -> Want {
        Want { renew: self.renew || other.renew, force: self.force || other.force }
    }
}

/// Reloads that have not begun, by module: at most one for each module there is.
#[derive(Default)]
pub(super) struct Requests {
    pub(super) waiting: Mutex<HashMap<String, Request>>,
    pub(super) asked_by_guests: AtomicU64,
}

pub(super) struct Request {
    pub(super) want: Want,
    /// How many ask for it.
    pub(super) asked: u64,
    pub(super) ended: Shared<BoxFuture<'static, Ended>>,
}

/// The task that is to run a request. What it leaves behind is taken away.
pub(super) struct Claim<'a> {
    pub(super) requests: &'a Requests,
    pub(super) module: &'a str,
    pub(super) begun: bool,
}

impl Claim<'_> {
    /// What is asked for, and how often.
    pub(super) fn asked(&self) -> (Want, u64) {
        let requests = self.requests.waiting.lock();
        requests.get(self.module).map_or((Want::CHANGE, 0), |request| (request.want, request.asked))
    }

    /// Who asks from here on asks for the next run. `false`: somebody has asked since, and it begins only when it `must`.
    pub(super) fn begin(&mut self, asked: u64, must: bool) -> bool {
        let mut requests = self.requests.waiting.lock();
        let up_to_date = requests.get(self.module).is_none_or(|request| request.asked == asked);
        self.begun = up_to_date || must;
        if self.begun {
            requests.remove(self.module);
        }
        up_to_date
    }
}
