//! What goes wrong in a guest, or around it, and what that costs: itself, and nobody else.

mod cpu;
mod crash;
mod deadlines;
mod fresh;
mod leaks;
mod output;
mod panics;
pub mod refused;
mod restarts;
mod serial;
mod startup;
pub mod steps;
mod stop;
mod wasi;
