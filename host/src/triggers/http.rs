//! The HTTP trigger: a request becomes a call of a module's route, and its outcome the answer.
//!
//! The host serves `/api/<module>/<path>`, a page for developers and routes of the host itself
//! ([`content::HostRoute`]). The trigger knows no isolates: it finds and runs routes through
//! [`Backend`], on the worker that has the connection.

pub use backend::Backend;
pub use connection::serve;
pub use index::{IndexModule, IndexRoute};
#[cfg(any(test, fuzzing))]
pub(crate) use reply::response as response_to;
pub use settings::Settings;
pub use stopping::Stopping;

mod activity;
mod answer;
mod backend;
mod body;
mod connection;
mod content;
mod cors;
mod idle;
mod index;
mod lease;
mod observed;
mod problem;
mod protocol;
mod refusal;
mod reply;
mod request;
mod responder;
mod settings;
mod stopping;
mod stream_body;
#[cfg(test)]
mod tests;
mod when_woken;
