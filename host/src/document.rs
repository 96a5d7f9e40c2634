//! JSON documents that people write: read with comments and places, merged in layers, checked
//! against a schema.
//!
//! Nothing here knows what a document is about. `config` and `registry` say that with types, whose
//! schemas [`shape`] checks, and with the formats of their strings.

pub mod fault;
pub mod merge;
pub mod shape;
pub mod source;
pub mod tree;
pub mod units;

pub use fault::{Fault, Faults, Origin};
pub use tree::{Node, Path as KeyPath};
