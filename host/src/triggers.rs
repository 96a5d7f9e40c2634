//! What turns something that happens into a call.

pub mod http;
