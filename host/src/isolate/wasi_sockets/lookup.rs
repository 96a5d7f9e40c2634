//! `wasi:sockets/ip-name-lookup`, of both versions, without the functions of wasmtime: those start
//! a thread for each lookup, as many as the guest asks for.

use std::future::Future;
use std::net::IpAddr;
use std::vec;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::StoreContextMut;
use wasmtime::component::{Accessor, Linker, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::p3::bindings::sockets::{ip_name_lookup, types};

use crate::isolate::state::State;

/// The bytes of the longest name in DNS.
const MAX_NAME: usize = 253;

/// Why a name has no addresses.
#[derive(Debug, Clone, Copy)]
enum NoAddress {
    Denied,
    Malformed,
    Unresolved,
}

/// A lookup, or the addresses that are left of it.
enum Lookup {
    Running(AbortOnDropHandle<Result<Vec<IpAddr>, NoAddress>>),
    Ended(Result<vec::IntoIter<IpAddr>, NoAddress>),
}

impl State {
    /// Looks a name up. The error comes at once if the guest may not do so.
    fn look_up(
        &self,
        name: String,
    ) -> Result<impl Future<Output = Result<Vec<IpAddr>, NoAddress>> + Send + use<>, NoAddress> {
        let generation = self.guest.generation.clone();
        if !generation.sockets.admits_name(&name) {
            generation.deny("sockets", &format!("tcp://{name}:<port>"));
            return Err(NoAddress::Denied);
        }
        if name.len() > MAX_NAME {
            return Err(NoAddress::Malformed);
        }
        Ok(async move {
            let found = generation.sockets.look_up(&name).await;
            if found.is_empty() { Err(NoAddress::Unresolved) } else { Ok(found) }
        })
    }
}

impl Lookup {
    /// Waits until the lookup has ended.
    async fn end(&mut self) {
        if let Lookup::Running(task) = self {
            let found = task.await.unwrap_or(Err(NoAddress::Unresolved));
            *self = Lookup::Ended(found.map(Vec::into_iter));
        }
    }

    fn next(&mut self) -> Result<Option<IpAddress>, ErrorCode> {
        match self.end().now_or_never() {
            None => Err(ErrorCode::WouldBlock),
            Some(()) => match self {
                Lookup::Ended(Ok(addresses)) => Ok(addresses.next().map(IpAddress::from)),
                Lookup::Ended(Err(why)) => Err((*why).into()),
                Lookup::Running(_) => Err(ErrorCode::WouldBlock),
            },
        }
    }
}

impl Pollable for Lookup {
    fn ready<'a, 'b>(&'a mut self) -> BoxFuture<'b, ()>
    where
        'a: 'b,
    {
        self.end().boxed()
    }
}

impl From<NoAddress> for ErrorCode {
    fn from(why: NoAddress) -> ErrorCode {
        match why {
            NoAddress::Denied => ErrorCode::AccessDenied,
            NoAddress::Malformed => ErrorCode::InvalidArgument,
            NoAddress::Unresolved => ErrorCode::NameUnresolvable,
        }
    }
}

impl From<NoAddress> for ip_name_lookup::ErrorCode {
    fn from(why: NoAddress) -> ip_name_lookup::ErrorCode {
        match why {
            NoAddress::Denied => ip_name_lookup::ErrorCode::AccessDenied,
            NoAddress::Malformed => ip_name_lookup::ErrorCode::InvalidArgument,
            NoAddress::Unresolved => ip_name_lookup::ErrorCode::NameUnresolvable,
        }
    }
}

type Store<'a> = StoreContextMut<'a, State>;
type Result2<T> = wasmtime::Result<(Result<T, ErrorCode>,)>;

/// Replaces the interfaces of both versions.
pub fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut lookup = linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?;
    lookup.resource("resolve-address-stream", ResourceType::host::<Lookup>(), |mut store: Store<'_>, id| {
        store.data_mut().table.delete(Resource::<Lookup>::new_own(id))?;
        Ok(())
    })?;
    lookup.func_wrap(
        "resolve-addresses",
        |mut store: Store<'_>, (network, name): (Resource<Network>, String)| -> Result2<Resource<Lookup>> {
            let state = store.data_mut();
            state.table.get(&network)?;
            let found = match state.look_up(name) {
                Ok(found) => found,
                Err(why) => return Ok((Err(why.into()),)),
            };
            let lookup = Lookup::Running(AbortOnDropHandle::new(tokio::spawn(found)));
            Ok((Ok(state.table.push(lookup)?),))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        |mut store: Store<'_>, (lookup,): (Resource<Lookup>,)| -> Result2<Option<IpAddress>> {
            Ok((store.data_mut().table.get_mut(&lookup)?.next(),))
        },
    )?;
    lookup.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: Store<'_>, (lookup,): (Resource<Lookup>,)| -> wasmtime::Result<(Resource<DynPollable>,)> {
            Ok((subscribe(&mut store.data_mut().table, lookup)?,))
        },
    )?;
    linker.instance("wasi:sockets/ip-name-lookup@0.3.0")?.func_wrap_concurrent(
        "resolve-addresses",
        |accessor: &Accessor<State>, (name,): (String,)| {
            Box::pin(async move {
                let found = match accessor.with(|mut access| access.get().look_up(name)) {
                    Ok(found) => found.await,
                    Err(why) => Err(why),
                };
                let addresses = found.map(|all| all.into_iter().map(types::IpAddress::from).collect::<Vec<_>>());
                Ok((addresses.map_err(ip_name_lookup::ErrorCode::from),))
            })
        },
    )
}
