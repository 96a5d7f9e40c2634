//! The connection to the event service of another process: `events.connect`.
//!
//! Events of this node go into its own log at once, and through a bounded queue to the service.
//! What the service sends goes into the log, except the events of this node, which are in it
//! already. While the service is away, nothing is queued, and emitters are told.
//!
//! A session has two connections, one for the stream and one for lists of events; when either
//! fails, both end. A list whose outcome is unknown keeps its `Idempotency-Key`, and the next
//! session sends it again first. The queue counts the events that were taken until their outcome is
//! known, so that a stop can wait for it, and say how many are lost.

mod exchange;
mod queue;
mod session;
mod state;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::events::HostEvent;
use crate::net::Retry;
use session::{Progress, Session};
pub use state::ServiceLink;

/// The first and the longest delay between attempts to connect.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

impl ServiceLink {
    /// Keeps the connection until `stop`.
    pub async fn run(self: Arc<ServiceLink>, stop: CancellationToken) {
        let (mut delays, mut progress) = (Delays::new(), Progress::default());
        // Whether `eventsDown` was raised since the service was up.
        let mut told = false;
        while !stop.is_cancelled() {
            let mut opened = None;
            let up = || {
                opened = Some(Instant::now());
                self.set_up();
                self.events.raise(HostEvent::EventsUp { service: self.service().to_owned() });
            };
            let ended = tokio::select! {
                () = stop.cancelled() => break,
                ended = Session::run(&self, &mut progress, up) => ended,
            };
            let reason = ended.to_string();
            self.set_reason(&reason);
            self.set_away();
            if opened.is_some() || !std::mem::replace(&mut told, true) {
                let service = self.service().to_owned();
                tracing::warn!(service, reason, "the event service is away");
                self.events.raise(HostEvent::EventsDown { service, reason });
            }
            told = true;
            let delay = delays.after(opened.map(|opened| opened.elapsed()), progress.has_sent);
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(delay) => {}
            }
        }
        self.set_away();
    }
}

/// The delays between sessions.
struct Delays(Retry);

impl Delays {
    fn new() -> Delays {
        Delays(Retry::new(RETRY.0, RETRY.1))
    }

    /// The delay after a session, which was up for this long. They begin again with the shortest
    /// one only after a session that was of use, so that a service that accepts subscribers and no
    /// events is not asked without a pause.
    fn after(&mut self, up: Option<Duration>, has_sent: bool) -> Duration {
        if up.is_some_and(|up| has_sent || up >= RETRY.1) {
            self.0.reset();
        }
        self.0.delay()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_session_that_was_of_use_resets_the_delays() {
        let (mut delays, up) = (Delays::new(), Some(Duration::from_millis(1)));
        let grown = |delays: &mut Delays| (0..9).map(|_| delays.after(up, false)).max() >= Some(RETRY.1 / 2);
        assert!(grown(&mut delays), "the service was up, and accepted nothing");
        assert!(delays.after(up, true) <= RETRY.0, "it has accepted events");
        assert!(grown(&mut delays));
        assert!(delays.after(Some(RETRY.1), false) <= RETRY.0, "it was up for long");
    }
}
