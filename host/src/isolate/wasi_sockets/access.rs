//! The addresses that the sockets of a guest may use.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::sockets::SocketAddrUse;

use crate::registry::Generation;

/// Allows what was granted to a generation.
pub fn allow_sockets(builder: &mut WasiCtxBuilder, generation: &Arc<Generation>) {
    let granted = !generation.sockets.is_empty();
    builder.allow_tcp(granted).allow_udp(granted).allow_ip_name_lookup(granted);
    if granted {
        let generation = generation.clone();
        builder.socket_addr_check(move |address, purpose| {
            let generation = generation.clone();
            // In a task, because wasmtime wants a future that is `Sync`.
            let admitted = tokio::spawn(async move { admits(&generation, address, purpose).await });
            let admitted = AbortOnDropHandle::new(admitted);
            Box::pin(async move { admitted.await.unwrap_or(false) })
        });
    }
}

async fn admits(generation: &Generation, address: SocketAddr, purpose: SocketAddrUse) -> bool {
    let udp = match purpose {
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => return address.ip().is_unspecified() && address.port() == 0,
        SocketAddrUse::TcpConnect => false,
        SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => true,
        _ => return false,
    };
    let admitted = generation.sockets.admits(udp, address).await;
    // A datagram that arrives is nothing that the guest has asked for.
    if !admitted && !matches!(purpose, SocketAddrUse::UdpReceive) {
        let protocol = if udp { "udp" } else { "tcp" };
        generation.deny("sockets", &format!("{protocol}://{address}"));
    }
    admitted
}
