//! What modules reach outside of the host, and what the operator's grants allow.

pub mod files;
pub mod requests;
mod sockets;
mod stores;
mod values;
