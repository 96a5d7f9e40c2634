//! Failures of guests, startups, modules and the host itself. Each affects only the module that
//! causes it.

mod cpu;
mod crash;
mod deadlines;
mod fresh;
mod leaks;
mod memory;
mod output;
mod panics;
pub mod rejected;
mod restarts;
mod serial;
mod startup;
pub mod steps;
mod stop;
mod wasi;
