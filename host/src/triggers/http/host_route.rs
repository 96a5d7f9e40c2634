//! The routes of the host itself.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Uri, Version};
use tokio_util::sync::CancellationToken;

use super::content::HttpResponse;
use super::host_body::HostBody;
use crate::call::Trace;

/// A route of the host itself.
pub type HostRoute = Box<dyn FnOnce(HostRequest) -> BoxFuture<'static, HttpResponse> + Send>;

/// A request for a route of the host.
#[derive(Debug)]
pub struct HostRequest {
    pub method: Method,
    pub uri: Uri,
    /// Over HTTP/2 a route cannot take over the socket, and must use [`Content::Frames`] instead.
    pub version: Version,
    /// All header fields that the client sent, including hop-by-hop fields.
    pub headers: HeaderMap,
    /// Whether the request has a body.
    pub has_body: bool,
    pub authority: String,
    /// `http` or `https`.
    pub scheme: &'static str,
    pub peer: SocketAddr,
    /// Arrives while the route reads it.
    pub body: HostBody,
    pub trace: Trace,
    /// The subdomain of the authority below `http.domain`.
    pub subdomain: Option<Arc<str>>,
    /// Cancelled when the host begins to stop, so that a stream can end in time.
    pub stopping: CancellationToken,
}
