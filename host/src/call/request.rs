//! An HTTP request for a route.

use std::sync::Arc;

use super::{Payload, RequestHead, Trace};

/// A request with its body, ready for dispatch.
#[derive(Debug)]
pub struct HttpRequest {
    /// The method that the client sent. It can be `HEAD`.
    pub method: http::Method,
    /// The query without `?`, still percent-encoded.
    pub query: String,
    pub payload: Payload,
    pub head: Box<RequestHead>,
    pub trace: Trace,
    pub subdomain: Option<Arc<str>>,
    /// Whether another worker may run the call, because the connection has more than
    /// `http.localStreams` requests open.
    pub spill: bool,
}
