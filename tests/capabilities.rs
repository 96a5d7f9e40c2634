//! What modules reach outside of the host, and what the operator's grants allow.

mod errors;
pub mod files;
mod next;
pub mod requests;
mod sockets;
mod stores;
mod values;
