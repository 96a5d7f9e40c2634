//! Where guests live: one isolate a thread, and in it a slot for each module.
//!
//! [`Slot`] is what dispatch sees: a mailbox, a state, a load. `supervise` keeps an instance behind it. `instance`
//! drives one store. Knows nothing of HTTP; what guests import reaches up through `ports`.

mod adoption;
mod bell;
mod convert;
mod cpu;
mod deployment;
mod error;
mod heartbeat;
mod imports;
mod instance;
mod intake;
mod limits;
mod logs;
mod mailbox;
mod prepared;
mod program;
mod running;
mod services;
mod slot;
mod state;
mod stats;
mod supervise;
mod trap;
mod turn;
mod wasi_http;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use supervise::{First, Supervisor};
use wasmtime::component::Linker;

pub use error::{Crash, End, SnapshotError};
pub use heartbeat::{Heartbeat, watch};
pub use mailbox::{Lane, Queued};
pub use prepared::{Former, Old, Prepared};
pub use program::Program;
pub use services::{Ids, NodeFacts, Probe, Services};
pub use slot::{Slot, SlotState};
pub use stats::Stats;

use crate::call::IsolateId;
use crate::engine::Engine;

/// One thread's guests.
pub struct Isolate {
    pub id: IsolateId,
    /// The runtime of its thread.
    runtime: tokio::runtime::Handle,
    pub heartbeat: Heartbeat,
    slots: ArcSwap<HashMap<Arc<str>, Arc<Slot>>>,
}

impl Isolate {
    pub fn new(id: IsolateId, runtime: tokio::runtime::Handle) -> Isolate {
        Isolate { id, runtime, heartbeat: Heartbeat::default(), slots: ArcSwap::default() }
    }

    /// Where its guests run.
    pub fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }

    pub fn slot(&self, module: &str) -> Option<Arc<Slot>> {
        self.slots.load().get(module).cloned()
    }

    /// All its modules, by name.
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        let mut slots: Vec<_> = self.slots.load().values().cloned().collect();
        slots.sort_by(|a, b| a.module.cmp(&b.module));
        slots
    }

    /// Takes a module in: from now on calls and broadcasts wait for its first instance, see [`Isolate::run`].
    pub fn hold(&self, program: &Program, services: &Services) -> Arc<Slot> {
        let slot = self.vacant(program, services);
        self.list(&slot);
        slot
    }

    /// A slot that no call can reach before [`Isolate::join`].
    pub fn vacant(&self, program: &Program, services: &Services) -> Arc<Slot> {
        let stop = services.stop.child_token();
        Arc::new(Slot::new(self.id, self.runtime.clone(), program.generation.clone(), stop))
    }

    fn list(&self, slot: &Arc<Slot>) {
        self.slots.rcu(|slots| {
            let mut slots = HashMap::clone(slots);
            slots.insert(slot.module.clone(), slot.clone());
            slots
        });
    }

    /// Holds a module no longer: what is in its mailbox is run out, then it ends.
    pub fn let_go(&self, module: &str) {
        if let Some(slot) = self.slot(module) {
            self.slots.rcu(|slots| {
                let mut slots = HashMap::clone(slots);
                slots.remove(module);
                slots
            });
            slot.retire();
        }
    }

    /// Starts the first instance of a module that it holds.
    pub fn run(&self, slot: &Arc<Slot>, program: &Arc<Program>, services: &Arc<Services>) {
        self.supervise(slot, program, services, First::Made);
    }

    /// Takes a module in whose first instance a swap has put into the [`vacant`](Isolate::vacant) slot.
    pub fn join(&self, slot: &Arc<Slot>, program: &Arc<Program>, services: &Arc<Services>) {
        self.list(slot);
        self.supervise(slot, program, services, First::Adopted);
    }

    fn supervise(&self, slot: &Arc<Slot>, program: &Arc<Program>, services: &Arc<Services>, first: First) {
        let Some(adoptions) = slot.adoptions() else { return };
        let supervisor = Supervisor::new(slot.clone(), program.clone(), services.clone(), adoptions);
        services.tasks.spawn_on(supervisor.run(first), &self.runtime);
    }
}

/// Everything that components can be linked with.
pub fn linker(engine: &Engine) -> wasmtime::Result<Linker<state::State>> {
    imports::linker(engine)
}

/// See [`Program::check`]; within `limits.startup`.
pub async fn check(program: &Program, services: &Services) -> Result<Option<Vec<String>>, Crash> {
    let generation = &program.generation;
    let stats = Arc::new(Stats::new(generation.module.clone(), IsolateId::Master));
    let running = Arc::new(running::Running::new(stats.clone(), Arc::default()));
    let log = deployment::log(generation, IsolateId::Master, &stats);
    let weight = &generation.weight;
    // Every place is about to make one, beside those that serve.
    let places = services.node.places(generation.places());
    let space = services.engine.space();
    drop(space.reserve(places, weight.memories, weight.bytes)?);
    let mut store = state::store(services, generation, IsolateId::Master, running, log)?;
    let ticks = services.engine.ticks().clone();
    match tokio::time::timeout(generation.limits.startup, cpu::in_turns(ticks, program.check(&mut store))).await {
        Ok(Ok(names)) => Ok(names),
        Ok(Err(error)) => Err(Crash::Trap(trap::describe(&error, store.data(), &generation.limits))),
        Err(_) => Err(Crash::SlowInstantiation),
    }
}

/// A linker for [`Program::link`].
pub type GuestLinker = Linker<state::State>;
