//! The connection to the event service of another process: `events.connect`.
//!
//! Events of this node go into its own log at once, and through a bounded queue to the service.
//! What the service sends goes into the log, except the events of this node, which are in it
//! already. While the service is away, nothing is queued, and emitters are told.

mod exchange;
mod queue;
mod session;
mod state;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

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
        let (mut retry, mut progress) = (Retry::new(RETRY.0, RETRY.1), Progress::default());
        // Whether `eventsDown` was raised since the service was up.
        let mut told = false;
        while !stop.is_cancelled() {
            let up = || {
                self.is_up.store(true, Relaxed);
                self.events.raise(HostEvent::EventsUp { service: self.service().to_owned() });
            };
            let ended = tokio::select! {
                () = stop.cancelled() => break,
                ended = Session::run(&self, &mut progress, up) => ended,
            };
            let was_up = self.is_up.swap(false, Relaxed);
            if was_up {
                retry.reset();
            }
            if was_up || !std::mem::replace(&mut told, true) {
                let (service, reason) = (self.service().to_owned(), ended.to_string());
                tracing::warn!(service, reason, "the event service is away");
                self.events.raise(HostEvent::EventsDown { service, reason });
            }
            told = true;
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(retry.delay()) => {}
            }
        }
    }
}
