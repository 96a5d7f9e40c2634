//! Loads modules again that the host could not load for a reason outside of the module: a full
//! disk, or no process or thread.

use std::sync::Arc;
use std::time::Duration;

use super::error::SwapError;
use super::pending::{ReloadOptions, RetryState};
use super::swapper::Swapper;

/// The first delay. Each one is twice as long as the previous one.
const FIRST: Duration = Duration::from_secs(1);

/// The longest delay.
const LONGEST: Duration = Duration::from_secs(60);

impl Swapper {
    /// Loads a module again later if its load has failed for such a reason.
    pub(super) fn retry_after(self: &Arc<Swapper>, module: &str, error: Option<&SwapError>) {
        let mut retries = self.pending.retries.lock();
        let Some(error) = error.filter(|error| error.is_transient()) else {
            retries.remove(module);
            return;
        };
        let state = retries.entry(module.to_owned()).or_insert(RetryState { delay: FIRST, waits: false });
        if std::mem::replace(&mut state.waits, true) {
            return;
        }
        let delay = state.delay;
        state.delay = (delay * 2).min(LONGEST);
        drop(retries);
        if delay == FIRST {
            tracing::warn!(%module, "the host tries to load the module again until it succeeds: {error}");
        }
        let (swapper, name, stop) = (self.clone(), module.to_owned(), self.services.stop.clone());
        let retry = async move {
            tokio::time::sleep(delay).await;
            let waited = swapper.pending.retries.lock().get_mut(&name).map(|state| std::mem::take(&mut state.waits));
            // The module may have been loaded meanwhile.
            if waited == Some(true) {
                drop(swapper.reload(&name, ReloadOptions::RETRY));
            }
        };
        self.runtime.spawn(stop.run_until_cancelled_owned(retry));
    }
}
