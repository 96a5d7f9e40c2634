//! The admin listener.

mod connections;
mod guard;
mod metrics;
mod problems;
mod readiness;
