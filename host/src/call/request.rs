//! HTTP requests, ready for dispatch.

use std::sync::Arc;

use super::{CallResult, Payload, RequestHead, Trace};

/// A request for a route, with its body.
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

/// A request to open a live stream.
#[derive(Debug)]
pub struct StreamRequest {
    /// Empty for a client that names no key.
    pub key: Arc<str>,
    pub last_event_id: Option<Arc<str>>,
    /// The query without `?`, still percent-encoded.
    pub query: String,
    pub head: Box<RequestHead>,
    pub trace: Trace,
    pub subdomain: Option<Arc<str>>,
}

/// What the modules say about a client that asks to open a live stream.
#[derive(Debug)]
pub enum Admission {
    /// No module declares the key.
    Undeclared,
    /// A module declares the key, and admits every reader.
    Open,
    /// The route of this module has answered.
    Called(Arc<str>, CallResult),
}
