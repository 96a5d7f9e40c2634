//! Taking up another generation of a module while it serves: prepare, hold, then switch or release.
//!
//! Everyone serves while the next generation is loaded and its startups run. Then a mark goes into every mailbox: calls that come
//! after it wait, none is refused. State goes over, and every worker switches between the same two broadcasts; or, when
//! anything fails in any of them, all go on as they were.

mod load;
mod progress;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

pub use load::load;
pub use progress::{Compiling, Logged, Progress, Turn};

use crate::call::Payload;
use crate::config::{Config, SwapConfig};
use crate::dispatch::Dispatch;
use crate::isolate::{Environment, Former, GuestLinker, Old, Prepared, Program, Slot};
use crate::registry::manifest::{self, Found};
use crate::registry::{Generation, Loader, ModuleState, Roster};

/// Generations of a module that may drain at once; a further swap waits.
const DRAINING: usize = 2;

/// How often a held module is looked at.
const LOOK: Duration = Duration::from_millis(1);

/// Loads modules and swaps them. One module at a time.
pub struct Swapper {
    pub config: Arc<Config>,
    pub loader: Loader,
    pub linker: GuestLinker,
    pub dispatch: Arc<Dispatch>,
    pub roster: Arc<Roster>,
    pub environment: Arc<Environment>,
    pub progress: Arc<dyn Progress>,
    /// What still drains, by module, oldest first.
    draining: Mutex<HashMap<String, Vec<JoinHandle<()>>>>,
}

/// What a reload came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swapped {
    /// It is served for the first time.
    Started { generation: String },
    /// Every worker runs new instances. `running` calls went on in the old ones when their state was saved.
    Renewed { generation: String, from: String, running: usize },
}

/// Why a module is not reloaded. What served before serves on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwapError {
    #[error("there is no folder of the name {0} in modulesDir")]
    NotFound(String),
    #[error("{0}")]
    Refused(String),
}

impl Swapper {
    pub fn new(
        config: Arc<Config>,
        loader: Loader,
        linker: GuestLinker,
        dispatch: Arc<Dispatch>,
        environment: Arc<Environment>,
        progress: Arc<dyn Progress>,
    ) -> Swapper {
        let roster = dispatch.roster().clone();
        Swapper { config, loader, linker, dispatch, roster, environment, progress, draining: Mutex::default() }
    }

    /// Reads a module's folder again, and lets what is there take over in every worker.
    pub async fn reload(&self, module: &str) -> Result<Swapped, SwapError> {
        let mut draining = self.draining.lock().await;
        let loaded = self.program(module).await;
        let held = match self.roster.states().get(module) {
            Some(ModuleState::Held(generation)) => Some(generation.clone()),
            _ => None,
        };
        let program = Arc::new(loaded.inspect_err(|error| match (&held, error) {
            // What is held is served on.
            (Some(_), _) | (None, SwapError::NotFound(_)) => {}
            (None, SwapError::Refused(why)) => self.roster.set(module, ModuleState::Refused(why.clone())),
        })?);
        let generation = program.generation.short_digest().to_owned();
        let Some(held) = held else {
            self.start(&program).await;
            tracing::info!(%module, %generation, "serves");
            return Ok(Swapped::Started { generation });
        };
        let drains = draining.entry(module.to_owned()).or_default();
        while drains.len() >= DRAINING {
            let oldest = drains.remove(0);
            // A panic there has been reported by itself.
            let _ = oldest.await;
        }
        let begun = Instant::now();
        let (running, drain) = self.swap(&program, &held).await.map_err(SwapError::Refused)?;
        drains.push(drain);
        let from = held.short_digest().to_owned();
        self.roster.set(module, ModuleState::Held(program.generation.clone()));
        tracing::info!(%module, %generation, %from, took = ?begun.elapsed(), running, "swapped");
        Ok(Swapped::Renewed { generation, from, running })
    }

    async fn program(&self, module: &str) -> Result<Program, SwapError> {
        let folder: PathBuf = self.config.modules_dir.join(module);
        // A name, and no path that leads elsewhere.
        let is_name = module.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !is_name || !folder.join(manifest::FILE_NAME).exists() {
            return Err(SwapError::NotFound(module.to_owned()));
        }
        match manifest::look(&folder).found {
            Found::Refused(error) => Err(SwapError::Refused(error.to_string())),
            Found::Waiting(manifest) => {
                let component = manifest.component.display();
                Err(SwapError::Refused(format!("{component}: the component is not there")))
            }
            Found::Ready(manifest) => {
                let turn = Turn { progress: &*self.progress, place: 1, of: 1 };
                let load = load(*manifest, &self.config, &self.loader, &self.linker, &self.environment, &turn);
                load.await.map_err(SwapError::Refused)
            }
        }
    }

