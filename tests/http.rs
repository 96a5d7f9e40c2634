//! HTTP end to end, from a client to a guest and back.

mod connections;
mod developer;
mod errors;
mod http2;
mod requests;
mod subdomains;
