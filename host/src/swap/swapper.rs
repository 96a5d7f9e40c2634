//! The object that loads modules and swaps them. Its work is in the files beside this one.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::error::SwapError;
use super::holding::ModuleLocks;
use super::outcome::{Ended, Ends};
use super::progress::Progress;
use super::request::Requests;
use crate::config::{Config, FILE_NAME};
use crate::dispatch::Dispatch;
use crate::document::Faults;
use crate::isolate::{GuestLinker, Services};
use crate::registry::{Kept, Loader, Roster};

/// Components of `engine.maxComponent` that reloads hold in memory together.
pub(super) const ROOM: usize = 4;

/// The parts of the room for one such component. A reload keeps those that its own component needs,
/// so that startups of small modules that wait for long leave room for the reloads of others.
pub(super) const PARTS: u32 = 64;

/// How often something that is waited for is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(1);

/// Loads modules and swaps them. Each module on its own: no module waits for another one's
/// compiling or startups.
pub struct Swapper {
    /// As it was at the start.
    pub config: Arc<Config>,
    /// The same with what is taken up while the host runs: see [`Config::reread`].
    pub(super) live: ArcSwap<Config>,
    pub loader: Loader,
    pub linker: GuestLinker,
    pub dispatch: Arc<Dispatch>,
    pub roster: Arc<Roster>,
    pub services: Arc<Services>,
    pub progress: Arc<dyn Progress>,
    pub(super) kept: Kept,
    /// Whether a task is trying to write pins that could not be written.
    pub(super) saves_pins: AtomicBool,
    pub(super) me: Weak<Swapper>,
    /// Runs reloads, whether a file, an operator or a guest requests them.
    pub(super) runtime: Handle,
    pub(super) requests: Requests,
    pub ends: Ends,
    pub(super) locks: ModuleLocks,
    /// Room for the components that reloads hold in memory while they read, load or start a module.
    pub(super) room: Semaphore,
    /// The reload that compiles.
    pub(super) compiling: Semaphore,
}

impl Swapper {
    /// To be made on the runtime where reloads are to run.
    pub fn new(
        config: Arc<Config>,
        loader: Loader,
        linker: GuestLinker,
        dispatch: Arc<Dispatch>,
        services: Arc<Services>,
        progress: Arc<dyn Progress>,
    ) -> Arc<Swapper> {
        let roster = dispatch.roster().clone();
        Arc::new_cyclic(|me| Swapper {
            me: me.clone(),
            live: ArcSwap::from(config.clone()),
            kept: Kept::new(&config.state_dir),
            saves_pins: AtomicBool::new(false),
            config,
            loader,
            linker,
            dispatch,
            roster,
            services,
            progress,
            runtime: Handle::current(),
            requests: Requests::default(),
            ends: Ends::default(),
            locks: ModuleLocks::default(),
            room: Semaphore::new(ROOM * PARTS as usize),
            compiling: Semaphore::new(1),
        })
    }

    /// Does something that ends, wherever it is, when the host stops, and counts how.
    pub(super) async fn until_stop(&self, work: impl Future<Output = Ended>) -> Ended {
        let ended = tokio::select! {
            biased;
            () = self.services.stop.cancelled() => Err(SwapError::Stopping),
            ended = work => ended,
        };
        self.ends.count(&ended);
        ended
    }

    /// Reads `fanfare.json` again, for whatever is loaded from now on. Answers the keys that have changed and wait for a restart;
    /// faults leave everything as it was.
    pub fn reconfigure(&self) -> Result<Vec<String>, Faults> {
        let reread = self.config.reread(self.live.load().file.as_deref());
        let notice = reread.as_ref().err().map(|faults| format!("the previous settings stay in effect: {faults}"));
        if self.roster.set_notice(FILE_NAME, notice.clone())
            && let Some(notice) = notice
        {
            tracing::error!("{notice}");
        }
        let (config, restart) = reread?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        if !restart.is_empty() {
            tracing::warn!("not taken up before a restart: {}", restart.join(", "));
        }
        self.live.store(Arc::new(config));
        Ok(restart)
    }
}
