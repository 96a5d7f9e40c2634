//! Finds connections that their clients keep open without using them.
//!
//! hyper has a timer for request heads, but it starts at the end of the previous response. It would
//! also close connections that only wait for the next request, and it costs a timer per request.
//! Here a request and a read cost a few plain writes to memory, and the task of the connection
//! checks them a few times per timeout.
//!
//! hyper and h2 keep a response until the socket accepts it, and ask for the next frame of a stream
//! even while they hold unsent bytes. So the unsent bytes decide: a stream without any is quiet,
//! and stays open; one whose bytes the socket does not accept has a client that does not read, even
//! if that client keeps sending.

use std::time::Duration;

use super::connection_state::ConnectionState;

/// Checks per timeout. A connection may stay open for one tick longer than its timeout.
const TICKS_PER_TIMEOUT: u32 = 4;

/// The action to take on a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ConnectionAction {
    Keep,
    /// Shut it down gracefully: it closes when its requests have ended.
    ShutDown,
    /// Drop it at once, because a head took too long or the client ignores the shutdown.
    Drop,
}

/// Applies `http.headerTimeout` and `http.idleTimeout` to one connection.
#[derive(Debug)]
pub(super) struct IdleWatch {
    /// The time between two checks.
    pub(super) tick: Duration,
    max_head_ticks: u32,
    max_idle_ticks: u32,
    /// Successive ticks without progress.
    idle_ticks: u32,
    /// Successive ticks in which the host waited for the rest of a head.
    head_ticks: u32,
    /// The counters of the connection at the previous check.
    started: usize,
    writes: usize,
    body_writes: usize,
    is_shutting_down: bool,
}

impl IdleWatch {
    pub(super) fn new(header_timeout: Duration, idle_timeout: Duration) -> IdleWatch {
        let tick = (header_timeout.min(idle_timeout) / TICKS_PER_TIMEOUT).max(Duration::from_millis(1));
        let ticks =
            |timeout: Duration| u32::try_from(timeout.as_nanos().div_ceil(tick.as_nanos().max(1))).unwrap_or(u32::MAX);
        IdleWatch {
            tick,
            // One more, because a wait usually begins in the middle of a tick.
            max_head_ticks: ticks(header_timeout).saturating_add(1),
            max_idle_ticks: ticks(idle_timeout).saturating_add(1),
            idle_ticks: 0,
            head_ticks: 0,
            started: 0,
            writes: 0,
            body_writes: 0,
            is_shutting_down: false,
        }
    }

    /// Whether the client has read bytes of a response since the previous check.
    pub(super) fn has_sent(&mut self, state: &ConnectionState) -> bool {
        let body_writes = state.body_writes();
        std::mem::replace(&mut self.body_writes, body_writes) != body_writes
    }

