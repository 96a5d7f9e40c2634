//! The parts of an HTTP request that are not in the call. [`Context`](crate::Context) has them for its own call.

use crate::backend;
use crate::types::{CallId, HeaderFields, RequestHead};

/// The values of one header field, in order. The name is compared without case.
pub fn header(call: CallId, name: &str) -> Vec<String> {
    backend::header(call, name)
}

/// All header fields, in the order they came.
pub fn headers(call: CallId) -> HeaderFields {
    backend::headers(call)
}

/// Path, scheme, host and peer.
pub fn head(call: CallId) -> Option<RequestHead> {
    backend::head(call)
}
