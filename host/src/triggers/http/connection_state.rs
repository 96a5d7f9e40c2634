//! The state of one connection. A request updates it with a few plain writes to memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};

use http::Version;
use parking_lot::Mutex;

use super::content::SocketHandler;
use crate::net::{BufferAccount, BufferBudget};

/// There is no response in progress: bytes that hyper writes now belong to no request.
pub(super) const NO_RESPONSE: u8 = 0;
/// A request runs, or hyper has not taken all of its response.
pub(super) const RESPONDING: u8 = 1;
/// hyper has taken all of the response, and is writing it.
const FLUSHING: u8 = 2;

/// hyper owns the socket.
const ATTACHED: u8 = 0;
/// hyper gives up the socket once it has written the head of the response.
const DETACHING: u8 = 1;
/// hyper has written the head, and the socket belongs to its handler.
const DETACHED: u8 = 2;

/// The state of a connection. Only the thread of its worker writes it.
#[derive(Debug)]
pub(super) struct ConnectionState {
    /// The bytes that the connection buffers.
    pub(super) account: BufferAccount,
    /// Bytes of response bodies that the socket has not taken yet.
    unsent: AtomicUsize,
    /// The number of writes that sent bytes of a response body.
    body_writes: AtomicUsize,
    /// The number of writes that sent any bytes.
    writes: AtomicUsize,
    /// The number of requests without a response yet.
    running: AtomicUsize,
    /// The number of responses whose body is a stream that has not ended.
    streams: AtomicUsize,
    /// The number of requests so far.
    started: AtomicUsize,
    /// Whether bytes have arrived that belong to no request yet.
    mid_head: AtomicBool,
    http2: AtomicBool,
    /// `NO_RESPONSE`, `RESPONDING` or `FLUSHING`. Used for HTTP/1.1 only, which has one request at
    /// a time.
    phase: AtomicU8,
    /// Whether the host has rejected a head and only waits until the client closes.
    awaits_client_close: AtomicBool,
    /// Whether responses announce that the connection closes, because the host stops.
    announces_close: AtomicBool,
    /// Whether any response was a stream. A stop waits a shorter time for such a connection.
    streamed: AtomicBool,
    /// `ATTACHED`, `DETACHING` or `DETACHED`.
    socket: AtomicU8,
    /// The handler that gets the socket.
    handler: Mutex<Option<SocketHandler>>,
}

impl ConnectionState {
    pub(super) fn new(budget: Arc<BufferBudget>) -> ConnectionState {
        ConnectionState {
            account: BufferAccount::new(budget),
            unsent: AtomicUsize::new(0),
            body_writes: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            started: AtomicUsize::new(0),
            mid_head: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            phase: AtomicU8::new(NO_RESPONSE),
            awaits_client_close: AtomicBool::new(false),
            announces_close: AtomicBool::new(false),
            streamed: AtomicBool::new(false),
            socket: AtomicU8::new(ATTACHED),
            handler: Mutex::new(None),
        }
    }

    /// Counts a request. Returns the number of running requests, and the guard of this one.
    pub(super) fn start_request(self: &Arc<ConnectionState>, version: Version) -> (usize, RequestGuard) {
        if version == Version::HTTP_2 {
            self.set_http2();
        }
        self.started.store(self.started.load(Relaxed).wrapping_add(1), Relaxed);
        self.mid_head.store(false, Relaxed);
        self.set_phase(RESPONDING);
        (self.running.fetch_add(1, Relaxed).saturating_add(1), RequestGuard { state: self.clone(), runs: true })
    }

