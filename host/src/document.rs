//! JSON documents that people write: reads them with comments and source positions, merges layers,
//! and checks the result against a schema.
//!
//! This part does not know what a document is about. `config` and `registry` define types and
//! string formats, and [`shape`] checks a document against the schemas of those types.

pub mod fault;
pub mod json_schema;
pub mod merge;
pub mod shape;
pub mod source;
pub mod tree;
pub mod units;

pub use fault::{Fault, Faults, ValueOrigin};
pub use tree::{Node, Path as KeyPath};
