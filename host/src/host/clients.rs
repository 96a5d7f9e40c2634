//! Ends the connections of clients whose socket was removed.
//!
//! After each event that can remove a socket, the host looks whether the worker of each client
//! still has its socket. A client that is just connecting looks itself, after it is in the list of
//! sessions, so that one of the two finds it.

use std::sync::Arc;

use crate::dispatch::Dispatch;
use crate::events::{EventItem, EventReader, HostEvent};
use crate::hub::SocketName;
use crate::triggers::websocket::WebSockets;
use crate::worker::has_socket;

/// After each change of a module, ends the connections to sockets that it no longer has. Such a
/// client would get no answer to any message.
pub(super) async fn end_removed(dispatch: Arc<Dispatch>, sockets: Arc<WebSockets>, mut events: EventReader) {
    while let Some(item) = events.next().await {
        if may_remove(&item) {
            let worker = |index| dispatch.places().workers.get(index as usize);
            let exists = |index, socket: &SocketName| worker(index).is_some_and(|isolate| has_socket(isolate, socket));
            sockets.close_removed(exists);
        }
    }
}

/// Whether a socket may be gone.
fn may_remove(item: &EventItem) -> bool {
    match item {
        EventItem::Missed(_) => true,
        EventItem::Event(record) => matches!(
            record.event,
            HostEvent::ModuleRemoved { .. }
                | HostEvent::SwapCommitted { .. }
                | HostEvent::SwapRolledBack { .. }
                | HostEvent::CanaryEnded { .. }
        ),
    }
}
