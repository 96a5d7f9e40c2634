//! Channels: what clients, guests and the embedding program do with them. The hub has the members,
//! the messages and their order; this part asks the routes of modules first.
//!
//! It knows no protocol of clients. It reaches modules through [`ChannelBackend`].
//!
//! - `service` has every action of every `actor`; `afterwards` the calls that follow an action,
//!   `reading` histories and members, `port` the functions for guests
//! - `census` has the members on all nodes of a cluster
//! - `homes` sends actions to the nodes where channels have their home, and takes those of other
//!   nodes; `everywhere` tells other nodes about messages, and `mending` gets what has not arrived
//!   from there
//! - `kept` has the channels whose history the cluster keeps, `keeping` what waits for that
//! - `lines` orders what the routes decide, `routed` says what an outcome means

pub use actor::Actor;
pub use backend::{ChannelBackend, StartedCall};
pub use census::Census;
pub use homes::Homes;
pub use keeping::{Keeping, KeepingLimits};
pub use port::ChannelPort;
pub use service::{ChannelService, Refusal};

mod actor;
mod after;
mod afterwards;
mod backend;
mod census;
mod counters;
mod everywhere;
mod homes;
mod keeping;
mod keeping_counts;
mod kept;
mod lines;
mod mending;
mod port;
mod reading;
mod routed;
mod service;
#[cfg(test)]
mod tests;
