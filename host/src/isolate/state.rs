//! The host's data in a store: WASI, limits, and the facts that imports need.

use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::command::Command;
use super::cpu::{CpuMeter, charge_calls};
use super::limits::{StoreUsage, body_permits};
use super::logs::{Level, Log, Output};
use super::running_calls::RunningCalls;
use super::services::{NodeFacts, Services};
use super::wasi_files::OpenFiles;
use super::wasi_http::{WasiHttp, most_resources};
use super::wasi_sockets::allow_sockets;
use crate::call::{Context, IsolateId};
use crate::config::Limits;
use crate::config::capabilities::Granted;
use crate::engine::{AddressSpaceError, Engine, Place, Reservation};
use crate::ports::{Caller, Ports};
use crate::registry::Generation;

/// The most random bytes of one call. The host generates this number well within a tick.
const RANDOM: u64 = 1 << 20;

/// The host's data in one store.
pub struct State {
    wasi: WasiCtx,
    http: WasiHttp,
    pub(super) table: ResourceTable,
    pub(super) files: OpenFiles,
    pub usage: StoreUsage,
    pub cpu: CpuMeter,
    stderr: Output,
    pub guest: Arc<Guest>,
    /// The address space of the memories, unless the store is in the pool. Dropping the store
    /// releases it.
    space: Option<Reservation>,
}

/// What a store that serves one call has of its own.
#[derive(Default)]
pub struct OneCall<'a> {
    /// The command that it runs.
    pub command: Option<Command>,
    /// Its place in the pool.
    pub place: Option<&'a Place>,
}

/// The facts about one instance that its imports need.
pub struct Guest {
    /// A copy, as are the capabilities, so that instances do not share reference counters.
    module: Arc<str>,
    capabilities: Arc<Granted>,
    pub generation: Arc<Generation>,
    pub isolate: IsolateId,
    pub node: Arc<NodeFacts>,
    pub ports: Ports,
    pub running: Arc<RunningCalls>,
    pub log: Log,
    /// One permit for each import that may wait: `limits.background`.
    pub waiting: Arc<Semaphore>,
    /// The room for the responses that the host reads for the instance.
    pub bodies: Arc<Semaphore>,
}

impl State {
    fn new(
        guest: Arc<Guest>,
        folders: &WasiFilesystemCtx,
        engine: &Engine,
        space: Option<Reservation>,
        development: bool,
        command: Option<Command>,
    ) -> State {
        let limits = &guest.generation.limits;
        let output = |level, stream| Output::new(guest.log.clone(), guest.running.clone(), level, stream);
        let stderr = output(Level::Warn, "stderr");
        let stderr = if development { stderr.keeping_last_line() } else { stderr };
        let mut builder = WasiCtxBuilder::new();
        builder
            .stdout(output(Level::Info, "stdout"))
            .stderr(stderr.clone())
            .max_random_size(RANDOM)
            .envs(&guest.generation.outside.env);
        if let Some(Command { arguments, stdin }) = command {
            builder.args(&arguments).stdin(MemoryInputPipe::new(stdin.into_bytes()));
        }
        allow_sockets(&mut builder, &guest.generation);
        let mut wasi = builder.build();
        folders.clone_into(wasi.filesystem());
        let mut table = ResourceTable::new();
        table.set_max_capacity(most_resources(limits, !guest.generation.outside.folders.is_empty()));
        State {
            wasi,
            http: WasiHttp::new(Some(guest.generation.clone())),
            table,
            files: OpenFiles::new(limits.open_files),
            usage: StoreUsage::new(limits, guest.running.memory(), guest.running.crowded.clone()),
            cpu: CpuMeter::new(limits.cpu, engine.tick(), engine.ticks().clone()),
            stderr,
            guest,
            space,
        }
    }

    /// Whether the store is in the pool.
    pub fn is_pooled(&self) -> bool {
        self.space.is_none()
    }

    /// In development, the last line that the instance wrote to standard error.
    pub fn last_line(&self) -> Option<String> {
        self.stderr.last_line()
    }
}

/// Creates the store of one instance with all limits set. Fails when the node has no address space
/// left for its memories.
pub fn new_store(
    services: &Services,
    generation: &Arc<Generation>,
    folders: &WasiFilesystemCtx,
    isolate: IsolateId,
    running: Arc<RunningCalls>,
    log: Log,
    OneCall { command, place }: OneCall<'_>,
) -> Result<wasmtime::Store<State>, AddressSpaceError> {
    let engine = &services.engine;
    let space = match place {
        Some(_) => None,
        None => Some(engine.space().reserve(1, generation.cost.memories, generation.cost.bytes)?),
    };
    let guest = Guest {
        module: generation.module.as_ref().into(),
        capabilities: Arc::new(Granted::new((*generation.capabilities).clone(), generation.denials.clone())),
        generation: generation.clone(),
        isolate,
        node: services.node.clone(),
        ports: services.ports.clone(),
        running,
        log,
        waiting: Arc::new(Semaphore::new(generation.limits.background as usize)),
        bodies: Arc::new(Semaphore::new(body_permits(generation.limits.memory))),
    };
    let state = State::new(Arc::new(guest), folders, engine, space, services.development, command);
    let mut store = wasmtime::Store::new(place.map_or(engine.wasmtime(), Place::wasmtime), state);
    set_limits(&mut store, &generation.limits);
    Ok(store)
}

fn set_limits(store: &mut wasmtime::Store<State>, limits: &Limits) {
    store.limiter(|state| &mut state.usage);
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
    /// The caller that imports act for when the guest names call `id`.
    pub fn caller(&self, id: Option<u64>) -> Caller {
        let generation = &self.generation;
        Caller {
            module: self.module.clone(),
            isolate: self.isolate,
            capabilities: self.capabilities.clone(),
            default_timeout: generation.limits.timeout,
            max_payload: generation.limits.payload,
            max_subscriptions: generation.limits.subscriptions as usize,
            context: id.and_then(|id| self.running.context(id)),
        }
    }

    pub fn context(&self, id: Option<u64>) -> Option<Arc<Context>> {
        id.and_then(|id| self.running.context(id))
    }
}
