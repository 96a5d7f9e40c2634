//! The bytes that the host buffers for one request until the client has read the response.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Version};

use super::connection_state::{ConnectionState, StreamGuard};
use super::content::SocketHandler;
use crate::net::BudgetExceeded;

/// The bytes of an open HTTP/2 stream besides its head: the state that h2, hyper and the host keep.
const STREAM: u64 = 4 * 1024;

/// The bytes of a header field besides its text.
const FIELD: u64 = 32;

/// The bytes that one request adds to the account of its connection, until the lease is dropped.
pub(super) struct BufferLease {
    state: Arc<ConnectionState>,
    bytes: u64,
}

impl BufferLease {
    /// Opens the lease of a new request. Over HTTP/1.1 it has no bytes yet, because a connection
    /// has one request at a time and hyper bounds its head.
    pub(super) fn for_request<B>(
        request: &Request<B>,
        state: &Arc<ConnectionState>,
    ) -> Result<BufferLease, BudgetExceeded> {
        let mut lease = BufferLease { state: state.clone(), bytes: 0 };
        if request.version() == Version::HTTP_2 {
            let uri = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
            lease.grow(STREAM.saturating_add(uri as u64).saturating_add(header_bytes(request.headers())))?;
        }
        Ok(lease)
    }

    /// Opens a lease for one frame of the stream that this lease belongs to.
    pub(super) fn for_frame(&self, bytes: u64) -> Result<BufferLease, BudgetExceeded> {
        let mut lease = self.another();
        lease.grow(bytes)?;
        Ok(lease)
    }

    /// Opens a lease without bytes for the same connection.
    pub(super) fn another(&self) -> BufferLease {
        BufferLease { state: self.state.clone(), bytes: 0 }
    }

    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), BudgetExceeded> {
        self.state.account.add(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// The number of bytes.
    pub(super) fn size(&self) -> u64 {
        self.bytes
    }

    /// Releases all bytes beyond this number.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.state.account.remove(surplus);
        self.bytes = self.bytes.saturating_sub(surplus);
    }

    pub(super) fn is_http2(&self) -> bool {
        self.state.is_http2()
    }

    /// Gives the socket to the handler when hyper has written the head of the response.
    pub(super) fn detach_after_head(&self, handler: SocketHandler) {
        self.state.detach_after_head(handler);
    }

    pub(super) fn open_stream(&self) -> StreamGuard {
        self.state.open_stream()
    }

    /// Makes all further responses announce that the connection closes.
    pub(super) fn announce_close(&self) {
        self.state.announce_close();
    }

    /// Whether the response must announce that the connection closes.
    pub(super) fn announces_close(&self) -> bool {
        self.state.announces_close()
    }
}

impl Drop for BufferLease {
    fn drop(&mut self) {
        self.state.account.remove(self.bytes);
    }
}

/// The bytes of all header fields.
pub(super) fn header_bytes(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len()) as u64 + FIELD).sum()
}

/// The bytes of a response that the socket has not taken. hyper and h2 keep them until then, and
/// call `advance` for each part that they write, which tells `IdleWatch` that the client reads its
/// response.
pub(super) struct UnsentBytes {
    bytes: Bytes,
    lease: BufferLease,
}

impl UnsentBytes {
    pub(super) fn new(bytes: Bytes, lease: BufferLease) -> UnsentBytes {
        lease.state.add_unsent(bytes.len());
        UnsentBytes { bytes, lease }
    }
}

impl Buf for UnsentBytes {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.lease.state.record_sent(count);
    }
}

impl Drop for UnsentBytes {
    fn drop(&mut self) {
        self.lease.state.remove_unsent(self.bytes.len());
    }
}
