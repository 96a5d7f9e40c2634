//! The library in a program of its own.

mod builder;
mod calls;
mod clients;
mod events;
pub mod memory;
mod stop;
mod two_hosts;
