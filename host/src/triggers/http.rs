//! The HTTP trigger: a request becomes a call of a module's route, and its outcome the answer.
//!
//! The host serves `/api/<module>/<path>`, a page for developers and routes of the host itself
//! ([`content::HostRoute`]). The trigger knows no isolates: it finds and runs routes through [`Serve`], on
//! the worker that has the connection.

pub use connection::serve;
#[cfg(any(test, fuzzing))]
pub(crate) use reply::response as response_to;
pub use serve::{Asked, ListedModule, ListedRoute, Serve};
pub use settings::Settings;
pub use stopping::Stopping;

mod activity;
mod answer;
mod body;
mod connection;
mod content;
mod cors;
mod flow;
mod index;
mod lease;
mod problem;
mod protocol;
mod rarely;
mod refusal;
mod reply;
mod request;
mod responder;
mod serve;
mod settings;
mod stopping;
#[cfg(test)]
mod tests;
mod watch;
mod watched;
