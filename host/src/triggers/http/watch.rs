//! Watches a connection for clients that hold it without using it, and for what hyper says by itself.
//!
//! hyper has a timer for request heads, but it counts from the end of the last answer, so that it would also end
//! connections which only wait for the next request; and it costs a timer per request. Here a request and a read cost
//! a few plain writes to memory, and a slow tick, a few times per timeout, looks at them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Settings;
use super::refusal::{self, Refusal};
use crate::net::{Account, Buffered, Stream};

/// How often a timeout is looked at before it is over. A connection ends at most one part later than it could.
const PARTS: u32 = 4;

/// No answer is on its way: what is written now belongs to no request.
const NOTHING: u8 = 0;
/// A request runs, or hyper has not taken all of its answer.
const ANSWER: u8 = 1;
/// hyper has all of the answer, and writes it.
const FLUSH: u8 = 2;

/// What a connection does. Written by its own thread only.
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
    /// Requests so far.
    started: AtomicUsize,
    /// Writes that moved bytes so far.
    written: AtomicUsize,
    /// Whether bytes came that belong to no request yet.
    mid_head: AtomicBool,
    http2: AtomicBool,
    /// `NOTHING`, `ANSWER` or `FLUSH`. Of HTTP/1.1 only, where one request comes after another.
    owed: AtomicU8,
    /// Whether a refusal was sent, and all that is waited for is that the client closes.
    lingers: AtomicBool,
    /// Whether the host stops, so that answers announce the end of the connection.
    ends: AtomicBool,
}

impl Activity {
    pub(super) fn new(budget: Arc<Buffered>) -> Activity {
        Activity {
            account: Account::new(budget),
            unsent: AtomicUsize::new(0),
            moved: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            started: AtomicUsize::new(0),
            written: AtomicUsize::new(0),
            mid_head: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            owed: AtomicU8::new(NOTHING),
            lingers: AtomicBool::new(false),
            ends: AtomicBool::new(false),
        }
    }

    /// Counts a request; how many there are now, and a guard that takes it off again.
    pub(super) fn start(self: &Arc<Activity>, version: Version) -> (usize, Running) {
        if version == Version::HTTP_2 {
            self.http2.store(true, Relaxed);
        }
        self.started.store(self.started.load(Relaxed).wrapping_add(1), Relaxed);
        self.mid_head.store(false, Relaxed);
        self.owed.store(ANSWER, Relaxed);
        (self.running.fetch_add(1, Relaxed).saturating_add(1), Running { activity: self.clone(), runs: true })
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    /// The host stops.
    pub(super) fn announce_end(&self) {
        self.ends.store(true, Relaxed);
    }

    pub(super) fn ends(&self) -> bool {
        self.ends.load(Relaxed)
    }

    /// Whether part of a request's head has arrived, so that closing now would lose the request.
    pub(super) fn is_mid_head(&self) -> bool {
        self.mid_head.load(Relaxed) && self.running.load(Relaxed) == 0
    }

    /// An answer's body is on its way.
    pub(super) fn will_send(&self, bytes: usize) {
        self.unsent.store(self.unsent.load(Relaxed).saturating_add(bytes), Relaxed);
    }

    /// The socket has taken bytes of it.
    pub(super) fn sent(&self, bytes: usize) {
        self.moved.store(self.moved.load(Relaxed).wrapping_add(1), Relaxed);
        self.dropped(bytes);
    }

    /// Bytes of it will not be sent.
    pub(super) fn dropped(&self, bytes: usize) {
        self.unsent.store(self.unsent.load(Relaxed).saturating_sub(bytes), Relaxed);
    }

    pub(super) fn lingers(&self) -> bool {
        self.lingers.load(Relaxed)
    }

    fn wrote(&self) {
        self.written.store(self.written.load(Relaxed).wrapping_add(1), Relaxed);
    }

    fn read(&self, bytes: &[u8]) {
        // The preface of HTTP/2; no method is called so.
        if self.started.load(Relaxed) == 0 && bytes.starts_with(b"PRI") {
            self.http2.store(true, Relaxed);
        }
        self.mid_head.store(true, Relaxed);
    }
}

/// A request whose answer hyper has not taken yet.
pub(super) struct Running {
    activity: Arc<Activity>,
    runs: bool,
}

impl Running {
    /// The answer is there. From now on it counts whether the client takes it.
    pub(super) fn end(&mut self) {
        if std::mem::replace(&mut self.runs, false) {
            self.activity.running.fetch_sub(1, Relaxed);
            self.activity.mid_head.store(false, Relaxed);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
        self.activity.owed.store(FLUSH, Relaxed);
    }
}

/// A socket that notes what it does.
pub(super) struct Watched {
    stream: Stream,
    activity: Arc<Activity>,
    settings: Arc<Settings>,
    refusal: Option<Refusal>,
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(bytes) = buf.filled().get(before..).filter(|bytes| !bytes.is_empty()) {
            self.activity.read(bytes);
        }
        polled
    }
}

impl Watched {
    pub(super) fn new(stream: Stream, activity: Arc<Activity>, settings: Arc<Settings>) -> Watched {
        Watched { stream, activity, settings, refusal: None }
    }

