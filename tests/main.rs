//! The integration tests: real hosts on free ports, real modules, real clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod harness;

mod architecture;
mod modules;
