//! Tests that run the `fanfare` executable.

mod build;
pub mod cache;
mod client;
pub mod compile;
mod descriptors;
mod dev;
mod disk;
mod doctor;
mod inspect;
mod new;
mod packages;
mod place;
pub mod project;
mod serve;
mod settings;
mod templates;
mod test;
mod test_clients;
mod threads;
mod tools;
mod types;
mod workers;

use project::{Project, Serving};
