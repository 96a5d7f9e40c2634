//! Reports connections that were cut, at most one report in a second.
//!
//! A publisher never waits for a client. Instead the hub cuts a connection, whose client can return
//! and resume, if:
//!
//! - its queue is full, and its client has had its chance to send
//! - its client reads nothing for `http.idleTimeout`, although bytes wait
//! - the inbox of its worker had no room, so that it has missed a message. Only thousands of topics
//!   with readers in one worker that all burst at once can fill an inbox
//! - all messages outside of histories use more than `hub.queued` bytes, and no client of the
//!   worker has been blocked for a longer time. A message counts once, however many clients wait
//!   for it

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::message::SlowReason;

/// The time between two reports of one worker.
const INTERVAL: Duration = Duration::from_secs(1);

/// The connection that was cut last, and the number of those since the previous report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowReport {
    pub topic: Arc<str>,
    pub client: IpAddr,
    pub reason: SlowReason,
    pub count: u64,
}

#[derive(Default)]
pub struct SlowLog {
    next: Option<SlowReport>,
    reported: Option<Instant>,
}

impl SlowLog {
    pub fn add(&mut self, topic: &Arc<str>, client: IpAddr, reason: SlowReason) {
        let count = self.next.take().map_or(0, |report| report.count).saturating_add(1);
        self.next = Some(SlowReport { topic: topic.clone(), client, reason, count });
    }

    /// When the next report is due.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.next.as_ref()?;
        Some(self.reported.map_or(now, |reported| reported + INTERVAL))
    }

    /// Returns the report that is due.
    pub fn take(&mut self, now: Instant) -> Option<SlowReport> {
        if self.due(now)? > now {
            return None;
        }
        self.reported = Some(now);
        self.next.take()
    }
}
