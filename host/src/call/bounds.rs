//! Bounds that no setting changes. Each counts how often it was reached.
//!
//! The counts are per process and not per host, because pure functions without access to a host
//! enforce the bounds.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One bound.
#[derive(Debug)]
pub struct Bound {
    /// The label in the metric `fanfare_bound_reached_total`.
    pub name: &'static str,
    reached: AtomicU64,
}

impl Bound {
    const fn new(name: &'static str) -> Bound {
        Bound { name, reached: AtomicU64::new(0) }
    }

    pub fn count(&self) {
        self.reached.fetch_add(1, Relaxed);
    }

    pub fn reached(&self) -> u64 {
        self.reached.load(Relaxed)
    }
}

/// A path longer than [`MAX_PATH`](super::MAX_PATH) or deeper than
/// [`MAX_SEGMENTS`](super::MAX_SEGMENTS).
pub static PATH: Bound = Bound::new("path");

/// A text that was cut off: see [`text`](super::text).
pub static TEXT: Bound = Bound::new("text");

/// A trap because a guest asked for too many random bytes in one call.
pub static RANDOM: Bound = Bound::new("random");

/// A trap because an instance held too many WASI resources.
pub static RESOURCES: Bound = Bound::new("resources");

/// A module that was rejected because its `describe` names too many handlers.
pub static HANDLERS: Bound = Bound::new("handlers");

/// A message of a guest that was rejected because the embedding program already handles too many.
pub static MESSAGES: Bound = Bound::new("messages");

/// A message of a guest that raised no event because too many did in the same second.
pub static MESSAGE_EVENTS: Bound = Bound::new("message-events");

/// A stream key, or a type or an id of an event, that was rejected because it was too long.
pub static STREAM_NAME: Bound = Bound::new("stream-name");

/// A run of a schedule that was skipped because too many runs of it had not ended.
pub static SCHEDULE_RUNS: Bound = Bound::new("schedule-runs");

/// A run of a schedule that raised no event because too many did in the same second.
pub static SCHEDULE_EVENTS: Bound = Bound::new("schedule-events");

/// A key of a request to the event service that was forgotten because there were too many newer
/// ones.
pub static EVENT_KEYS: Bound = Bound::new("event-keys");

/// A request to the event service that was rejected because it had too many events or types.
pub static EVENT_LIST: Bound = Bound::new("event-list");

/// An event about a subscription that was not raised because too many were in the same second.
pub static SUBSCRIPTION_EVENTS: Bound = Bound::new("subscription-events");

/// A type of an event, or a topic of a message, that was rejected because it was too long.
pub static MESSAGE_TOPIC: Bound = Bound::new("message-topic");

/// The name of a user, a group, a value of a session, or a message to clients, that was rejected
/// because it was too long.
pub static SESSION_NAME: Bound = Bound::new("session-name");
/// A list of sessions, recipients or values that was rejected because it had too many entries.
pub static SESSION_LIST: Bound = Bound::new("session-list");

/// A change of a session's values that was rejected because it would have too many.
pub static SESSION_VALUES: Bound = Bound::new("session-values");
/// A session that joined no further group, because it is in as many as it may be.
pub static SESSION_GROUPS: Bound = Bound::new("session-groups");
/// A group of sessions that was not made, because the node has as many as it may have.
pub static GROUPS: Bound = Bound::new("groups");

/// An act on a session of another node that was rejected, because the call had too many.
pub static FORWARDED_ACTS: Bound = Bound::new("forwarded-acts");

/// A request about a channel that was rejected because too many waited for its route.
pub static CHANNEL_WAITING: Bound = Bound::new("channel-waiting");
/// A message that was rejected because those that wait for the routes of channels had too many
/// bytes.
pub static CHANNEL_BYTES: Bound = Bound::new("channel-bytes");
/// A join or a leave that the route of a channel was not told, because too many waited.
pub static CHANNEL_NOTICES: Bound = Bound::new("channel-notices");
/// A subscription to a channel that was rejected because the node has as many as it may have.
pub static CHANNEL_SUBSCRIPTIONS: Bound = Bound::new("channel-subscriptions");
/// A subscription that was rejected because its client said too much about itself.
pub static CHANNEL_INFO: Bound = Bound::new("channel-info");

/// A message of another node that is asked for again, because too many waited for older ones.
pub static CHANNEL_HELD: Bound = Bound::new("channel-held");
/// A channel without subscribers and history whose numbers begin anew, because too many others were
/// remembered.
pub static CHANNEL_ENDED: Bound = Bound::new("channel-ended");
/// Patterns of channels that other nodes do not know, because the modules of the node have too
/// many.
pub static CHANNEL_PATTERNS: Bound = Bound::new("channel-patterns");

/// A list of members that was rejected because it would have been too long.
pub static CHANNEL_MEMBERS: Bound = Bound::new("channel-members");

/// Changes of the members of channels that waited for the census or for another node, and were
/// dropped because there were too many. The members are told again.
pub static CENSUS_STEPS: Bound = Bound::new("census-steps");
/// A member of another node that this node does not know, because there was no room.
pub static CENSUS_MEMBERS: Bound = Bound::new("census-members");

/// A message of a WebSocket that was rejected because it had too many fragments.
pub static FRAGMENTS: Bound = Bound::new("websocket-fragments");

/// A message of a client of SocketCluster that was rejected because it had too many packets.
pub static PACKETS: Bound = Bound::new("socketcluster-packets");

/// A token of a client that was rejected because it was too long.
pub static TOKEN: Bound = Bound::new("token");

/// A write or a new file that was rejected because of `limits.disk` or `limits.files`.
pub static DISK: Bound = Bound::new("disk");

/// A file that was not opened because of `limits.openFiles`.
pub static OPEN_FILES: Bound = Bound::new("open-files");

/// An instance for one call that found no place in the pool, so that it took longer to start.
pub static POOL: Bound = Bound::new("pool");

/// A lookup of a name that waited, because too many others of its module or of all modules had not
/// ended.
pub static LOOKUPS: Bound = Bound::new("lookups");

/// A pause in which an instance started no call, until it had ended what earlier ones had begun.
pub static LEFTOVERS: Bound = Bound::new("leftovers");

pub static ALL: [&Bound; 39] = [
    &POOL,
    &LEFTOVERS,
    &LOOKUPS,
    &DISK,
    &OPEN_FILES,
    &PATH,
    &TEXT,
    &RANDOM,
    &RESOURCES,
    &HANDLERS,
    &MESSAGES,
    &MESSAGE_EVENTS,
    &STREAM_NAME,
    &SCHEDULE_RUNS,
    &SCHEDULE_EVENTS,
    &EVENT_KEYS,
    &EVENT_LIST,
    &SUBSCRIPTION_EVENTS,
    &MESSAGE_TOPIC,
    &SESSION_NAME,
    &SESSION_LIST,
    &SESSION_VALUES,
    &SESSION_GROUPS,
    &GROUPS,
    &FORWARDED_ACTS,
    &CHANNEL_WAITING,
    &CHANNEL_BYTES,
    &CHANNEL_NOTICES,
    &CHANNEL_HELD,
    &CHANNEL_ENDED,
    &CHANNEL_PATTERNS,
    &CHANNEL_SUBSCRIPTIONS,
    &CHANNEL_INFO,
    &CHANNEL_MEMBERS,
    &CENSUS_STEPS,
    &CENSUS_MEMBERS,
    &FRAGMENTS,
    &PACKETS,
    &TOKEN,
];
