//! The imports of guests. Each interface has a file of its name; [`linker`] links all of them.

mod broadcast;
mod channels;
mod config;
mod durable;
mod events;
mod fetch;
mod host;
mod http;
mod keyvalue;
mod logging;
mod master;
mod messages;
mod nodes;
mod rpc;
mod sessions;
mod sessions_await;
mod sse;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmtime::component::{Access, FutureReader, HasSelf, Lift, Linker, Lower};

use super::state::{Guest, State};
use crate::bindings::fanfare::module as wit;
use crate::bindings::wasi::wasi;
use crate::call::text::{NAME, already_waiting, line};
use crate::call::{CallError, RouteName, TriggerKind};
use crate::ports::BoxFuture;
use crate::registry::Generation;

/// Returns a linker with every import that the host implements. WASI interfaces that reach outside
/// have only what the operator granted: without a grant there are no files, sockets, variables or
/// servers, and their functions return `access-denied` or `HTTP-request-denied`.
pub fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    super::wasi_errors::add_to_linker(&mut linker)?;
    super::wasi_files::add_to_linker(&mut linker)?;
    super::wasi_http::add_to_linker(&mut linker)?;
    super::wasi_sockets::add_to_linker(&mut linker)?;
    wasi::config::store::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wasi::keyvalue::store::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wasi::keyvalue::atomics::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wasi::keyvalue::batch::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wasi::logging::logging::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::types::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::broadcast::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::broadcast_blocking::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::durable::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::durable_blocking::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::rpc::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::rpc_blocking::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::http::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::host::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::config::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::master::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::master_await::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::master_blocking::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::sse::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::events::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::messages::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::nodes::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::sessions::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::sessions_await::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::sessions_blocking::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::channels::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::channels_await::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::channels_blocking::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::fetch::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    wit::fetch_blocking::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

impl wit::types::Host for State {}

/// Starts an import that waits and returns its future to the guest. The import occupies one of the
/// `limits.background` places until it resolves. An error traps: the guest owns as many handles as
/// it may.
fn waiting<F, V, W>(
    mut access: Access<'_, State, HasSelf<State>>,
    start: impl FnOnce(&Arc<Guest>) -> F,
    finish: fn(V) -> W,
) -> wasmtime::Result<FutureReader<Result<W, wit::types::CallError>>>
where
    F: Future<Output = Result<V, CallError>> + Send + 'static,
    V: Send + 'static,
    W: Lower + Lift + Send + Sync + 'static,
{
    let guest = access.get().guest.clone();
    let started = match guest.waiting.clone().try_acquire_owned() {
        Ok(place) => Ok((start(&guest), place)),
        Err(_) => Err(too_many(&guest)),
    };
    FutureReader::new(&mut access, async move {
        let ended = match started {
            Ok((future, _place)) => future.await,
            Err(error) => Err(error),
        };
        Ok::<_, wasmtime::Error>(ended.map(finish).map_err(Into::into))
    })
}

/// The future of a port, or one that resolves at once because the import rejects its arguments.
type Started<T> = BoxFuture<Result<T, CallError>>;

/// Returns the future of the port, unless a check has rejected the arguments.
fn started<T: Send + 'static>(checked: Result<Started<T>, CallError>) -> Started<T> {
    checked.unwrap_or_else(|error| Box::pin(std::future::ready(Err(error))))
}

/// Runs the blocking twin of an import that waits. The instance runs nothing else meanwhile, so the
/// call is marked as exclusive: calls that it causes must not wait for this instance.
async fn blocking<F, V>(
    guest: &Arc<Guest>,
    caller: Option<u64>,
    start: impl FnOnce(&Arc<Guest>) -> F,
) -> Result<V, wit::types::CallError>
where
    F: Future<Output = Result<V, CallError>>,
{
    let Ok(_place) = guest.waiting.clone().try_acquire_owned() else {
        return Err(too_many(guest).into());
    };
    let context = guest.context(caller);
    let was = context.as_ref().map(|context| context.exclusive.swap(true, Ordering::AcqRel));
    let ended = start(guest).await;
    if let (Some(context), Some(was)) = (context, was) {
        context.exclusive.store(was, Ordering::Release);
    }
    ended.map_err(Into::into)
}

fn too_many(guest: &Guest) -> CallError {
    CallError::Overloaded(format!(
        "{} for {}: limits.background allows no more",
        already_waiting(guest.generation.limits.background.into(), "import"),
        guest.generation.module
    ))
}

fn entries(entries: Vec<crate::call::GatherEntry>) -> Vec<wit::types::Entry> {
    entries.into_iter().map(Into::into).collect()
}

/// The route that a guest names, if its generation has it and a subscription may call it.
fn own_route(generation: &Generation, text: &str) -> Result<RouteName, CallError> {
    let module = &generation.module;
    let route = RouteName::within(module, text).map_err(|error| CallError::Invalid(error.to_string()))?;
    let text = || line(&route.text_within(), NAME);
    match generation.access_inside(&route).map(|access| access.admits(TriggerKind::Subscription)) {
        Some(Ok(())) => Ok(route),
        Some(Err(closed)) => {
            Err(CallError::Forbidden(format!("`{}` of {module}: {closed}, so no subscription may call it", text())))
        }
        None => {
            Err(CallError::NotFound(format!("{module} has no route `{}`: name a route of its module.json", text())))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wasmtime::component::Component;

    use crate::engine::Engine;
    use crate::registry::served_imports;

    #[test]
    fn the_host_has_every_interface_that_it_says() {
        let engine = Engine::start(Duration::from_millis(10), 1 << 36, 0).unwrap();
        let linker = super::linker(engine.wasmtime()).unwrap();
        for (name, version) in served_imports::all() {
            let text = format!("(component (import \"{name}@{version}\" (instance)))");
            let component = Component::new(engine.wasmtime(), wat::parse_str(text).unwrap()).unwrap();
            assert!(linker.instantiate_pre(&component).is_ok(), "{name}@{version}");
        }
    }
}
