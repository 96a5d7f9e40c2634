//! Loads modules, replaces the running generation of a module without losing a call, and kills
//! isolates.
//!
//! Changed files, the operator and guests all call [`Swapper::reload`]. `requests` merges the
//! reloads of a module that have not started into one run, `run` decides what to do, and `switch`
//! swaps: prepare, hold, then switch or release. `watcher` requests a reload when files change,
//! `disk` reads module folders, `install` adds modules that are in memory, and `rollout` runs
//! canaries. `scope` lists the isolates that a swap changes, and `lock` allows one change of a
//! module at a time. `kill` replaces the instances of an isolate without their state.
//!
//! `pending` has the requests that have not started, `installed` what the lock of a module guards,
//! `kill_turns` the order of kills, `memory` kills workers that use too much of it, and `retry`
//! loads modules again that a full disk has refused. `strays` reports components without a
//! manifest, and `missing` settings of modules that do not exist. `others` reloads and rolls back
//! on the other nodes of a cluster.

mod canary;
mod chains;
mod disk;
mod embedded;
mod error;
mod events;
mod folders;
mod hand_over;
mod install;
mod installed;
mod kill;
mod kill_error;
mod kill_turns;
mod load;
mod lock;
mod memory;
mod missing;
mod module_error;
mod others;
mod outcome;
mod pending;
mod progress;
mod requests;
mod retry;
mod rollback;
mod rollout;
mod run;
mod scope;
mod strays;
mod swapper;
mod switch;
mod watcher;

pub use error::SwapError;
pub use kill::KillTarget;
pub use kill_error::{KillError, KillFailure, KillFailureReason};
pub use load::load;
pub use module_error::ModuleError;
pub use pending::ReloadOptions;
pub use progress::{CompileReporter, Compiling, LogProgress, Progress};
pub use swapper::Swapper;
pub use watcher::Watcher;
