//! The operator's listener.

mod connections;
mod guard;
mod metrics;
mod problems;
mod readiness;
