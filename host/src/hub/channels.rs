//! Channels: named streams of messages for the sessions that are subscribed.
//!
//! A publish takes `order` shared, then the lock of its channel. Under both it takes the next
//! offset, adds the message to the history, tells the listeners, and adds the message to the inbox
//! of each worker with members: one item, with a list of the members that later messages share. So
//! a message costs its publisher the same for any number of members, and the messages of a channel
//! reach each member in the order of their offsets. Only a full inbox costs more: its members have
//! missed a message, so that they are cut.
//!
//! A session becomes a member under the lock of the channel and that of its own list. The list is
//! closed when the session ends, before it leaves its channels, so that it is never a member
//! afterwards.
//!
//! A channel that nobody uses is dropped. If it comes back, it has a new epoch, so that a client
//! that asks for what it has missed learns that messages may be missing. Only a channel that other
//! nodes follow continues where it was.
//!
//! Locks are taken in this order: `order`, a channel, the channel that announces its members, the
//! map or `due` or `lists` or the list of a session, the session, then those of the namespace after
//! `order`. Tasks are woken when no lock is held.
//!
//! - `all` subscribes and publishes; `map` has all channels, `channel` is one of them
//! - `members` has the members, with the list for each worker; `joined` the channels of a session
//! - `each` places messages about which a route decides for each member
//! - `keeping` reads histories, and sweeps what is too old
//! - `listing` lists the members of a channel; clients share the `lists`
//! - `presence` announces members that join and leave, and `crowd` of many only their number;
//!   `reports` tells them to the part that knows the members of all nodes
//! - `replica` follows channels whose messages get their places from another node; `renewal` begins
//!   a channel anew
//! - `written` has the channels whose history the cluster keeps, on their home
//! - `totals` has the numbers for operators
//! - `listening` has the listeners inside the host: subscriptions, and the embedding program

// The model of the tests compiles this file from its own folder, so that the paths are needed.
#[path = "channels/all.rs"]
mod all;
#[path = "channels/channel.rs"]
mod channel;
#[path = "channels/crowd.rs"]
mod crowd;
#[path = "channels/each.rs"]
mod each;
#[path = "channels/follower.rs"]
mod follower;
#[path = "channels/joined.rs"]
mod joined;
#[path = "channels/keeping.rs"]
mod keeping;
#[path = "channels/listening.rs"]
mod listening;
#[path = "channels/listing.rs"]
mod listing;
#[path = "channels/lists.rs"]
mod lists;
#[path = "channels/map.rs"]
mod map;
#[path = "channels/members.rs"]
mod members;
#[path = "channels/message.rs"]
mod message;
#[path = "channels/placed.rs"]
mod placed;
#[path = "channels/presence.rs"]
mod presence;
#[path = "channels/renewal.rs"]
mod renewal;
#[path = "channels/replica.rs"]
mod replica;
#[path = "channels/reports.rs"]
mod reports;
#[path = "channels/totals.rs"]
mod totals;
#[path = "channels/written.rs"]
mod written;
#[path = "channels/written_state.rs"]
mod written_state;

pub use all::{Channels, Published};
pub use channel::ChannelListener;
pub use crowd::{CROWD, Change, INTERVAL};
pub use joined::{ChannelError, Joined};
pub use listening::Listening;
pub use lists::list_as_json;
pub use message::EncodeChannel;
pub use placed::Placed;
pub use presence::Announced;
pub use replica::{Assigned, Mended};
pub use reports::MemberReport;
#[cfg(test)]
pub use totals::ChannelInfo;
pub use written_state::{ReadHistory, Written};
