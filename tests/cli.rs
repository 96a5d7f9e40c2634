//! The program itself, as its users run it.

mod cache;
mod client;
mod compile;
mod project;
mod serve;
mod settings;

use project::{Project, Serving};
