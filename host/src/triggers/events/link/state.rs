//! What the tasks of the connection, and the emitters of this node, share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::exchange::{Target, random};
use super::queue::{Queue, Refused};
use crate::call::{CallError, Event};
use crate::config::EventsConfig;
use crate::events::EventLog;
use crate::hub::ServiceLog;

/// The connection to a service.
pub struct ServiceLink {
    pub(super) target: Target,
    /// Names this host, anew in each start, so that it knows its own events.
    pub(super) source: Arc<str>,
    pub(super) log: Arc<ServiceLog>,
    pub(super) events: Arc<EventLog>,
    pub(super) queue: Queue,
    pub(super) is_up: AtomicBool,
    /// Why the last session has ended.
    away: Mutex<Option<String>>,
    /// The most bytes of an event of the service, as it is sent.
    pub(super) max_event: usize,
    pub counters: LinkCounters,
}

/// What passes through the connection.
#[derive(Debug, Default)]
pub struct LinkCounters {
    /// Events of other processes that the service has sent.
    pub received: AtomicU64,
    /// Events of this node that the service has accepted.
    pub sent: AtomicU64,
    /// Events of this node that the service has rejected.
    pub rejected: AtomicU64,
    /// Events of this node that did not go out, because the queue was full, the service away, or
    /// the host stopped.
    pub lost: AtomicU64,
    /// How often the service could not say what this node has missed.
    pub gaps: AtomicU64,
}

impl ServiceLink {
    /// `None` without `events.connect`.
    pub fn new(
        config: &EventsConfig,
        token: Option<&str>,
        max_payload: u64,
        log: Arc<ServiceLog>,
        events: Arc<EventLog>,
    ) -> Option<ServiceLink> {
        let url = config.connect.as_deref()?;
        // The settings were checked.
        let authority = url.strip_prefix("http://")?.parse().ok()?;
        let bearer = token.and_then(|token| {
            let mut value = http::HeaderValue::try_from(format!("Bearer {token}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let max_event = usize::try_from(max_payload).unwrap_or(usize::MAX).saturating_mul(2).saturating_add(1 << 20);
        let queue = Queue::new(config.queue.events, config.queue.bytes);
        let source = random().into();
        let (is_up, counters) = (AtomicBool::new(false), LinkCounters::default());
        Some(ServiceLink {
            target: Target { authority, bearer },
            source,
            log,
            events,
            queue,
            is_up,
            away: Mutex::new(None),
            max_event,
            counters,
        })
    }

    /// Whether the service is connected.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Relaxed)
    }

    /// Why the service is not connected.
    pub fn reason(&self) -> Option<String> {
        self.away.lock().clone()
    }

    pub(super) fn set_up(&self) {
        *self.away.lock() = None;
        self.is_up.store(true, Relaxed);
    }

    pub(super) fn set_reason(&self, reason: &str) {
        *self.away.lock() = Some(reason.to_owned());
    }

    pub(super) fn set_away(&self) {
        self.is_up.store(false, Relaxed);
        self.queue.wake();
    }

    /// The events that wait for the service, and their bytes.
    pub fn waiting(&self) -> (usize, u64) {
        self.queue.size()
    }

    pub fn service(&self) -> &str {
        self.target.authority.as_str()
    }

    /// Delivers an event of a module in this node, and queues it for the service. After an error,
    /// only the way to the service has failed.
    pub fn emit(&self, module: &Arc<str>, event: Event) -> Result<(), CallError> {
        let event = Event { source: Some(self.source.clone()), ..event };
        self.log.emit(&Some(module.clone()), event.clone());
        let service = self.service();
        let pushed = match self.is_up() || self.queue.is_closed() {
            true => self.queue.push(module, event).map_err(Some),
            false => Err(None),
        };
        let failed = match pushed {
            Ok(()) => return Ok(()),
            Err(None) => CallError::Unavailable(format!(
                "the event service {service} (events.connect) is away: the event has reached this node only"
            )),
            Err(Some(Refused::Closed)) => CallError::Unavailable(format!(
                "the host is stopping and sends nothing more to the event service {service} (events.connect): the \
                 event has reached this node only"
            )),
            Err(Some(Refused::Full)) => CallError::Overloaded(format!(
                "too many events of {module} wait for the event service {service} (events.queue): the event has \
                 reached this node only"
            )),
        };
        self.counters.lost.fetch_add(1, Relaxed);
        Err(failed)
    }

    /// Resolves when the service has accepted the events that wait, or when it is away.
    pub async fn flush(&self) {
        self.queue.until_empty(|| self.is_up()).await;
    }

    /// Sends no further events. Those whose receipt the service has not confirmed are counted and
    /// logged, once.
    pub fn close(&self) {
        let events = self.queue.close();
        if events > 0 {
            self.counters.lost.fetch_add(events as u64, Relaxed);
            let service = self.service();
            tracing::warn!(service, events, "the host stops, and the event service has not confirmed these events");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::journal::JournalLimits;

    #[test]
    fn emitters_learn_why_an_event_stays_in_the_node() {
        let config = EventsConfig { connect: Some("http://127.0.0.1:1".to_owned()), ..EventsConfig::default() };
        let limits = JournalLimits { count: 9, bytes: 10_000, age: Duration::from_secs(60) };
        let log = Arc::new(ServiceLog::new(limits));
        let events = Arc::new(EventLog::new(false, false));
        let link = ServiceLink::new(&config, None, 1_000, log.clone(), events).unwrap();
        let emit = || link.emit(&"m".into(), Event { kind: "a".into(), value: "1".into(), source: None });
        let Err(CallError::Unavailable(away)) = emit() else { panic!("the service is away") };
        assert!(away.contains("is away"), "{away}");
        link.is_up.store(true, Relaxed);
        assert!(emit().is_ok());
        link.close();
        for is_up in [true, false] {
            link.is_up.store(is_up, Relaxed);
            let Err(CallError::Unavailable(stopping)) = emit() else { panic!("the host stops") };
            assert!(stopping.contains("the host is stopping"), "{stopping}");
        }
        assert_eq!(link.counters.lost.load(Relaxed), 4);
        assert_eq!(log.position().number, 4, "all reach this node");
    }
}
