//! A generation that is linked and ready to instantiate. All isolates share it.

use std::sync::Arc;

use wasmtime::component::{
    Access, Accessor, Component, ComponentExportIndex, HasSelf, InstancePre, Linker, TypedFunc, TypedFuncCallConcurrent,
};
use wasmtime_wasi::filesystem::WasiFilesystemCtx;

use super::error::SnapshotError;
use super::guest_command::Run;
use super::guest_http::GuestHttp;
use super::imports;
use super::state::State;
use super::wasi_files::open_folders;
use crate::bindings::exports::fanfare::module::{describe, snapshot};
use crate::bindings::fanfare::module::types as wit;
use crate::call::{Failure, Outcome, Payload, bounds, text};
use crate::engine::{Engine, Place};
use crate::registry::manifest::raw::MOST;
use crate::registry::{Exports, Generation, HttpVersion, WasiHttp};

/// The most handlers that `describe` may return: twice the number of routes that a manifest can
/// have.
const MOST_HANDLERS: usize = 2 * MOST;

/// The error that the guest's `save` or `load` returned.
fn guest_error(why: String) -> SnapshotError {
    SnapshotError::Guest(text::line(&why, text::MESSAGE))
}

pub struct Program {
    pub generation: Arc<Generation>,
    linked: Linked,
    /// The same program for the pool.
    pooled: Option<Linked>,
    /// The folders of all instances.
    pub(super) folders: WasiFilesystemCtx,
}

/// A component that is linked with the imports of one engine.
struct Linked {
    instance: InstancePre<State>,
    handle: Option<ComponentExportIndex>,
    http: Option<(HttpVersion, ComponentExportIndex)>,
    command: Option<ComponentExportIndex>,
    describe: Option<describe::GuestIndices>,
    snapshot: Option<snapshot::GuestIndices>,
}

type Params = (wit::Call,);
type Results = (Result<wit::Outcome, wit::Failure>,);

/// The exported functions of one instance.
pub struct GuestExports {
    handle: Option<TypedFunc<Params, Results>>,
    http: Option<GuestHttp>,
    command: Option<Run>,
    snapshot: Option<snapshot::Guest>,
}

/// A call that the guest has started.
pub struct GuestCall(TypedFuncCallConcurrent<State, Params, Results>);

impl GuestCall {
    pub fn task(&self) -> wasmtime::component::GuestTaskId {
        self.0.task()
    }
}

impl Program {
    /// Links a generation. Fails when its imports do not have the types of `wit/`.
    /// [`Program::check`] checks the exports.
    pub fn link(linker: &Linker<State>, generation: Arc<Generation>) -> wasmtime::Result<Program> {
        let linked = Linked::new(linker, &generation.component, &generation.exports)?;
        let pooled = generation
            .pooled
            .as_ref()
            .map(|component| Linked::new(&imports::linker(component.engine())?, component, &generation.exports));
        let folders = open_folders(&generation)?;
        Ok(Program { linked, pooled: pooled.transpose()?, generation, folders })
    }

    /// A place in the pool for an instance, if the program fits and there is a free one.
    pub fn place(&self, engine: &Engine) -> Option<Place> {
        self.pooled.as_ref()?;
        let place = engine.place();
        if place.is_none() {
            bounds::POOL.count();
        }
        place
    }

    pub async fn instantiate(&self, store: &mut wasmtime::Store<State>) -> wasmtime::Result<GuestExports> {
        let linked = self.pooled.as_ref().filter(|_| store.data().is_pooled()).unwrap_or(&self.linked);
        let instance = linked.instance.instantiate_async(&mut *store).await?;
        let handle = linked.handle.map(|handle| instance.get_typed_func(&mut *store, handle)).transpose()?;
        let http = linked.http.map(|http| GuestHttp::new(store, &instance, http)).transpose()?;
        let command = linked.command.map(|run| instance.get_typed_func(&mut *store, run)).transpose()?;
        let snapshot = linked.snapshot.as_ref().map(|snapshot| snapshot.load(&mut *store, &instance)).transpose()?;
        Ok(GuestExports { handle, http, command, snapshot })
    }

