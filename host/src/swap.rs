//! Taking up another generation of a module while it serves.
//!
//! [`Swapper::reload`] is what a changed file, the operator and a guest all ask for. `requests` lets those who ask at once share a
//! run, `run` decides what is to be done, `switch` does it: prepare, hold, then switch or release. `watch` asks when a file
//! has changed, `disk` reads, `canary` puts a generation on trial. `union` says in which isolates a swap takes place.

mod canary;
mod disk;
mod error;
mod load;
mod outcome;
mod place;
mod progress;
mod requests;
mod rollback;
mod run;
mod switch;
mod union;
mod watch;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub use error::{ModuleError, SwapError};
pub use load::load;
pub use outcome::{Ended, Ends};
use place::Places;
pub use progress::{Compiling, Logged, Progress, Turn};
pub use requests::Want;
pub use watch::Watcher;

use crate::config::{Config, FILE_NAME};
use crate::dispatch::Dispatch;
use crate::document::Faults;
use crate::isolate::{Environment, GuestLinker, Program};
use crate::registry::{Kept, Loader, Roster};

/// Generations of a module that may drain at once; a further swap waits.
const DRAINING: usize = 2;

/// Components of `engine.maxComponent` that reloads hold in memory together.
const ROOM: usize = 4;

/// The parts of the room for one such component. A reload keeps those that its own component needs,
/// so that startups of small modules that wait for long leave room for the reloads of others.
const PARTS: u32 = 64;

/// How often something that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// Loads modules and swaps them. Each module on its own: no module waits for another one's
/// compiling or startups.
pub struct Swapper {
    /// As it was at the start.
    pub config: Arc<Config>,
    /// The same with what is taken up while the host runs: see [`Config::reread`].
    live: ArcSwap<Config>,
    pub loader: Loader,
    pub linker: GuestLinker,
    pub dispatch: Arc<Dispatch>,
    pub roster: Arc<Roster>,
    pub environment: Arc<Environment>,
    pub progress: Arc<dyn Progress>,
    kept: Kept,
    /// Whether a task is trying to write pins that could not be written.
    saves_pins: AtomicBool,
    me: Weak<Swapper>,
    /// Where reloads run, whoever asks for them.
    runtime: Handle,
    requests: requests::Requests,
    pub ends: Ends,
    places: Places,
    /// Room for the components that reloads hold in memory while they read, load or start a module.
    room: Semaphore,
    /// The reload that compiles.
    compiling: Semaphore,
}

/// A module that the workers hold.
struct Holding {
    program: Arc<Program>,
    /// What still drains.
    draining: Vec<JoinHandle<()>>,
    canary: Option<canary::Canary>,
}

impl Holding {
    fn new(program: Arc<Program>) -> Holding {
        Holding { program, draining: Vec::new(), canary: None }
    }

    /// Whether the module cannot be swapped before something has ended.
    fn too_many(&mut self) -> bool {
        self.draining.retain(|drain| !drain.is_finished());
        self.draining.len() >= DRAINING
    }
}

impl Swapper {
    /// To be made on the runtime where reloads are to run.
    pub fn new(
        config: Arc<Config>,
        loader: Loader,
        linker: GuestLinker,
        dispatch: Arc<Dispatch>,
        environment: Arc<Environment>,
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
            environment,
            progress,
            runtime: Handle::current(),
            requests: requests::Requests::default(),
            ends: Ends::default(),
            places: Places::default(),
            room: Semaphore::new(ROOM * PARTS as usize),
            compiling: Semaphore::new(1),
        })
    }

    /// Does something that ends, wherever it is, when the host stops, and counts how.
    async fn until_stop(&self, work: impl Future<Output = Ended>) -> Ended {
        let ended = tokio::select! {
            biased;
            () = self.environment.stop.cancelled() => Err(SwapError::Stopping),
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
