//! An HTTP request on its way to a route.

use std::sync::Arc;

use super::{Payload, RequestHead, Trace};

/// A request whose route is known and whose body was read.
#[derive(Debug)]
pub struct HttpRequest {
    /// The method as the client sent it, `HEAD` too.
    pub method: http::Method,
    /// The query without `?`, not decoded.
    pub query: String,
    pub payload: Payload,
    pub head: Box<RequestHead>,
    pub trace: Trace,
    pub subdomain: Option<Arc<str>>,
    /// Whether another worker may be better, because the connection has many requests open.
    pub spill: bool,
}
