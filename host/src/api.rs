//! The JSON documents that the host writes. The admin listener, the program `fanfare`, dashboards
//! and embedders share these types.
//!
//! Keys are in camelCase. A key that is left out has no value; what a host of another version does
//! not say reads as empty or zero.
//!
//! | request of the admin listener | answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `POST /v1/modules/<module>/broadcasts/<name>` | [`Receipt`]; with `gather=true` a list of [`Entry`] |
//! | `POST /v1/modules/<module>/call` | [`Reply`], or a list of [`Entry`] for several places |
//! | `POST /v1/modules/<module>/reload`, `/rollback` | [`Reloaded`] |
//! | `POST /v1/reload` | a list of [`ReloadEntry`] |
//! | any, when it fails | [`Problem`], as `application/problem+json` |

mod calls;
mod reload;
mod status;
#[cfg(test)]
mod tests;

pub use calls::{Entry, Receipt, Reply, Skipped};
pub use reload::{Outcome, Refusal, RefusedReload, ReloadEntry, Reloaded};
pub use status::{Buffered, Connections, Descriptors, IsolateStatus, ModuleStatus, Room, State, Status};

pub use crate::call::ProblemDocument as Problem;
