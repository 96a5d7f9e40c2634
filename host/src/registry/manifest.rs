//! What a module says about itself: `module.json`, read and checked.
//!
//! [`Manifest::load`] gives either a wholly valid value or every fault at once. It reads one file, and never the component.

pub use model::{Manifest, ManifestError, Route};
#[cfg(any(test, fuzzing))]
pub use path::parse as parse_path;
pub use places::PlaceKinds;
pub use raw::{FILE_NAME, Isolation, Middleware, Rollout};
pub use resolve::{check_grants, effective_config, effective_limits};
pub use scan::{Found, Scanned, folders, is_candidate, is_module, look, scan};

mod check;
mod model;
mod path;
mod places;
pub mod raw;
mod resolve;
mod scan;
#[cfg(test)]
mod tests;
