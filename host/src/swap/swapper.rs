//! [`Swapper`]: loads modules and swaps them. Its methods are in the other files of this folder.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::embedded::EmbeddedModules;
use super::error::SwapError;
use super::installed::ModuleLocks;
use super::kill_turns::KillTurns;
use super::outcome::{ReloadCounters, ReloadResult};
use super::pending::PendingReloads;
use super::progress::Progress;
use crate::blocking::run_blocking;
use crate::config::{Config, FILE_NAME};
use crate::dispatch::Dispatch;
use crate::document::Faults;
use crate::isolate::{GuestLinker, Services};
use crate::ports::Rollouts;
use crate::registry::{GenerationStore, Loader, Roster};

/// How many components of `engine.maxComponent` bytes reloads may have in memory together.
pub(super) const MAX_COMPONENTS: usize = 4;

/// Permits that stand for the memory of one such component. A reload keeps as many as its component
/// needs, so that small modules with slow startups leave memory for other reloads.
pub(super) const MEMORY_PARTS: u32 = 64;

/// The time between two checks of a condition that a swap waits for.
pub(super) const POLL: Duration = Duration::from_millis(1);

/// Loads modules and swaps them. No module waits for the startups of another one. Reloads that have
/// to compile take turns; a reload that need not compile does not wait for them.
pub struct Swapper {
    /// The settings at the start of the host.
    pub config: Arc<Config>,
    /// The settings with the keys that changed while the host runs: see [`Config::reread`].
    pub(super) live_config: ArcSwap<Config>,
    pub loader: Loader,
    pub linker: GuestLinker,
    pub dispatch: Arc<Dispatch>,
    pub roster: Arc<Roster>,
    pub services: Arc<Services>,
    pub progress: Arc<dyn Progress>,
    /// The other nodes, which change a module one after another.
    pub(super) rollouts: Arc<dyn Rollouts>,
    pub(super) kept: GenerationStore,
    pub(super) embedded: EmbeddedModules,
    /// Whether a task is retrying to save pins.
    pub(super) saving_pins: AtomicBool,
    pub(super) weak: Weak<Swapper>,
    /// Runs all reloads, so that they outlive the task that requested them.
    pub(super) runtime: Handle,
    pub(super) pending: PendingReloads,
    pub counters: ReloadCounters,
    pub(super) locks: ModuleLocks,
    pub(super) kill_turns: KillTurns,
    /// The memory for components that reloads read, load or start.
    pub(super) memory: Semaphore,
    /// The permit to compile. Reloads compile one at a time.
    pub(super) compiling: Semaphore,
    /// Held while `fanfare.json` is read again.
    reading: Mutex<()>,
    /// Set while `fanfare dev` builds modules.
    builder: OnceLock<BuiltByDev>,
}

/// Whether `fanfare dev` builds a module.
type BuiltByDev = Box<dyn Fn(&Path) -> bool + Send + Sync>;

impl Swapper {
    /// Must be called on the runtime that is to run the reloads.
    pub fn new(
        config: Arc<Config>,
        loader: Loader,
        linker: GuestLinker,
        dispatch: Arc<Dispatch>,
        services: Arc<Services>,
        progress: Arc<dyn Progress>,
        rollouts: Arc<dyn Rollouts>,
    ) -> Arc<Swapper> {
        let roster = dispatch.roster().clone();
        Arc::new_cyclic(|weak| Swapper {
            weak: weak.clone(),
            live_config: ArcSwap::from(config.clone()),
            kept: GenerationStore::new(&config.state_dir),
            embedded: EmbeddedModules::default(),
            saving_pins: AtomicBool::new(false),
            config,
            loader,
            linker,
            dispatch,
            roster,
            services,
            progress,
            rollouts,
            runtime: Handle::current(),
            pending: PendingReloads::default(),
            counters: ReloadCounters::default(),
            locks: ModuleLocks::default(),
            kill_turns: KillTurns::default(),
            memory: Semaphore::new(MAX_COMPONENTS * MEMORY_PARTS as usize),
            compiling: Semaphore::new(1),
            reading: Mutex::new(()),
            builder: OnceLock::new(),
        })
    }

    /// Lets `fanfare dev` reload the modules that it builds, which `is_built` tells by their
    /// folders. A manifest that changes together with the code does not fit the previous component,
    /// so the watcher leaves its changes to `fanfare dev`. No swap starts a canary, because it
    /// would delay what the author has saved.
    pub fn set_builder(&self, is_built: impl Fn(&Path) -> bool + Send + Sync + 'static) {
        // Only `fanfare dev` calls this, once.
        let _ = self.builder.set(Box::new(is_built));
    }

    pub(super) fn has_builder(&self) -> bool {
        self.builder.get().is_some()
    }

    /// Whether `fanfare dev` builds and then reloads the module in a folder.
    pub(super) fn is_built(&self, dir: &Path) -> bool {
        self.builder.get().is_some_and(|is_built| is_built(dir))
    }

    /// Runs a reload until it ends or the host stops, and counts the result.
    pub(super) async fn until_stop(&self, work: impl Future<Output = ReloadResult>) -> ReloadResult {
        let result = tokio::select! {
            biased;
            () = self.services.stop.cancelled() => Err(SwapError::Stopping),
            result = work => result,
        };
        self.counters.count(&result);
        result
    }

    /// Reads `fanfare.json` again and applies it to later reloads. Returns the changed keys that
    /// need a restart. If the file has faults, the previous settings stay in effect.
    pub async fn reconfigure(self: &Arc<Swapper>) -> Result<Vec<String>, Faults> {
        let swapper = self.clone();
        run_blocking(move || swapper.reread()).await
    }

    fn reread(&self) -> Result<Vec<String>, Faults> {
        // Settings that were read earlier never replace later ones.
        let _reading = self.reading.lock();
        let reread = self.config.reread(self.live_config.load().file.as_deref());
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
            tracing::warn!("changed settings that take effect after a restart: {}", restart.join(", "));
        }
        self.set_missing_modules(&config);
        self.live_config.store(Arc::new(config));
        Ok(restart)
    }
}
