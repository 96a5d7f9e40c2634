//! Keys and names that are planned and that this version does not support yet. The change that adds
//! support removes the name here.

/// Keys of `hooks` in `module.json`. The master isolate has ended when the host raises
/// `workerClusterExit`.
pub const HOOKS: &[&str] = &["workerClusterExit"];
