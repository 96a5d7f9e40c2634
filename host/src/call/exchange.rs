//! Requests that a component answers through `wasi:http`, with bodies that stream both ways.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::oneshot;

use super::{ENTRY, Trace};

/// A body whose parts and trailers arrive while it is read.
pub type StreamedBody = UnsyncBoxBody<Bytes, BodyError>;

/// Why a streamed body broke off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the request body has more than {0} bytes")]
    TooLarge(u64),
    #[error("no part of the request body arrived for {0:?}")]
    Slow(Duration),
    /// The other side stopped sending, or reported an error.
    #[error("the body is incomplete: {0}")]
    Incomplete(String),
    #[error("the instance ended before the body")]
    InstanceEnded,
}

/// A request for the `wasi:http` export of a component, and the channel for the response.
pub struct Exchange {
    pub request: http::Request<StreamedBody>,
    pub response: oneshot::Sender<http::Response<StreamedBody>>,
}

/// A request on its way to dispatch.
#[derive(Debug)]
pub struct ExchangeRequest {
    /// Its URI is absolute, with the path that the component sees.
    pub request: http::Request<StreamedBody>,
    pub trace: Trace,
    pub subdomain: Option<std::sync::Arc<str>>,
    /// Whether another worker may answer, because the connection has more than `http.localStreams`
    /// requests open.
    pub spill: bool,
}

impl Exchange {
    /// The memory that its head uses, in bytes. The body arrives only while the component reads it.
    pub(super) fn weight(&self) -> usize {
        let headers = self.request.headers();
        let text: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ENTRY).sum();
        let path = self.request.uri().path_and_query().map_or(0, |path| path.as_str().len());
        size_of::<Exchange>() + text + path
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("uri", self.request.uri()).finish_non_exhaustive()
    }
}
