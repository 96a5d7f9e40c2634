//! The event service and the brokers of a test: records what the module sends, and emits events.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::case::Emit;
use super::expect::{EmittedEvent, PublishedMessage};
use super::expected::Expect;
use fanfare::settings::{Capabilities, EventTypes};
use fanfare::tooling::{CallError, Caller, ChangePorts, Events, IsolateId, Messages, Payload, RouteName};

/// How long the command waits for an expected event or message.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most events, and the most messages, of one case that are recorded.
const MAX_RECORDED: usize = 10_000;

/// What the module sends to others, in its order.
pub struct Outside {
    events: Arc<OnceLock<Arc<dyn Events>>>,
    emitted: mpsc::Receiver<EmittedEvent>,
    published: mpsc::Receiver<PublishedMessage>,
}

impl Outside {
    /// Returns the change of the ports that records.
    pub fn record() -> (Outside, ChangePorts) {
        let events = Arc::new(OnceLock::new());
        let (emit, emitted) = mpsc::channel(MAX_RECORDED);
        let (publish, published) = mpsc::channel(MAX_RECORDED);
        let host = events.clone();
        let change: ChangePorts = Box::new(move |ports| {
            let events: &Arc<dyn Events> = host.get_or_init(|| ports.events.clone());
            ports.events = Arc::new(RecordedEvents { host: events.clone(), emit });
            ports.messages = Arc::new(RecordedMessages { publish });
        });
        (Outside { events, emitted, published }, change)
    }

    /// Emits an event, as a process outside does.
    pub fn emit(&self, event: &Emit, max_payload: u64) -> Result<(), CallError> {
        let Some(events) = self.events.get() else {
            return Err(CallError::Unavailable("the host has no event service".to_owned()));
        };
        let all = EventTypes(vec!["*".to_owned()]);
        let from = Caller {
            module: Arc::from("fanfare test"),
            isolate: IsolateId::Master,
            capabilities: Arc::new(Capabilities { events: all, ..Capabilities::default() }.into()),
            default_timeout: TIMEOUT,
            max_payload,
            max_subscriptions: 0,
            context: None,
        };
        events.emit(from, event.event_type.clone(), Payload::Text(event.value.to_string()))
    }

    /// Forgets what earlier cases have sent.
    pub fn forget(&mut self) {
        while self.emitted.try_recv().is_ok() {}
        while self.published.try_recv().is_ok() {}
    }

    /// Waits for what the case expects. Returns what differs, one line each.
    pub async fn faults(&mut self, expected: &Expect) -> Vec<String> {
        let mut faults = Vec::new();
        for (index, event) in expected.emitted.iter().enumerate() {
            match timeout(TIMEOUT, self.emitted.recv()).await {
                Ok(Some(found)) => faults.extend(event.faults(&format!("emitted[{index}]"), &found)),
                _ => {
                    faults.push(format!("emitted[{index}]: expected an event, but {}", nothing("emitted")));
                    break;
                }
            }
        }
        for (index, message) in expected.published.iter().enumerate() {
            match timeout(TIMEOUT, self.published.recv()).await {
                Ok(Some(found)) => faults.extend(message.faults(&format!("published[{index}]"), &found)),
                _ => {
                    faults.push(format!("published[{index}]: expected a message, but {}", nothing("published")));
                    break;
                }
            }
        }
        faults
    }
}

fn nothing(verb: &str) -> String {
    format!("the module {verb} none within {} s", TIMEOUT.as_secs())
}

/// Records the events that the host accepts.
struct RecordedEvents {
    host: Arc<dyn Events>,
    emit: mpsc::Sender<EmittedEvent>,
}

impl Events for RecordedEvents {
    fn emit(&self, from: Caller, event_type: Option<String>, value: Payload) -> Result<(), CallError> {
        // The host emits a text that is not JSON as a string.
        let text = value.to_text();
        let json = match &value {
            Payload::None => Value::Null,
            _ => serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.to_string())),
        };
        let shown = event_type.clone().unwrap_or_else(|| "message".to_owned());
        let recorded = EmittedEvent { event_type: shown, value: json };
        self.host.emit(from, event_type, value)?;
        // A case expects fewer than the channel holds.
        _ = self.emit.try_send(recorded);
        Ok(())
    }

    fn subscribe(&self, from: Caller, pattern: Option<String>, route: RouteName) -> Result<String, CallError> {
        self.host.subscribe(from, pattern, route)
    }

    fn unsubscribe(&self, from: Caller, subscription: String) -> Result<(), CallError> {
        self.host.unsubscribe(from, subscription)
    }
}

/// Records messages, and publishes none.
struct RecordedMessages {
    publish: mpsc::Sender<PublishedMessage>,
}

impl Messages for RecordedMessages {
    fn publish(&self, _: Caller, connection: String, topic: String, payload: Payload) -> Result<(), CallError> {
        let text = payload.to_text().into_owned();
        _ = self.publish.try_send(PublishedMessage { connection, topic, text });
        Ok(())
    }
}
