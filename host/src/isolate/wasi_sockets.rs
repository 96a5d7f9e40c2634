//! `wasi:sockets`: connections and datagrams to the endpoints that were granted. A guest never
//! listens: it binds only to any address and port that the system chooses.
//!
//! wasmtime asks for each address. This module also replaces the functions that create a socket or
//! look a name up, because wasmtime has no limit for either, and one answer for all names.

mod access;
mod lookup;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::sockets::WasiSocketsView;
use wasmtime_wasi::{p2, p3};

use p2::bindings::sockets::{network, tcp, tcp_create_socket, udp, udp_create_socket};
use p3::bindings::sockets::types;

pub use access::allow_sockets;

use super::state::State;
use crate::call::bounds;

type Store<'a> = StoreContextMut<'a, State>;

/// Why a guest gets no socket.
enum NoSocket {
    Denied,
    TooMany,
}

impl State {
    fn new_socket(&mut self, protocol: &str) -> Result<(), NoSocket> {
        if self.guest.generation.sockets.is_empty() {
            self.guest.generation.deny("sockets", &format!("{protocol}://<host>:<port>"));
            return Err(NoSocket::Denied);
        }
        let open = self.table.iter_mut().filter(|entry| {
            entry.is::<tcp::TcpSocket>()
                || entry.is::<udp::UdpSocket>()
                || entry.is::<types::TcpSocket>()
                || entry.is::<types::UdpSocket>()
        });
        if open.count() >= self.guest.generation.limits.open_files as usize {
            bounds::OPEN_FILES.count();
            return Err(NoSocket::TooMany);
        }
        Ok(())
    }
}

impl From<NoSocket> for network::ErrorCode {
    fn from(why: NoSocket) -> network::ErrorCode {
        match why {
            NoSocket::Denied => network::ErrorCode::AccessDenied,
            NoSocket::TooMany => network::ErrorCode::NewSocketLimit,
        }
    }
}

impl From<NoSocket> for types::ErrorCode {
    fn from(why: NoSocket) -> types::ErrorCode {
        match why {
            NoSocket::Denied => types::ErrorCode::AccessDenied,
            NoSocket::TooMany => types::ErrorCode::OutOfMemory,
        }
    }
}

type Returned2<T> = wasmtime::Result<(Result<T, network::ErrorCode>,)>;
type Returned3<T> = wasmtime::Result<(Result<T, types::ErrorCode>,)>;

fn returned2<T>(result: p2::SocketResult<T>) -> Returned2<T> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

fn returned3<T>(result: p3::sockets::SocketResult<T>) -> Returned3<T> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

/// Replaces the functions of both versions.
pub fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance("wasi:sockets/tcp-create-socket@0.2.12")?.func_wrap(
        "create-tcp-socket",
        |mut store: Store<'_>, (family,): (network::IpAddressFamily,)| -> Returned2<Resource<tcp::TcpSocket>> {
            let state = store.data_mut();
            returned2(match state.new_socket("tcp") {
                Ok(()) => tcp_create_socket::Host::create_tcp_socket(&mut state.sockets(), family),
                Err(why) => Err(network::ErrorCode::from(why).into()),
            })
        },
    )?;
    linker.instance("wasi:sockets/udp-create-socket@0.2.12")?.func_wrap_async(
        "create-udp-socket",
        |mut store: Store<'_>, (family,): (network::IpAddressFamily,)| {
            Box::new(async move {
                let state = store.data_mut();
                let created = match state.new_socket("udp") {
                    Ok(()) => udp_create_socket::Host::create_udp_socket(&mut state.sockets(), family).await,
                    Err(why) => Err(network::ErrorCode::from(why).into()),
                };
                returned2(created)
            })
        },
    )?;
    let mut sockets = linker.instance("wasi:sockets/types@0.3.0")?;
    sockets.func_wrap(
        "[static]tcp-socket.create",
        |mut store: Store<'_>, (family,): (types::IpAddressFamily,)| -> Returned3<Resource<types::TcpSocket>> {
            let state = store.data_mut();
            returned3(match state.new_socket("tcp") {
                Ok(()) => types::HostTcpSocket::create(&mut state.sockets(), family),
                Err(why) => Err(types::ErrorCode::from(why).into()),
            })
        },
    )?;
    sockets.func_wrap_async(
        "[static]udp-socket.create",
        |mut store: Store<'_>, (family,): (types::IpAddressFamily,)| {
            Box::new(async move {
                let state = store.data_mut();
                let created = match state.new_socket("udp") {
                    Ok(()) => types::HostUdpSocket::create(&mut state.sockets(), family).await,
                    Err(why) => Err(types::ErrorCode::from(why).into()),
                };
                returned3(created)
            })
        },
    )?;
    lookup::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}
