//! What modules reach outside of the host, and what the operator's grants allow.

pub mod requests;
mod values;
