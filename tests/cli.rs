//! The program itself, as its users run it.

mod build;
pub mod cache;
mod client;
pub mod compile;
mod descriptors;
mod dev;
mod disk;
mod inspect;
mod new;
pub mod project;
mod serve;
mod settings;
mod test;

use project::{Project, Serving};