    /// Creates an instance, checks that its exports have the types of `wit/`, and returns the
    /// handlers that it describes. `None` when the component does not export `describe`.
    pub async fn check(&self, store: &mut wasmtime::Store<State>) -> wasmtime::Result<Option<Vec<String>>> {
        let Linked { instance, handle, http, command, describe, snapshot } = &self.linked;
        let instance = instance.instantiate_async(&mut *store).await?;
        let other_types =
            |error: wasmtime::Error| wasmtime::format_err!("an export does not have the types of wit/: {error:#}");
        if let Some(handle) = *handle {
            instance.get_typed_func::<Params, Results>(&mut *store, handle).map_err(other_types)?;
        }
        if let Some(http) = *http {
            GuestHttp::new(store, &instance, http)
                .map_err(|error| wasmtime::format_err!("its export of wasi:http has other types: {error:#}"))?;
        }
        if let Some(run) = *command {
            let run: wasmtime::Result<Run> = instance.get_typed_func(&mut *store, run);
            run.map_err(|error| wasmtime::format_err!("its export of wasi:cli/run has another type: {error:#}"))?;
        }
        if let Some(snapshot) = snapshot {
            snapshot.load(&mut *store, &instance).map_err(other_types)?;
        }
        let Some(describe) = describe else { return Ok(None) };
        let handlers = describe.load(&mut *store, &instance).map_err(other_types)?.func_handlers();
        let (names,) = handlers.call_async(&mut *store, ()).await?;
        if names.len() > MOST_HANDLERS {
            bounds::HANDLERS.count();
            let count = names.len();
            wasmtime::bail!("describe returns {count} handlers: the host accepts at most {MOST_HANDLERS}");
        }
        // A longer name cannot match a handler of any manifest.
        Ok(Some(names.into_iter().map(|name| text::cut(name, 4 * text::NAME)).collect()))
    }
}

impl Linked {
    fn new(linker: &Linker<State>, component: &Component, exports: &Exports) -> wasmtime::Result<Linked> {
        let instance = linker.instantiate_pre(component)?;
        let function_of = |interface: &str, function: &str| {
            let index = component.get_export_index(None, interface);
            index
                .and_then(|interface| component.get_export_index(Some(&interface), function))
                .ok_or_else(|| wasmtime::format_err!("the interface {interface} has no function `{function}`"))
        };
        let handle_of = |interface: &str| function_of(interface, "handle");
        let interface = if exports.handler { "handler" } else { "handler-sync" };
        let interface = exports.has_handler().then(|| format!("fanfare:module/{interface}@0.1.0"));
        let handle = interface.map(|interface| handle_of(&interface)).transpose()?;
        let http = match &exports.http {
            Some(WasiHttp { version, export }) => Some((*version, handle_of(export)?)),
            None => None,
        };
        let command = exports.command.as_ref().map(|interface| function_of(interface, "run")).transpose()?;
        let describe = match exports.describe {
            true => Some(describe::GuestIndices::new(&instance)?),
            false => None,
        };
        let snapshot = match exports.snapshot {
            true => Some(snapshot::GuestIndices::new(&instance)?),
            false => None,
        };
        Ok(Linked { instance, handle, http, command, describe, snapshot })
    }
}

impl GuestExports {
    pub fn start(&self, mut access: Access<'_, State, HasSelf<State>>, call: wit::Call) -> wasmtime::Result<GuestCall> {
        Ok(GuestCall(self.handle()?.start_call_concurrent(&mut access, (call,))?))
    }

    /// The function that runs routes. A module without it has no routes.
    fn handle(&self) -> wasmtime::Result<&TypedFunc<Params, Results>> {
        self.handle.as_ref().ok_or_else(|| wasmtime::Error::msg("the component exports no handler"))
    }

    /// The `wasi:http` export. A module without it gets no exchanges.
    pub fn http(&self) -> wasmtime::Result<&GuestHttp> {
        self.http.as_ref().ok_or_else(|| wasmtime::Error::msg("the component exports no wasi:http"))
    }

    /// The `wasi:cli/run` export. A module without it has no commands.
    pub fn command(&self) -> wasmtime::Result<&Run> {
        self.command.as_ref().ok_or_else(|| wasmtime::Error::msg("the component exports no wasi:cli/run"))
    }

    pub async fn finish(
        &self,
        accessor: &Accessor<State>,
        call: GuestCall,
    ) -> wasmtime::Result<Result<Outcome, Failure>> {
        let (outcome,) = self.handle()?.finish_call_concurrent(accessor, call.0).await?;
        Ok(outcome.map(Into::into).map_err(Into::into))
    }

    /// Saves the state of a guest that exports `snapshot`. Others have no state.
    pub async fn save(&self, accessor: &Accessor<State>) -> wasmtime::Result<Result<Payload, SnapshotError>> {
        match &self.snapshot {
            Some(snapshot) => Ok(snapshot.call_save(accessor).await?.map(Into::into).map_err(guest_error)),
            None => Ok(Ok(Payload::None)),
        }
    }

    /// Loads the state that the generation `from` has saved.
    pub async fn load(
        &self,
        accessor: &Accessor<State>,
        from: String,
        state: Payload,
    ) -> wasmtime::Result<Result<(), SnapshotError>> {
        match &self.snapshot {
            Some(snapshot) => Ok(snapshot.call_load(accessor, from, state.into()).await?.map_err(guest_error)),
            None => Ok(Ok(())),
        }
    }
}
