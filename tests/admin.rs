//! The operator's listener.

mod guard;
mod metrics;
mod readiness;