    /// Decides what to do with the connection. Call it once per tick.
    pub(super) fn check(&mut self, state: &ConnectionState) -> ConnectionAction {
        let (started, writes) = (state.started(), state.writes());
        let (is_http2, running) = (state.is_http2(), state.running() > 0);
        let new_request = std::mem::replace(&mut self.started, started) != started;
        let new_write = std::mem::replace(&mut self.writes, writes) != writes;
        let has_sent = self.has_sent(state);
        // While bytes of a response wait, only sending them is progress. Over HTTP/2 other writes
        // never count, because h2 also writes frames of its own, such as replies to PINGs. A stream
        // that has nothing to send is not idle.
        let progress = match state.has_unsent() {
            true => has_sent,
            false => running || state.streams() > 0 || new_request || has_sent || (new_write && !is_http2),
        };
        self.idle_ticks = if progress { 0 } else { self.idle_ticks.saturating_add(1) };
        let in_head = state.awaits_head() && !running && !new_request;
        self.head_ticks = if in_head { self.head_ticks.saturating_add(1) } else { 0 };
        if self.head_ticks >= self.max_head_ticks || (self.is_shutting_down && self.idle_ticks > self.max_idle_ticks) {
            ConnectionAction::Drop
        } else if self.idle_ticks >= self.max_idle_ticks && !std::mem::replace(&mut self.is_shutting_down, true) {
            ConnectionAction::ShutDown
        } else {
            ConnectionAction::Keep
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::BufferBudget;
    use http::Version;
    use std::sync::Arc;

    fn watch() -> (IdleWatch, Arc<ConnectionState>) {
        // Ticks of 1 s: the host drops a slow head at tick 5, and shuts an idle connection down at
        // tick 9.
        (
            IdleWatch::new(Duration::from_secs(4), Duration::from_secs(8)),
            Arc::new(ConnectionState::new(Arc::new(BufferBudget::new(1 << 20)))),
        )
    }

    /// Returns the first action that is not `Keep`, and its tick.
    fn first_action(watch: &mut IdleWatch, state: &ConnectionState) -> (u32, ConnectionAction) {
        let mut ticks = 0;
        loop {
            ticks += 1;
            match watch.check(state) {
                ConnectionAction::Keep => assert!(ticks < 100, "the connection is never closed"),
                action => return (ticks, action),
            }
        }
    }

    #[test]
    fn a_client_that_sends_nothing_is_dropped_after_the_header_timeout() {
        let (mut watch, state) = watch();
        assert_eq!(first_action(&mut watch, &state), (5, ConnectionAction::Drop));
    }

    #[test]
    fn a_slow_head_is_dropped_on_a_used_connection_too() {
        let (mut watch, state) = watch();
        drop(state.start_request(Version::HTTP_11));
        assert_eq!(watch.check(&state), ConnectionAction::Keep);
        state.record_read();
        assert_eq!(watch.check(&state), ConnectionAction::Keep);
        state.record_read();
        assert_eq!(first_action(&mut watch, &state), (4, ConnectionAction::Drop));
    }

    #[test]
    fn an_idle_connection_is_shut_down_then_dropped() {
        let (mut watch, state) = watch();
        drop(state.start_request(Version::HTTP_11));
        assert_eq!(watch.check(&state), ConnectionAction::Keep);
        assert_eq!(first_action(&mut watch, &state), (9, ConnectionAction::ShutDown));
        assert_eq!(first_action(&mut watch, &state), (1, ConnectionAction::Drop));
    }

    #[test]
    fn running_requests_and_sent_bytes_keep_a_connection_open() {
        let (mut watch, state) = watch();
        let (open, guard) = state.start_request(Version::HTTP_11);
        assert_eq!(open, 1);
        for _ in 0..50 {
            assert_eq!(watch.check(&state), ConnectionAction::Keep);
        }
        drop(guard);
        for _ in 0..50 {
            state.record_write();
            assert_eq!(watch.check(&state), ConnectionAction::Keep);
        }
        assert_eq!(first_action(&mut watch, &state).1, ConnectionAction::ShutDown);
    }

    #[test]
    fn only_the_idle_timeout_applies_to_http2() {
        let (mut watch, state) = watch();
        state.set_http2();
        assert_eq!(first_action(&mut watch, &state), (9, ConnectionAction::ShutDown));
    }

    #[test]
    fn other_writes_do_not_keep_a_client_that_reads_no_response() {
        let (mut watch, state) = watch();
        state.set_http2();
        state.add_unsent(100);
        let (_, running) = state.start_request(Version::HTTP_2);
        for _ in 0..50 {
            state.record_write();
            state.record_sent(1);
            assert_eq!(watch.check(&state), ConnectionAction::Keep);
        }
        // Replies to PINGs, while another request runs.
        for _ in 0..8 {
            state.record_write();
            assert_eq!(watch.check(&state), ConnectionAction::Keep);
        }
        state.record_write();
        assert_eq!(watch.check(&state), ConnectionAction::ShutDown);
        assert_eq!(watch.check(&state), ConnectionAction::Drop);
        drop(running);
    }

    #[test]
    fn an_http2_connection_that_only_pings_is_idle() {
        let (mut watch, state) = watch();
        state.set_http2();
        for _ in 0..8 {
            state.record_write();
            assert_eq!(watch.check(&state), ConnectionAction::Keep);
        }
        assert_eq!(watch.check(&state), ConnectionAction::ShutDown);
    }

    #[test]
    fn a_quiet_stream_is_kept_and_one_whose_client_reads_nothing_is_shut_down() {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let (mut watch, state) = watch();
            drop(state.start_request(version));
            let stream = state.open_stream();
            for _ in 0..50 {
                // The client may send bytes meanwhile.
                state.record_read();
                assert_eq!(watch.check(&state), ConnectionAction::Keep);
            }
            state.add_unsent(10);
            for _ in 0..8 {
                state.record_write();
                assert_eq!(watch.check(&state), ConnectionAction::Keep);
            }
            assert_eq!(watch.check(&state), ConnectionAction::ShutDown);
            assert_eq!(watch.check(&state), ConnectionAction::Drop);
            drop(stream);
        }
    }
}
