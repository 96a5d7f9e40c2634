//! Taking up another generation of a module while it serves.
//!
//! [`Swapper::reload`] serves changed files, the operator and guests. `requests` lets requests
//! that wait at the same time share a run, `run` decides what to do, `switch` does it: prepare, hold,
//! then switch or release. `watch` requests a reload when a file has changed, `disk` reads, `rollout`
//! runs a canary. `union` says in which isolates a swap takes place, `place` whose turn it is.

mod canary;
mod disk;
mod error;
mod holding;
mod load;
mod outcome;
mod place;
mod progress;
mod request;
mod requests;
mod rollback;
mod rollout;
mod run;
mod swapper;
mod switch;
mod union;
mod watch;

pub use error::{ModuleError, SwapError};
pub use load::load;
pub use progress::{Compiling, Logged, Progress, Turn};
pub use request::Want;
pub use swapper::Swapper;
pub use watch::Watcher;
