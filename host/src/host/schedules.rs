//! The schedules of the modules: what the scheduler sees of them, and the methods for embedders.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::RunningHost;
use crate::api::ScheduleStatus;
use crate::call::{CallEnd, CallError, CallOptions, GatherEntry, Payload, RunCall};
use crate::dispatch::Dispatch;
use crate::triggers::schedules::{ByHand, InstalledSchedules, ScheduleBackend, WorkerState};

/// The modules of the workers.
pub(super) struct WorkerModules(pub Arc<Dispatch>);

impl ScheduleBackend for WorkerModules {
    fn changes(&self) -> watch::Receiver<u64> {
        self.0.roster().changes()
    }

    fn installed(&self) -> Vec<InstalledSchedules> {
        let installed = self.0.roster().installed().into_iter();
        let schedules = installed.map(|generation| InstalledSchedules {
            module: generation.module.clone(),
            schedules: generation.schedules.clone(),
        });
        schedules.collect()
    }

    fn workers(&self, module: &str, name: &str) -> Vec<WorkerState> {
        let slots = self.0.scheduled_slots(module, name).into_iter();
        let state = |slot: Arc<crate::isolate::Slot>| {
            let worker = slot.isolate.worker()?;
            Some(WorkerState { worker, ready: slot.is_ready(), failed: slot.failed().is_some() })
        };
        slots.filter_map(state).collect()
    }

    fn run(&self, module: &str, run: RunCall) -> BoxFuture<'static, CallEnd> {
        self.0.run_schedule(module, run).boxed()
    }

    fn missing(&self, module: &str) -> CallError {
        self.0.missing(module)
    }
}

impl RunningHost {
    /// Returns the schedules of all modules, as `fanfare schedules` shows them.
    ///
    /// ```no_run
    /// # fn run(host: fanfare::RunningHost) {
    /// for schedule in host.schedules() {
    ///     println!("{}:{} is due next at {:?}", schedule.module, schedule.name, schedule.next);
    /// }
    /// # }
    /// ```
    pub fn schedules(&self) -> Vec<ScheduleStatus> {
        self.schedules.status()
    }

    /// Runs a schedule of a module now, even if it is disabled, and waits for it. Returns one
    /// entry, or one for each worker if the schedule has the type `all`. Without a payload, the run
    /// gets the `data` of the schedule. `options` may name a subdomain of
    /// `modules.<module>.subdomains` that has the schedule.
    ///
    /// Each run has as much time as `limits.timeout` of the module allows, or `options.timeout` if
    /// that is less.
    ///
    /// Fails with [`CallError::NotFound`] without such a module or schedule, and with
    /// [`CallError::Unavailable`] while the module does not serve or the host stops.
    ///
    /// ```no_run
    /// # async fn run(host: fanfare::RunningHost) -> Result<(), fanfare::CallError> {
    /// use fanfare::CallOptions;
    ///
    /// for entry in host.run_schedule("ticker", "tick", (), CallOptions::default()).await? {
    ///     println!("{}: {}", entry.isolate, entry.outcome.is_ok());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run_schedule(
        &self,
        module: &str,
        name: &str,
        payload: impl Into<Payload>,
        options: CallOptions,
    ) -> Result<Vec<GatherEntry>, CallError> {
        self.check_running()?;
        let timeout = options.timeout.unwrap_or(self.swapper.config.limits.max.timeout);
        let subdomain = options.subdomain.as_deref();
        let by_hand = ByHand { module, name, subdomain, payload: payload.into(), timeout };
        self.schedules.run_by_hand(by_hand).await.map(|(_, entries)| entries)
    }
}
