//! Host events: what happens in the host, for the embedding program, the operator and guests.
//!
//! A part that causes an event calls [`EventLog::raise`] and does not know who reads it. The log
//! keeps the last 1,024 events. A reader takes them from there at its own pace, so that a slow
//! reader costs no memory: it misses the oldest events and is told how many.

mod event;
mod log;
mod notice;
mod origin;
mod quota;

pub use event::{EventRecord, HostEvent};
pub use log::{EventItem, EventLog, EventReader, KEPT};
pub use notice::Notice;
pub use origin::{Origin, OriginKind};
#[cfg(test)]
pub use quota::EVENTS_PER_SECOND;
pub use quota::EventQuota;
