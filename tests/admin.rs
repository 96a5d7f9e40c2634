//! The operator's listener.

mod guard;
mod metrics;
mod problems;
mod readiness;
