//! The HTTP trigger: turns a request into a call of a module's route, and the outcome into the
//! response.
//!
//! It answers requests for `/api/<module>/<path>` and for the routes of the host itself
//! ([`HostRoute`]). The trigger knows no isolates: it finds and runs routes through [`Backend`], on
//! the worker that owns the connection.

pub use backend::Backend;
pub use connection::serve;
pub(in crate::triggers) use content::{Content, DetachedSocket, HttpResponse, OwnOrigin, SocketHandler};
pub use foreign_request::ForeignRequest;
#[cfg(test)]
pub(in crate::triggers) use host_body::HostBody;
pub(in crate::triggers) use host_response::{RETRY_SECONDS, allow, json, options};
pub(in crate::triggers) use host_route::HostRequest;
pub use host_route::HostRoute;
pub(in crate::triggers) use problem_response::ProblemResponse;
#[cfg(any(test, fuzzing))]
pub(crate) use reply::response as response_to;
pub(in crate::triggers) use reply::response as reply_response;
pub(in crate::triggers) use request::{asks_for_websocket, has_token, strip_hop_by_hop};
pub use restart_notice::RestartNotice;
pub use settings::Settings;
pub use stopping::Stopping;
pub use without_modules::{HostRoutes, WithoutModules};

mod backend;
mod body;
mod buffer_lease;
mod connection;
mod connection_state;
mod content;
mod cors;
mod exchange;
mod foreign_request;
mod head_error;
mod host_body;
mod host_response;
mod host_route;
mod idle_watch;
mod observed_stream;
mod plan;
mod poll_on_wake;
mod problem_response;
mod protocol;
mod reply;
mod request;
mod request_stream;
mod responder;
mod response_body;
mod restart_notice;
mod settings;
mod stopping;
mod stream_body;
#[cfg(test)]
mod tests;
mod without_modules;
