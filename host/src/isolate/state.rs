//! What a store holds besides the guest.

use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::cpu::{Cpu, charge_calls};
use super::limits::Taken;
use super::logs::{Level, Log, Output};
use super::running::Running;
use super::services::{NodeFacts, Services};
use super::wasi_http::{WasiHttp, most_resources};
use crate::call::{Context, IsolateId};
use crate::config::{Capabilities, Limits};
use crate::engine::{Engine, NoSpace, Reserved};
use crate::ports::{Caller, Ports};
use crate::registry::Generation;

/// The most random bytes of one call: as many as are made well within a tick.
const RANDOM: u64 = 1 << 20;

/// The host's side of one store.
pub struct State {
    wasi: WasiCtx,
    http: WasiHttp,
    table: ResourceTable,
    pub taken: Taken,
    pub cpu: Cpu,
    pub guest: Arc<Guest>,
    /// The room of its memories, given back with the store.
    _space: Reserved,
}

/// What the imports of one instance know of it.
pub struct Guest {
    /// Copies of its own, so that instances do not count in one place.
    module: Arc<str>,
    capabilities: Arc<Capabilities>,
    pub generation: Arc<Generation>,
    pub isolate: IsolateId,
    pub node: Arc<NodeFacts>,
    pub ports: Ports,
    pub running: Arc<Running>,
    pub log: Log,
    /// A place for each import that waits.
    pub waiting: Arc<Semaphore>,
}

impl State {
    fn new(guest: Arc<Guest>, engine: &Engine, space: Reserved) -> State {
        let limits = &guest.generation.limits;
        let output = |level, stream| Output::new(guest.log.clone(), guest.running.clone(), level, stream);
        let wasi = WasiCtxBuilder::new()
            .stdout(output(Level::Info, "stdout"))
            .stderr(output(Level::Warn, "stderr"))
            .max_random_size(RANDOM)
            // Else a socket that may do nothing is a descriptor of the host all the same.
            .allow_tcp(false)
            .allow_udp(false)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(most_resources(limits));
        State {
            wasi,
            http: WasiHttp::new(),
            table,
            taken: Taken::new(limits),
            cpu: Cpu::new(limits.cpu, engine.tick(), engine.ticks().clone()),
            guest,
            _space: space,
        }
    }
}

/// A store for one instance, with all its limits on; else why there is no room for its memories.
pub fn store(
    services: &Services,
    generation: &Arc<Generation>,
    isolate: IsolateId,
    running: Arc<Running>,
    log: Log,
) -> Result<wasmtime::Store<State>, NoSpace> {
    let space = services.engine.space().reserve(1, generation.weight.memories, generation.weight.bytes)?;
    let guest = Guest {
        module: generation.module.as_ref().into(),
        capabilities: Arc::new(Capabilities::clone(&generation.capabilities)),
        generation: generation.clone(),
        isolate,
        node: services.node.clone(),
        ports: services.ports.clone(),
        running,
        log,
        waiting: Arc::new(Semaphore::new(generation.limits.background as usize)),
    };
    let state = State::new(Arc::new(guest), &services.engine, space);
    let mut store = wasmtime::Store::new(services.engine.wasmtime(), state);
    set_limits(&mut store, &generation.limits);
    Ok(store)
}

/// Puts all limits on a new store.
fn set_limits(store: &mut wasmtime::Store<State>, limits: &Limits) {
    store.limiter(|state| &mut state.taken);
    store.set_hostcall_fuel(usize::try_from(limits.hostcall_fuel).unwrap_or(usize::MAX));
    store.set_max_component_handles(limits.handles as usize);
    charge_calls(store, |state| &mut state.cpu);
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.http.view(&mut self.table)
    }
}

impl Guest {
    /// Who acts when a guest says that it acts for call `id`.
    pub fn caller(&self, id: Option<u64>) -> Caller {
        let generation = &self.generation;
        Caller {
            module: self.module.clone(),
            isolate: self.isolate,
            capabilities: self.capabilities.clone(),
            default_timeout: generation.limits.timeout,
            max_payload: generation.limits.payload,
            context: id.and_then(|id| self.running.context(id)),
        }
    }

    pub fn context(&self, id: Option<u64>) -> Option<Arc<Context>> {
        id.and_then(|id| self.running.context(id))
    }
}
