//! The parts of an HTTP request that the call does not carry. [`Context`](crate::Context) has
//! shorter methods for its own call. For a call with another trigger every function returns
//! nothing.

use crate::backend;
use crate::types::{CallId, HeaderFields, RequestHead};

/// Returns all values of one header field, in order of arrival. The case of `name` does not matter.
pub fn header(call: CallId, name: &str) -> Vec<String> {
    backend::header(call, name)
}

/// Returns all header fields, in order of arrival.
pub fn headers(call: CallId) -> HeaderFields {
    backend::headers(call)
}

/// Returns the path, scheme, host and peer.
pub fn head(call: CallId) -> Option<RequestHead> {
    backend::head(call)
}
