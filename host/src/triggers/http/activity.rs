//! The current state of a connection, kept by a few plain writes to memory per request and read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};

use http::Version;
use parking_lot::Mutex;

use super::content::SocketHandler;
use crate::net::{Account, Buffered};

/// No answer is on its way: bytes that hyper writes now belong to no request.
pub(super) const NOTHING: u8 = 0;
/// A request runs, or hyper has not taken all of its answer.
pub(super) const ANSWER: u8 = 1;
/// hyper has taken all of the answer, and writes it.
const FLUSH: u8 = 2;

/// hyper keeps the socket.
const KEPT: u8 = 0;
/// The socket is handed over once the head of the answer has left.
const WANTED: u8 = 1;
/// The head has left.
const FREE: u8 = 2;

/// The state of a connection. Only its own thread writes it.
#[derive(Debug)]
pub(super) struct Activity {
    /// Bytes that it holds.
    pub(super) account: Account,
    /// Bytes of answers' bodies that hyper has, or will get, and that the socket has not taken.
    unsent: AtomicUsize,
    /// Writes so far that moved bytes of an answer's body.
    moved: AtomicUsize,
    /// Requests that are not answered yet.
    running: AtomicUsize,
    /// Answers whose body is a stream that has not ended.
    streams: AtomicUsize,
    /// Requests so far.
    started: AtomicUsize,
    /// Writes that moved bytes so far.
    written: AtomicUsize,
    /// Whether bytes arrived that belong to no request yet.
    mid_head: AtomicBool,
    http2: AtomicBool,
    /// `NOTHING`, `ANSWER` or `FLUSH`. Used for HTTP/1.1 only, which has one request at a time.
    owed: AtomicU8,
    /// Whether the host sent a refusal and only waits until the client closes.
    lingers: AtomicBool,
    /// Whether the host stops, so that answers announce the end of the connection.
    ends: AtomicBool,
    /// Whether any answer was a stream. A stop waits a shorter time for such a connection.
    streamed: AtomicBool,
    /// `KEPT`, `WANTED` or `FREE`.
    socket: AtomicU8,
    /// The handler that gets the socket.
    handler: Mutex<Option<SocketHandler>>,
}

impl Activity {
    pub(super) fn new(budget: Arc<Buffered>) -> Activity {
        Activity {
            account: Account::new(budget),
            unsent: AtomicUsize::new(0),
            moved: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            started: AtomicUsize::new(0),
            written: AtomicUsize::new(0),
            mid_head: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            owed: AtomicU8::new(NOTHING),
            lingers: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            streamed: AtomicBool::new(false),
            socket: AtomicU8::new(KEPT),
            handler: Mutex::new(None),
        }
    }

    /// Counts a request. Returns the number of running requests, and a guard that ends this one.
    pub(super) fn start(self: &Arc<Activity>, version: Version) -> (usize, OpenAnswer) {
        if version == Version::HTTP_2 {
            self.set_http2();
        }
        self.started.store(self.started.load(Relaxed).wrapping_add(1), Relaxed);
        self.mid_head.store(false, Relaxed);
        self.owe(ANSWER);
        (self.running.fetch_add(1, Relaxed).saturating_add(1), OpenAnswer { activity: self.clone(), runs: true })
    }

