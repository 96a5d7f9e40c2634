//! The part that runs guests. Each thread has one isolate, and the isolate has a slot for each
//! module.
//!
//! Dispatch sees a [`Slot`]: its mailbox, its state and its load. The supervisor of the slot
//! (`supervise`) restarts the instance when it ends, and `instance` drives the store of one
//! instance. This part knows nothing of HTTP. Imports reach the parts above through `ports`.

mod adoption;
mod command;
mod convert;
mod cpu;
mod deployment;
mod error;
mod guest_command;
mod guest_http;
mod heartbeat;
mod imports;
mod instance;
mod kill;
mod last_line;
mod limits;
mod logs;
mod mailbox;
mod prepared;
mod program;
mod requests;
mod restarts;
mod running_calls;
mod services;
mod slot;
mod slot_core;
mod slot_state;
mod state;
mod stats;
mod stop_hook;
mod supervise;
mod trap;
mod turn;
mod unfit;
mod wasi_errors;
mod wasi_files;
mod wasi_http;
mod wasi_sockets;
mod when_woken;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use requests::RequestRate;
use state::OneCall;
use supervise::{FirstInstance, Supervisor};
use wasmtime::component::Linker;

pub use deployment::Deployment;
pub use error::{Crash, End, SnapshotError};
pub use heartbeat::{Heartbeat, watch};
pub use kill::{StartGate, end_within};
pub use mailbox::{Lane, QueuedCall};
pub use prepared::{PendingSwitch, Prepared, ReplacedInstance};
pub use program::Program;
pub use services::{Ids, NodeFacts, Probe, Services};
pub use slot::Slot;
pub use slot_state::SlotState;
pub use stats::Stats;
pub use stop_hook::{StopReason, run_stop_hook};

use crate::call::{IsolateId, TriggerKind};
use crate::engine::Engine;

/// The guests of one thread.
pub struct Isolate {
    pub id: IsolateId,
    /// The runtime of the thread.
    runtime: tokio::runtime::Handle,
    pub heartbeat: Heartbeat,
    requests: RequestRate,
    slots: ArcSwap<HashMap<Arc<str>, Arc<Slot>>>,
}

impl Isolate {
    pub fn new(id: IsolateId, runtime: tokio::runtime::Handle) -> Isolate {
        Isolate {
            id,
            runtime,
            heartbeat: Heartbeat::default(),
            requests: RequestRate::default(),
            slots: ArcSwap::default(),
        }
    }

    /// The runtime that drives the guests.
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }

    pub fn slot(&self, module: &str) -> Option<Arc<Slot>> {
        self.slots.load().get(module).cloned()
    }

    /// Returns the slots of all installed modules, sorted by module name.
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        let mut slots: Vec<_> = self.slots.load().values().cloned().collect();
        slots.sort_by(|a, b| a.module.cmp(&b.module));
        slots
    }

    /// The bytes of the linear memories of all instances.
    pub fn memory(&self) -> u64 {
        self.slots.load().values().map(|slot| u64::try_from(slot.stats.memory.get()).unwrap_or(0)).sum()
    }

    /// The number of HTTP requests that the modules have answered here per minute, over the last
    /// one to two intervals of [`Isolate::sample_requests`].
    pub fn requests_per_minute(&self) -> u64 {
        self.requests.per_minute(Instant::now(), self.requests())
    }

    /// Takes a sample for [`Isolate::requests_per_minute`].
    pub fn sample_requests(&self) {
        self.requests.sample(Instant::now(), self.requests());
    }

    fn requests(&self) -> u64 {
        self.slots.load().values().map(|slot| slot.stats.count(TriggerKind::Http)).sum()
    }

    /// Installs a module. Calls and broadcasts wait in its mailbox until [`Isolate::start`] has
    /// started the first instance.
    pub fn install(&self, program: &Arc<Program>, services: &Services) -> Arc<Slot> {
        let slot = self.unlisted_slot(program, services);
        self.list(&slot);
        slot
    }

    /// Creates a slot that no call can reach until [`Isolate::install_prepared`] lists it.
    pub fn unlisted_slot(&self, program: &Arc<Program>, services: &Services) -> Arc<Slot> {
        let stop = services.stop.child_token();
        Arc::new(Slot::new(self.id, self.runtime.clone(), program.clone(), stop))
    }

    fn list(&self, slot: &Arc<Slot>) {
        self.slots.rcu(|slots| {
            let mut slots = HashMap::clone(slots);
            slots.insert(slot.module.clone(), slot.clone());
            slots
        });
    }

    /// Removes a module. Its slot runs the calls that wait in the mailbox, then ends.
    pub fn remove(&self, module: &str) {
        if let Some(slot) = self.slot(module) {
            self.slots.rcu(|slots| {
                let mut slots = HashMap::clone(slots);
                slots.remove(module);
                slots
            });
            slot.retire();
        }
    }

    /// Starts the first instance of an installed module.
    pub fn start(&self, slot: &Arc<Slot>, services: &Arc<Services>) {
        self.supervise(slot, services, FirstInstance::Spawned);
    }

    /// Installs a module whose first instance a swap has prepared in an
    /// [unlisted slot](Isolate::unlisted_slot).
    pub fn install_prepared(&self, slot: &Arc<Slot>, services: &Arc<Services>) {
        self.list(slot);
        self.supervise(slot, services, FirstInstance::Adopted);
    }

    fn supervise(&self, slot: &Arc<Slot>, services: &Arc<Services>, first: FirstInstance) {
        let Some(requests) = slot.requests() else { return };
        let supervisor = Supervisor::new(slot.clone(), services.clone(), requests);
        services.tasks.spawn_on(supervisor.run(first), &self.runtime);
    }
}

/// Returns a linker with every import that the host implements.
pub fn linker(engine: &Engine) -> wasmtime::Result<Linker<state::State>> {
    imports::linker(engine.wasmtime())
}

/// Runs [`Program::check`] in a store of its own, for at most `limits.startup`.
pub async fn check(program: &Program, services: &Services) -> Result<Option<Vec<String>>, Crash> {
    let generation = &program.generation;
    let stats = Arc::new(Stats::new(generation.module.clone(), IsolateId::Master));
    let running = Arc::new(running_calls::RunningCalls::new(stats.clone(), Arc::default()));
    let log = deployment::log(generation, IsolateId::Master, &stats);
    let cost = &generation.cost;
    // Every isolate is about to create an instance in addition to those that serve, so the whole
    // reload fails here when there is no room for all of them.
    let places = services.node.places(generation.places());
    let space = services.engine.space();
    drop(space.reserve(places, cost.memories, cost.bytes)?);
    let once = OneCall::default();
    let mut store = state::new_store(services, generation, &program.folders, IsolateId::Master, running, log, once)?;
    let ticks = services.engine.ticks().clone();
    let startup = generation.limits.startup;
    match tokio::time::timeout(startup, cpu::metered(ticks, program.check(&mut store))).await {
        Ok(Ok(names)) => Ok(names),
        Ok(Err(error)) => Err(trap::crash(&error, store.data(), &generation.limits)),
        Err(_) => Err(Crash::SlowInstantiation(startup)),
    }
}

/// The linker that [`Program::link`] uses.
pub type GuestLinker = Linker<state::State>;