    fn note(&self, polled: &Poll<io::Result<usize>>) {
        if matches!(polled, Poll::Ready(Ok(1..))) {
            self.activity.wrote();
        }
    }

    /// Takes what hyper says by itself, to send a whole answer in its place. hyper writes such an answer in one piece, as
    /// the last of a connection, and flushes what it wrote before it reads the next head; where it reads on before (a body that ends after
    /// its answer) its own answer goes out as it is.
    fn refuse(&mut self, bytes: &[u8]) -> Option<usize> {
        let is_ours = self.activity.owed.load(Relaxed) != NOTHING || self.activity.http2.load(Relaxed);
        if is_ours {
            return None;
        }
        self.refusal = Some(refusal::instead(bytes, &self.settings)?);
        // From now on the client has as long as it would for a head.
        self.activity.mid_head.store(true, Relaxed);
        self.activity.owed.store(ANSWER, Relaxed);
        Some(bytes.len())
    }

    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.refusal {
            None => Poll::Ready(Ok(())),
            Some(refusal) => refusal.poll_send(cx, &mut self.stream, || self.activity.wrote()),
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(taken) = self.refuse(buf) {
            return Poll::Ready(Ok(taken));
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = bufs
            && let Some(taken) = self.refuse(only)
        {
            return Poll::Ready(Ok(taken));
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has written all it had.
        if self.activity.owed.load(Relaxed) == FLUSH {
            self.activity.owed.store(NOTHING, Relaxed);
        }
        ready!(self.poll_refusal(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(cx))?;
        let Watched { stream, activity, refusal, .. } = &mut *self;
        match refusal {
            None => Pin::new(stream).poll_shutdown(cx),
            Some(refusal) => {
                activity.lingers.store(true, Relaxed);
                refusal.poll_close(cx, stream)
            }
        }
    }
}

/// What to do with a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// It has done nothing for too long: say goodbye.
    Idle,
    /// A head that does not end, or a goodbye that nobody takes.
    Drop,
}

/// Judges a connection, tick by tick.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) tick: Duration,
    head_ticks: u32,
    idle_ticks: u32,
    /// Ticks without progress.
    quiet: u32,
    /// Ticks with a head that has not ended.
    head: u32,
    started: usize,
    written: usize,
    moved: usize,
    said_goodbye: bool,
}

impl Watch {
    pub(super) fn new(header_timeout: Duration, idle_timeout: Duration) -> Watch {
        let tick = (header_timeout.min(idle_timeout) / PARTS).max(Duration::from_millis(1));
        let ticks =
            |timeout: Duration| u32::try_from(timeout.as_nanos().div_ceil(tick.as_nanos().max(1))).unwrap_or(u32::MAX);
        Watch {
            tick,
            // The tick under way when a wait begins does not count for it.
            head_ticks: ticks(header_timeout).saturating_add(1),
            idle_ticks: ticks(idle_timeout).saturating_add(1),
            quiet: 0,
            head: 0,
            started: 0,
            written: 0,
            moved: 0,
            said_goodbye: false,
        }
    }