    /// Lets every worker hold a module that none has held, and waits until each has tried.
    pub(super) async fn start(&self, program: &Arc<Program>) {
        for slot in self.hold(program) {
            slot.tried().await;
        }
    }

    /// The same without waiting.
    pub(super) fn hold(&self, program: &Arc<Program>) -> Vec<Arc<Slot>> {
        let workers = self.dispatch.workers();
        // All hold it before one runs, so that a startup already reaches every worker.
        let held: Vec<_> = workers.iter().map(|isolate| isolate.hold(program)).collect();
        self.roster.set(&program.generation.module, ModuleState::Held(program.generation.clone()));
        for (isolate, slot) in workers.iter().zip(&held) {
            isolate.run(slot, program, &self.environment);
        }
        held
    }

    /// Prepares, holds and switches; the error leaves everything as it was. Answers how many calls ran on when their state was
    /// saved, and the end of the old instances.
    async fn swap(&self, program: &Arc<Program>, from: &Generation) -> Result<(usize, JoinHandle<()>), String> {
        let module = &program.generation.module;
        let slots: Vec<_> = self.dispatch.workers().iter().filter_map(|isolate| isolate.slot(module)).collect();
        let mut prepared: Vec<_> = slots.iter().map(|slot| Prepared::start(slot, program, &self.environment)).collect();
        try_join_all(prepared.iter_mut().map(Prepared::ready)).await?;

        let held = Held::new(&self.dispatch, module, &slots);
        self.reach_the_mark(&slots).await?;
        let running = match from.exports.snapshot && program.generation.exports.snapshot {
            true => self.hand_over(&slots, &mut prepared, &from.digest).await?,
            false => 0,
        };
        let former = self.dispatch.between_broadcasts(module, || {
            held.keep();
            prepared.into_iter().map(Prepared::switch).collect::<Vec<_>>()
        });
        let old = join_all(former.into_iter().map(Former::adopted)).await;
        let drain = tokio::spawn(async move {
            join_all(old.into_iter().map(Old::ended)).await;
        });
        Ok((running, drain))
    }

    /// Waits until the broadcasts before the mark have started everywhere, so that each runs in one generation.
    async fn reach_the_mark(&self, slots: &[Arc<Slot>]) -> Result<(), String> {
        let quiesce = self.config.swap.quiesce;
        let reached = until(|| slots.iter().all(|slot| slot.is_past_mark()));
        tokio::time::timeout(quiesce, reached).await.map_err(|_| {
            format!("broadcasts that have started in some workers have not in others within swap.quiesce, {quiesce:?}: reload again")
        })
    }

    /// Lets what runs end, within `swap.quiesce`, then brings each worker's state to its next instance.
    async fn hand_over(&self, slots: &[Arc<Slot>], prepared: &mut [Prepared], from: &str) -> Result<usize, String> {
        let SwapConfig { quiesce, timeout, state } = self.config.swap;
        let quiet = until(|| slots.iter().all(|slot| slot.is_quiet()));
        // What runs on after this may change state that is not handed over: it is counted.
        let _ = tokio::time::timeout(quiesce, quiet).await;
        let running = slots.iter().map(|slot| slot.running()).sum();
        let states = bounded(timeout, "save", try_join_all(slots.iter().map(|slot| save(slot, state)))).await?;
        let loads = prepared.iter_mut().zip(states).filter_map(|(prepared, state)| Some((prepared, state?)));
        let loads = loads.map(|(prepared, state)| prepared.load(from.to_owned(), state));
        bounded(timeout, "load", try_join_all(loads)).await?;
        Ok(running)
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(LOOK).await;
    }
}

async fn save(slot: &Slot, most: u64) -> Result<Option<Payload>, String> {
    // No instance, no state: the next one begins anew.
    let Some(saved) = slot.save().await else { return Ok(None) };
    let state = saved.map_err(|why| format!("{} in {}: save failed: {why}", slot.module, slot.isolate))?;
    match state.len() as u64 > most {
        true => Err(format!(
            "{} in {}: save gave {} bytes: swap.state allows {most}",
            slot.module,
            slot.isolate,
            state.len()
        )),
        false => Ok(Some(state)),
    }
}

async fn bounded<T>(timeout: Duration, what: &str, work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| Err(format!("{what} took longer than swap.timeout, {timeout:?}"));
    tokio::time::timeout(timeout, work).await.unwrap_or_else(late)
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
