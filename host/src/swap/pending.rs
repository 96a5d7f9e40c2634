//! Requested reloads that have not started.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;

use super::outcome::ReloadResult;
use crate::registry::Roster;

/// How a reload treats a module that has not changed, and a rollback's pin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReloadOptions {
    /// Start new instances even when nothing has changed.
    pub renew: bool,
    /// Load the folder even when a rollback has pinned another generation, and swap even when the
    /// state cannot be handed over.
    pub force: bool,
    /// The host tries again by itself, so that it does not report the same error again.
    pub retry: bool,
    /// The operator asked for an earlier generation.
    pub rollback: bool,
}

impl ReloadOptions {
    /// For a file that changed.
    pub const CHANGE: ReloadOptions = ReloadOptions { renew: false, force: false, retry: false, rollback: false };
    /// For an operator or a guest that requests the reload.
    pub const RENEW: ReloadOptions = ReloadOptions { renew: true, ..ReloadOptions::CHANGE };
    /// For an operator who asks for an earlier generation.
    pub(super) const ROLLBACK: ReloadOptions = ReloadOptions { rollback: true, ..ReloadOptions::RENEW };
    /// For the host, which could not load the module before.
    pub(super) const RETRY: ReloadOptions = ReloadOptions { retry: true, ..ReloadOptions::CHANGE };

    pub(super) fn or(self, other: ReloadOptions) -> ReloadOptions {
        ReloadOptions {
            renew: self.renew || other.renew,
            force: self.force || other.force,
            retry: self.retry && other.retry,
            rollback: self.rollback || other.rollback,
        }
    }

    /// Why a module is reloaded, for the log.
    pub(super) fn cause(self) -> &'static str {
        match self {
            ReloadOptions { rollback: true, .. } => "the operator asked for a rollback",
            ReloadOptions { renew: true, .. } => "a reload was requested",
            ReloadOptions { retry: true, .. } => "the host tried again to load the module's files",
            _ => "the module's files or settings changed",
        }
    }
}

/// The reloads that have not started, at most one for each module.
#[derive(Default)]
pub(super) struct PendingReloads {
    pub(super) by_module: Mutex<HashMap<String, PendingReload>>,
    /// How many reloads guests have requested.
    pub(super) guest_requests: AtomicU64,
    /// How often this node was asked to catch up with the others, since it last had.
    pub(super) catch_ups: AtomicU64,
    /// The modules that the host loads again by itself, at most one task for each.
    pub(super) retries: Mutex<HashMap<String, RetryState>>,
    /// The modules that were rejected because a middleware was missing, in them or in others, each
    /// with the modules whose change may mend that.
    pub(super) needed: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

pub(super) struct RetryState {
    /// The delay before the next attempt.
    pub(super) delay: Duration,
    /// Whether a task waits for this delay.
    pub(super) waits: bool,
}

pub(super) struct PendingReload {
    pub(super) options: ReloadOptions,
    /// How many requests share this reload.
    pub(super) requests: u64,
    pub(super) result: Shared<BoxFuture<'static, ReloadResult>>,
}

/// The task that will run a pending reload. If the task ends early, dropping this removes the
/// reload, and the state of a module that only this reload would have loaded.
pub(super) struct Claim<'a> {
    pub(super) pending: &'a PendingReloads,
    pub(super) roster: &'a Roster,
    pub(super) module: &'a str,
    pub(super) started: bool,
}

impl Claim<'_> {
    /// The merged options of all requests so far, and their number.
    pub(super) fn requested(&self) -> (ReloadOptions, u64) {
        let pending = self.pending.by_module.lock();
        pending.get(self.module).map_or((ReloadOptions::CHANGE, 0), |reload| (reload.options, reload.requests))
    }

    /// Starts the reload: later requests get the next one. Returns `false` when a request arrived
    /// after the `requests` that were read; the reload then starts only if it `must`.
    pub(super) fn start(&mut self, requests: u64, must: bool) -> bool {
        let mut pending = self.pending.by_module.lock();
        let up_to_date = pending.get(self.module).is_none_or(|reload| reload.requests == requests);
        self.started = up_to_date || must;
        if self.started {
            pending.remove(self.module);
        }
        up_to_date
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.started {
            let mut pending = self.pending.by_module.lock();
            pending.remove(self.module);
            self.roster.abandon(self.module);
        }
    }
}
