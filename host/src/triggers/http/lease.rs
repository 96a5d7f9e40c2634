//! Bytes that the host holds for a request until the client has taken its answer.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Version};

use super::activity::{Activity, OpenStream};
use super::content::SocketHandler;
use crate::net::Full;

/// Bytes of an open HTTP/2 stream besides its head: the state that h2, hyper and the host keep.
const STREAM: u64 = 4 * 1024;

/// Bytes of a header field besides its text.
const FIELD: u64 = 32;

/// Bytes that a request makes its connection hold, until this is dropped.
pub(super) struct Lease {
    activity: Arc<Activity>,
    bytes: u64,
}

impl Lease {
    /// Opens the lease of a new request. Over HTTP/1.1 it holds nothing yet, because a connection
    /// has one request at a time and hyper bounds its head.
    pub(super) fn of<B>(request: &Request<B>, activity: &Arc<Activity>) -> Result<Lease, Full> {
        let mut lease = Lease { activity: activity.clone(), bytes: 0 };
        if request.version() == Version::HTTP_2 {
            let uri = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
            lease.grow(STREAM.saturating_add(uri as u64).saturating_add(size_of(request.headers())))?;
        }
        Ok(lease)
    }

    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), Full> {
        self.activity.account.hold(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Bytes that it holds.
    pub(super) fn size(&self) -> u64 {
        self.bytes
    }

    /// Releases all bytes beyond this number.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.activity.account.release(surplus);
        self.bytes = self.bytes.saturating_sub(surplus);
    }

    /// Opens a lease for one frame of a stream, whose head this one holds.
    pub(super) fn of_frame(&self, bytes: u64) -> Result<Lease, Full> {
        let mut lease = Lease { activity: self.activity.clone(), bytes: 0 };
        lease.grow(bytes)?;
        Ok(lease)
    }

    pub(super) fn is_http2(&self) -> bool {
        self.activity.is_http2()
    }

    /// Hands the socket over when the head of the answer has left.
    pub(super) fn want_socket(&self, handler: SocketHandler) {
        self.activity.want_socket(handler);
    }

    pub(super) fn open_stream(&self) -> OpenStream {
        self.activity.open_stream()
    }

    /// Records that the stream of this lease has ended because the host stops.
    pub(super) fn is_ended_by_stop(&self) {
        self.activity.announce_end();
    }

    /// Whether the connection ends with the answer, because the host stops.
    pub(super) fn is_last(&self) -> bool {
        self.activity.ends()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.activity.account.release(self.bytes);
    }
}

/// Bytes of header fields.
pub(super) fn size_of(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len()) as u64 + FIELD).sum()
}

/// Bytes of an answer that the socket has not taken. hyper and h2 hold them until then, and call
/// `advance` for each part that they write; so it tells `IdleWatch` that the client
/// takes its answer.
pub(super) struct Unsent {
    bytes: Bytes,
    lease: Lease,
}

impl Unsent {
    pub(super) fn new(bytes: Bytes, lease: Lease) -> Unsent {
        lease.activity.will_send(bytes.len());
        Unsent { bytes, lease }
    }
}

impl Buf for Unsent {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.lease.activity.sent(count);
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.lease.activity.dropped(self.bytes.len());
    }
}
