//! Finds connections whose client holds them without using them.
//!
//! hyper has a timer for request heads, but it counts from the end of the last answer. So it would
//! also end connections that only wait for the next request, and it costs a timer per request.
//! Here a request and a read cost a few plain writes to memory, and a slow tick, a few times per
//! timeout, looks at them.

use std::time::Duration;

use super::activity::Activity;

/// Ticks per timeout. A connection ends at most one tick later than it could.
const PARTS: u32 = 4;

/// What to do with a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// The connection was idle for too long: it ends when its requests have ended.
    Finish,
    /// The head of a request does not end, or the client ignores that the connection ends.
    Drop,
}

/// Judges a connection, tick by tick.
#[derive(Debug)]
pub(super) struct IdleWatch {
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
    is_finishing: bool,
}

impl IdleWatch {
    pub(super) fn new(header_timeout: Duration, idle_timeout: Duration) -> IdleWatch {
        let tick = (header_timeout.min(idle_timeout) / PARTS).max(Duration::from_millis(1));
        let ticks =
            |timeout: Duration| u32::try_from(timeout.as_nanos().div_ceil(tick.as_nanos().max(1))).unwrap_or(u32::MAX);
        IdleWatch {
            tick,
            // The tick under way when a wait begins does not count for it.
            head_ticks: ticks(header_timeout).saturating_add(1),
            idle_ticks: ticks(idle_timeout).saturating_add(1),
            quiet: 0,
            head: 0,
            started: 0,
            written: 0,
            moved: 0,
            is_finishing: false,
        }
    }

    /// Whether the client took bytes of an answer since the last look.
    pub(super) fn has_moved(&mut self, activity: &Activity) -> bool {
        let moved = activity.moved();
        std::mem::replace(&mut self.moved, moved) != moved
    }

    pub(super) fn look(&mut self, activity: &Activity) -> Verdict {
        let (started, written) = (activity.started(), activity.written());
        let (is_http2, running) = (activity.is_http2(), activity.running() > 0);
        let new_request = std::mem::replace(&mut self.started, started) != started;
        let new_write = std::mem::replace(&mut self.written, written) != written;
        let has_moved = self.has_moved(activity);
        // The host holds an answer until the client takes it, so only that is progress. HTTP/2
        // writes frames of its own, such as answers to PINGs, so only bytes of answers count there.
        // A stream that has nothing to send is not idle.
        let progress = match activity.has_unsent() {
            true => has_moved,
            false => running || activity.streams() > 0 || new_request || has_moved || (new_write && !is_http2),
        };
        self.quiet = if progress { 0 } else { self.quiet.saturating_add(1) };
        let in_head = activity.awaits_head() && !running && !new_request;
        self.head = if in_head { self.head.saturating_add(1) } else { 0 };
        if self.head >= self.head_ticks || (self.is_finishing && self.quiet > self.idle_ticks) {
            Verdict::Drop
        } else if self.quiet >= self.idle_ticks && !std::mem::replace(&mut self.is_finishing, true) {
            Verdict::Finish
        } else {
            Verdict::Keep
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Buffered;
    use http::Version;
    use std::sync::Arc;

    fn watch() -> (IdleWatch, Arc<Activity>) {
        // Ticks of 1 s: a head may take 5 ticks, an idle connection 9.
        (
            IdleWatch::new(Duration::from_secs(4), Duration::from_secs(8)),
            Arc::new(Activity::new(Arc::new(Buffered::new(1 << 20)))),
        )
    }

    /// The first verdict that is not `Keep`, and after how many ticks.
    fn first(watch: &mut IdleWatch, activity: &Activity) -> (u32, Verdict) {
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
        activity.read();
        assert_eq!(watch.look(&activity), Verdict::Keep);
        activity.read();
        assert_eq!(first(&mut watch, &activity), (4, Verdict::Drop));
    }

    #[test]
    fn an_idle_connection_gets_a_goodbye_then_is_dropped() {
        let (mut watch, activity) = watch();
        drop(activity.start(Version::HTTP_11));
        assert_eq!(watch.look(&activity), Verdict::Keep);
        assert_eq!(first(&mut watch, &activity), (9, Verdict::Finish));
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
            activity.wrote();
            assert_eq!(watch.look(&activity), Verdict::Keep);
        }
        assert_eq!(first(&mut watch, &activity).1, Verdict::Finish);
    }

    #[test]
    fn http2_has_the_idle_timeout_only() {
        let (mut watch, activity) = watch();
        activity.set_http2();
        assert_eq!(first(&mut watch, &activity), (9, Verdict::Finish));
    }

    #[test]
    fn an_answer_that_does_not_move_is_not_kept_by_other_writes() {
        let (mut watch, activity) = watch();
        activity.set_http2();
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
        assert_eq!(watch.look(&activity), Verdict::Finish);
        assert_eq!(watch.look(&activity), Verdict::Drop);
        drop(running);
    }

    #[test]
    fn an_http2_connection_that_only_pings_is_idle() {
        let (mut watch, activity) = watch();
        activity.set_http2();
        for _ in 0..8 {
            activity.wrote();
            assert_eq!(watch.look(&activity), Verdict::Keep);
        }
        assert_eq!(watch.look(&activity), Verdict::Finish);
    }

    #[test]
    fn a_quiet_stream_is_kept_and_one_whose_bytes_nobody_takes_is_not() {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let (mut watch, activity) = watch();
            drop(activity.start(version));
            let stream = activity.open_stream();
            for _ in 0..50 {
                // A client may send bytes meanwhile.
                activity.read();
                assert_eq!(watch.look(&activity), Verdict::Keep);
            }
            activity.will_send(10);
            for _ in 0..8 {
                activity.wrote();
                assert_eq!(watch.look(&activity), Verdict::Keep);
            }
            assert_eq!(watch.look(&activity), Verdict::Finish);
            assert_eq!(watch.look(&activity), Verdict::Drop);
            drop(stream);
        }
    }
}
