//! The manifest of a module: `module.json`, read and checked.
//!
//! [`Manifest::load`] returns a valid manifest or every fault at once. It reads only that file,
//! never the component.

pub use durable::Durable;
pub use missing::{MissingComponent, Stray, strays};
pub use model::{Manifest, ManifestError, Route};
#[cfg(any(test, fuzzing))]
pub use path::parse as parse_path;
pub use patterns::PatternKind;
pub use payloads::{Callee, CalleeName, PayloadSchema};
pub use places::PlaceKinds;
pub use raw::{FILE_NAME, Isolation, Middleware, Rollout};
pub use resolve::{
    check_brokers, check_connections, check_grants, check_mount, check_subjects, effective_config, effective_limits,
    effective_schedules, unknown_schedules,
};
pub use scan::{FolderState, ModuleFolder, folder_names, is_module, is_scanned, read_folder, scan};
#[cfg(test)]
pub use schedules::Off;
pub use schedules::{Schedule, ScheduleKind};
pub use sockets::{MatchedSocket, SocketRoute};
pub use subscriptions::{
    Action, DeclaredSubscription, Deliver, Feed, NatsSource, Overflow, RedisSource, RedisTopic, Source, SourceKind,
    SubscriptionSettings,
};

mod channels;
mod check;
mod described;
mod durable;
mod filters;
mod hooks;
mod missing;
mod model;
mod one_or_many;
mod path;
mod patterns;
mod payloads;
mod places;
pub mod raw;
mod reference;
mod resolve;
mod scan;
mod schedules;
mod sockets;
mod streams;
mod subscriptions;
#[cfg(test)]
mod tests;
