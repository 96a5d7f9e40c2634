//! Fanfare: a host for broadcast handlers compiled to WebAssembly components.
//!
//! The parts, from the top down; a part uses those below it only (`tests/architecture.rs` holds the table):
//!
//! - [`host`]: composition, start and stop
//! - [`worker`], [`admin`]: a thread with sockets and an isolate; the operator's side
//! - [`triggers`]: what turns something that happens into a call
//! - [`swap`]: loading modules, and another generation in the place of one that serves
//! - [`dispatch`]: addresses, sequencing, fan-out, deadlines
//! - [`isolate`]: mailbox, instance, limits, restart, imports
//! - [`registry`]: manifests, generations
//! - [`engine`]: wasmtime, the cache of compiled components, the epoch ticker
//! - [`net`]: what sockets cost: file descriptors, bytes in memory, errors of `accept`
//! - [`document`]: JSON that people write, with its places, layers and schemas
//! - [`files`]: reading and writing files
//! - [`call`], [`ports`], [`config`]: plain data and traits that all may use

pub mod admin;
pub mod bindings;
pub mod call;
pub mod config;
pub mod dispatch;
pub mod document;
pub mod engine;
pub mod files;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod host;
pub mod isolate;
pub mod net;
pub mod ports;
pub mod registry;
pub mod swap;
pub mod triggers;
pub mod worker;
