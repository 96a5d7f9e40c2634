//! The types of all JSON documents that the host writes. The admin listener, the program `fanfare`,
//! dashboards and embedders share them.
//!
//! Keys are in camelCase. The host omits a key that has no value. When a reader receives a document
//! from a host of another version, missing keys become empty or zero.
//!
//! | request to the admin listener | response |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/events` | server-sent events with an [`EventRecord`] each |
//! | the same with `follow=false` | a list of [`EventRecord`] |
//! | `POST /v1/modules/<module>/broadcasts/<name>` | [`Receipt`] |
//! | the same with `gather=true` | a list of [`GatherEntry`] |
//! | `POST /v1/modules/<module>/call` | [`Reply`] |
//! | the same for a group of isolates | a list of [`GatherEntry`] |
//! | `POST /v1/modules/<module>/reload`, `/rollback` | [`Reloaded`] |
//! | `POST /v1/reload` | a list of [`ReloadEntry`] |
//! | `POST /v1/workers/kill`, `POST /v1/brokers/kill` with [`KillRequest`] | a list of [`KilledIsolate`] |
//! | `GET /v1/schedules` | a list of [`ScheduleStatus`] |
//! | `POST /v1/schedules/run?module=..&name=..` | [`Reply`], or a list of [`GatherEntry`] for the type `all` |
//! | `GET /v1/subscriptions` | a list of [`SubscriptionStatus`] |
//! | `GET /v1/nodes` | [`ClusterStatus`] |
//! | `POST /v1/nodes/<node>/stop` | [`StopRequested`] |
//! | any request that fails | [`Problem`], as `application/problem+json` |

mod broadcasts;
mod calls;
mod channels;
mod clients;
mod event_service;
mod kill;
mod nodes;
mod redis;
mod reload;
mod schedules;
mod status;
mod subscriptions;
#[cfg(test)]
mod tests;

pub use crate::call::ChannelKeep;
pub use crate::call::{NodeReload, ReloadOutcome};
pub use broadcasts::{DurableModule, DurableStatus, ParkedBroadcast, ParkedBroadcasts, Replayed, ReplayedBroadcasts};
pub use calls::{GatherEntry, Queued, Receipt, Reply, Skipped};
pub use channels::{ChannelHistoryStatus, ChannelPatternStatus, ChannelStatus, ChannelsStatus};
pub use clients::{ClientsStatus, FiltersStatus, SocketListenerStatus, SocketStatus};
pub use event_service::{
    EmittedEvent, EmittedEvents, EventLinkStatus, EventListenStatus, EventServiceLimits, EventServiceStatus,
    EventsStatus, ServiceEvent,
};
pub use kill::{KillMode, KillRequest, KilledIsolate, KilledModule};
pub use nodes::{ClusterState, ClusterStatus, NodeInfo, NodeStatus, StopRequested};
pub use redis::{RedisState, RedisStatus};
pub use reload::{Refusal, RefusedReload, ReloadEntry, Reloaded};
pub use schedules::{LastRun, ScheduleState, ScheduleStatus};
pub use status::{Buffered, Connections, Descriptors, IsolateLoad, IsolateStatus, ModuleStatus, State, Status, Usage};
pub use subscriptions::SubscriptionStatus;

pub use crate::call::ProblemDocument as Problem;
pub use crate::events::{EventRecord, HostEvent, Origin, OriginKind};