    pub(super) fn look(&mut self, activity: &Activity) -> Verdict {
        let (started, written) = (activity.started.load(Relaxed), activity.written.load(Relaxed));
        let (is_http2, running) = (activity.is_http2(), activity.running.load(Relaxed) > 0);
        let new_request = std::mem::replace(&mut self.started, started) != started;
        let new_write = std::mem::replace(&mut self.written, written) != written;
        let moved = activity.moved.load(Relaxed);
        let has_moved = std::mem::replace(&mut self.moved, moved) != moved;
        // A client that leaves an answer lying makes the host hold it: nothing but taking it is
        // progress. HTTP/2 writes frames of its own, such as answers to PINGs, so only bytes of
        // answers count there.
        let progress = match activity.unsent.load(Relaxed) > 0 {
            true => has_moved,
            false => running || new_request || has_moved || (new_write && !is_http2),
        };
        let in_head = !is_http2 && (activity.mid_head.load(Relaxed) || started == 0);
        self.quiet = if progress { 0 } else { self.quiet.saturating_add(1) };
        self.head = if running || new_request || !in_head { 0 } else { self.head.saturating_add(1) };
        if self.head >= self.head_ticks || (self.said_goodbye && self.quiet > self.idle_ticks) {
            Verdict::Drop
        } else if self.quiet >= self.idle_ticks && !std::mem::replace(&mut self.said_goodbye, true) {
            Verdict::Idle
        } else {
            Verdict::Keep
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> (Watch, Arc<Activity>) {
        // Ticks of 1 s: a head may take 5 ticks, an idle connection 9.
        (
            Watch::new(Duration::from_secs(4), Duration::from_secs(8)),
            Arc::new(Activity::new(Arc::new(Buffered::new(1 << 20)))),
        )
    }

    /// The first verdict that is not `Keep`, and after how many ticks.
    fn first(watch: &mut Watch, activity: &Activity) -> (u32, Verdict) {
        let mut ticks = 0;
        loop {
            ticks += 1;
            match watch.look(activity) {
                Verdict::Keep => assert!(ticks < 100, "kept for ever"),
                verdict => return (ticks, verdict),
            }
        }
    }

    #[test]
    fn a_client_that_says_nothing_is_dropped_after_the_header_timeout() {
        let (mut watch, activity) = watch();
        assert_eq!(first(&mut watch, &activity), (5, Verdict::Drop));
    }

    #[test]
    fn a_head_that_trickles_is_dropped_on_a_used_connection_too() {
        let (mut watch, activity) = watch();
        drop(activity.start(Version::HTTP_11));
        assert_eq!(watch.look(&activity), Verdict::Keep);
        activity.read(b"G");
        assert_eq!(watch.look(&activity), Verdict::Keep);
        activity.read(b"E");
        assert_eq!(first(&mut watch, &activity), (4, Verdict::Drop));
    }

    #[test]
    fn an_idle_connection_gets_a_goodbye_then_is_dropped() {
        let (mut watch, activity) = watch();
        drop(activity.start(Version::HTTP_11));
        assert_eq!(watch.look(&activity), Verdict::Keep);
        assert_eq!(first(&mut watch, &activity), (9, Verdict::Idle));
        assert_eq!(first(&mut watch, &activity), (1, Verdict::Drop));
    }

    #[test]
    fn requests_that_run_and_answers_that_move_keep_it() {
        let (mut watch, activity) = watch();
        let (open, guard) = activity.start(Version::HTTP_11);
        assert_eq!(open, 1);
        for _ in 0..50 {
            assert_eq!(watch.look(&activity), Verdict::Keep);
        }
        drop(guard);
        for _ in 0..50 {
            activity.written.fetch_add(1, Relaxed);
            assert_eq!(watch.look(&activity), Verdict::Keep);
        }
        assert_eq!(first(&mut watch, &activity).1, Verdict::Idle);
    }

    #[test]
    fn http2_has_the_idle_timeout_only() {
        let (mut watch, activity) = watch();
        activity.read(b"PRI * HTTP/2.0\r\n");
        assert_eq!(first(&mut watch, &activity), (9, Verdict::Idle));
    }

    #[test]
    fn an_answer_that_does_not_move_is_not_kept_by_other_writes() {
        let (mut watch, activity) = watch();
        activity.read(b"PRI * HTTP/2.0\r\n");
        activity.will_send(100);
        let (_, running) = activity.start(Version::HTTP_2);
        for _ in 0..50 {
            activity.wrote();
            activity.sent(1);
            assert_eq!(watch.look(&activity), Verdict::Keep);
        }
        // Answers to PINGs, and another request that runs.
        for _ in 0..8 {
            activity.wrote();
            assert_eq!(watch.look(&activity), Verdict::Keep);
        }
        activity.wrote();
        assert_eq!(watch.look(&activity), Verdict::Idle);
        assert_eq!(watch.look(&activity), Verdict::Drop);
        drop(running);
    }

    #[test]
    fn an_http2_connection_that_only_pings_is_idle() {
        let (mut watch, activity) = watch();
        activity.read(b"PRI * HTTP/2.0\r\n");
        for _ in 0..8 {
            activity.wrote();
            assert_eq!(watch.look(&activity), Verdict::Keep);
        }
        assert_eq!(watch.look(&activity), Verdict::Idle);
    }
}
