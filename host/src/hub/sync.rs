//! The locks and atomics on which the order of the hub depends. The model in `tests/model.rs`
//! compiles the same files with types that a deterministic scheduler controls.
//!
//! Files of that model use only the locks of this file, and have no `#[cfg(test)]` modules.

pub use std::hash::RandomState;
pub use std::sync::atomic::{AtomicBool, AtomicU64};

pub use parking_lot::{Mutex, RwLock};