    pub(super) fn set_http2(&self) {
        self.http2.store(true, Relaxed);
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    /// Makes all further responses announce that the connection closes.
    pub(super) fn announce_close(&self) {
        self.announces_close.store(true, Relaxed);
    }

    pub(super) fn announces_close(&self) -> bool {
        self.announces_close.load(Relaxed)
    }

    /// The number of running requests.
    pub(super) fn running(&self) -> usize {
        self.running.load(Relaxed)
    }

    /// The number of requests so far.
    pub(super) fn started(&self) -> usize {
        self.started.load(Relaxed)
    }

    /// Whether part of a request's head has arrived, so that closing now would lose the request.
    pub(super) fn is_mid_head(&self) -> bool {
        self.mid_head.load(Relaxed) && self.running() == 0
    }

    /// Whether the host waits for the rest of a head.
    pub(super) fn awaits_head(&self) -> bool {
        !self.is_http2() && self.streams() == 0 && (self.mid_head.load(Relaxed) || self.started() == 0)
    }

    /// Adds bytes of a response body that hyper will send.
    pub(super) fn add_unsent(&self, bytes: usize) {
        self.unsent.store(self.unsent.load(Relaxed).saturating_add(bytes), Relaxed);
    }

    /// Records that the socket took bytes of a response body.
    pub(super) fn record_sent(&self, bytes: usize) {
        self.body_writes.store(self.body_writes.load(Relaxed).wrapping_add(1), Relaxed);
        self.remove_unsent(bytes);
    }

    /// Removes bytes of a response body that hyper will not send, or has sent.
    pub(super) fn remove_unsent(&self, bytes: usize) {
        self.unsent.store(self.unsent.load(Relaxed).saturating_sub(bytes), Relaxed);
    }

    /// Whether bytes of a response body wait for the client to read them.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent.load(Relaxed) > 0
    }

    /// The number of writes so far that sent bytes of a response body.
    pub(super) fn body_writes(&self) -> usize {
        self.body_writes.load(Relaxed)
    }

    pub(super) fn awaits_client_close(&self) -> bool {
        self.awaits_client_close.load(Relaxed)
    }

    pub(super) fn await_client_close(&self) {
        self.awaits_client_close.store(true, Relaxed);
    }

    /// Counts a streaming response until the guard is dropped.
    pub(super) fn open_stream(self: &Arc<ConnectionState>) -> StreamGuard {
        self.streams.store(self.streams().saturating_add(1), Relaxed);
        self.streamed.store(true, Relaxed);
        StreamGuard(self.clone())
    }

    /// The number of responses whose body is a stream that has not ended.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Relaxed)
    }

    pub(super) fn has_streamed(&self) -> bool {
        self.streamed.load(Relaxed)
    }

    /// Gives the socket to the handler when hyper has written the head of the response.
    pub(super) fn detach_after_head(&self, handler: SocketHandler) {
        *self.handler.lock() = Some(handler);
        self.socket.store(DETACHING, Relaxed);
    }

    /// Whether hyper no longer needs the socket.
    pub(super) fn is_detached(&self) -> bool {
        self.socket.load(Relaxed) == DETACHED
    }

    pub(super) fn take_handler(&self) -> Option<SocketHandler> {
        self.handler.lock().take()
    }

    /// Records that hyper has written everything.
    pub(super) fn record_flush(&self) {
        if self.phase() == FLUSHING {
            self.set_phase(NO_RESPONSE);
        }
        // hyper writes the head in the same poll in which it takes the response.
        if self.socket.load(Relaxed) == DETACHING {
            self.socket.store(DETACHED, Relaxed);
        }
    }

    pub(super) fn phase(&self) -> u8 {
        self.phase.load(Relaxed)
    }

    pub(super) fn set_phase(&self, phase: u8) {
        self.phase.store(phase, Relaxed);
    }

    pub(super) fn record_write(&self) {
        self.writes.store(self.writes.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// The number of writes so far that sent any bytes.
    pub(super) fn writes(&self) -> usize {
        self.writes.load(Relaxed)
    }

    /// Records that bytes have arrived, which may belong to a head.
    pub(super) fn record_read(&self) {
        self.mid_head.store(true, Relaxed);
    }
}

/// Counts a request until its response exists. Dropped when hyper has taken all of the response.
pub(super) struct RequestGuard {
    state: Arc<ConnectionState>,
    runs: bool,
}

impl RequestGuard {
    /// Ends the request, because its response exists. From now on only its unsent bytes count.
    pub(super) fn end(&mut self) {
        if std::mem::replace(&mut self.runs, false) {
            self.state.running.fetch_sub(1, Relaxed);
            self.state.mid_head.store(false, Relaxed);
        }
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.end();
        self.state.set_phase(FLUSHING);
    }
}

/// Counts a streaming response until its body ends.
pub(super) struct StreamGuard(Arc<ConnectionState>);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.streams.store(self.0.streams().saturating_sub(1), Relaxed);
    }
}
