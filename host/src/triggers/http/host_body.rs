//! The body of a request for a route of the host.

use std::fmt;
use std::time::Duration;

use hyper::body::Incoming;

use super::body::{self, MaxBody};
use super::buffer_lease::BufferLease;
use super::problem_response::ProblemResponse;

/// A body that a route may read. Dropping it discards the body as for a rejected request.
pub struct HostBody {
    /// `None` once it is read, and in tests.
    body: Option<Incoming>,
    /// Passed to [`body::discard`].
    drain: bool,
    timeout: Duration,
    /// Counts the bytes that are read. `None` in tests.
    lease: Option<BufferLease>,
}

impl HostBody {
    pub(super) fn new(body: Incoming, drain: bool, timeout: Duration, lease: &BufferLease) -> HostBody {
        HostBody { body: Some(body), drain, timeout, lease: Some(lease.another()) }
    }

    #[cfg(test)]
    pub(in crate::triggers) fn none() -> HostBody {
        HostBody { body: None, drain: false, timeout: Duration::ZERO, lease: None }
    }

    /// Reads the whole body, at most `max` bytes. `key` is the setting with this limit.
    pub(in crate::triggers) async fn read(mut self, max: u64, key: &'static str) -> Result<Vec<u8>, ProblemResponse> {
        let (Some(body), Some(lease)) = (self.body.take(), &mut self.lease) else { return Ok(Vec::new()) };
        body::bytes(body, MaxBody::of_setting(max, key), self.timeout, self.drain, lease).await
    }
}

impl Drop for HostBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            body::discard(body, self.drain);
        }
    }
}

impl fmt::Debug for HostBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostBody")
    }
}