    pub(super) fn set_http2(&self) {
        self.http2.store(true, Relaxed);
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    /// Records that the host stops.
    pub(super) fn announce_end(&self) {
        self.ends.store(true, Relaxed);
    }

    pub(super) fn ends(&self) -> bool {
        self.ends.load(Relaxed)
    }

    /// Requests that run.
    pub(super) fn running(&self) -> usize {
        self.running.load(Relaxed)
    }

    /// Requests so far.
    pub(super) fn started(&self) -> usize {
        self.started.load(Relaxed)
    }

    /// Whether part of a request's head has arrived, so that closing now would lose the request.
    pub(super) fn is_mid_head(&self) -> bool {
        self.mid_head.load(Relaxed) && self.running() == 0
    }

    /// Whether the client owes the rest of a head.
    pub(super) fn awaits_head(&self) -> bool {
        !self.is_http2() && self.streams() == 0 && (self.mid_head.load(Relaxed) || self.started() == 0)
    }

    /// Adds bytes of an answer's body that hyper will send.
    pub(super) fn will_send(&self, bytes: usize) {
        self.unsent.store(self.unsent.load(Relaxed).saturating_add(bytes), Relaxed);
    }

    /// Records that the socket took bytes of an answer's body.
    pub(super) fn sent(&self, bytes: usize) {
        self.moved.store(self.moved.load(Relaxed).wrapping_add(1), Relaxed);
        self.dropped(bytes);
    }

    /// Records that bytes of an answer's body will not be sent.
    pub(super) fn dropped(&self, bytes: usize) {
        self.unsent.store(self.unsent.load(Relaxed).saturating_sub(bytes), Relaxed);
    }

    /// Whether the client has bytes to take.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent.load(Relaxed) > 0
    }

    /// Writes so far that moved bytes of an answer's body.
    pub(super) fn moved(&self) -> usize {
        self.moved.load(Relaxed)
    }

    pub(super) fn lingers(&self) -> bool {
        self.lingers.load(Relaxed)
    }

    pub(super) fn linger(&self) {
        self.lingers.store(true, Relaxed);
    }

    /// Records that an answer is a stream.
    pub(super) fn open_stream(self: &Arc<Activity>) -> OpenStream {
        self.streams.store(self.streams().saturating_add(1), Relaxed);
        self.streamed.store(true, Relaxed);
        OpenStream(self.clone())
    }

    /// Answers whose body is a stream that has not ended.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Relaxed)
    }

    pub(super) fn has_streamed(&self) -> bool {
        self.streamed.load(Relaxed)
    }

    /// Hands the socket over when the head of the answer has left.
    pub(super) fn want_socket(&self, handler: SocketHandler) {
        *self.handler.lock() = Some(handler);
        self.socket.store(WANTED, Relaxed);
    }

    /// Whether hyper is done with the socket.
    pub(super) fn is_socket_free(&self) -> bool {
        self.socket.load(Relaxed) == FREE
    }

    pub(super) fn take_handler(&self) -> Option<SocketHandler> {
        self.handler.lock().take()
    }

    /// Records that hyper has written everything.
    pub(super) fn flushed(&self) {
        if self.owed() == FLUSH {
            self.owe(NOTHING);
        }
        // hyper writes the head in the same poll in which it takes the answer.
        if self.socket.load(Relaxed) == WANTED {
            self.socket.store(FREE, Relaxed);
        }
    }

    pub(super) fn owed(&self) -> u8 {
        self.owed.load(Relaxed)
    }

    pub(super) fn owe(&self, owed: u8) {
        self.owed.store(owed, Relaxed);
    }

    pub(super) fn wrote(&self) {
        self.written.store(self.written.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Writes that moved bytes so far.
    pub(super) fn written(&self) -> usize {
        self.written.load(Relaxed)
    }

    /// Records that bytes of a head have arrived.
    pub(super) fn read(&self) {
        self.mid_head.store(true, Relaxed);
    }
}

/// A request whose answer hyper has not taken yet.
pub(super) struct OpenAnswer {
    activity: Arc<Activity>,
    runs: bool,
}

impl OpenAnswer {
    /// Ends the request, because its answer exists. From now on only its unsent bytes count.
    pub(super) fn end(&mut self) {
        if std::mem::replace(&mut self.runs, false) {
            self.activity.running.fetch_sub(1, Relaxed);
            self.activity.mid_head.store(false, Relaxed);
        }
    }
}

impl Drop for OpenAnswer {
    fn drop(&mut self) {
        self.end();
        self.activity.owe(FLUSH);
    }
}

/// Counts a streaming answer until its body ends.
pub(super) struct OpenStream(Arc<Activity>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.store(self.0.streams().saturating_sub(1), Relaxed);
    }
}
