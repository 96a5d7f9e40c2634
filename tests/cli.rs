//! The program itself, as its users run it.

pub mod cache;
mod client;
pub mod compile;
mod project;
mod serve;
mod settings;

use project::{Project, Serving};
