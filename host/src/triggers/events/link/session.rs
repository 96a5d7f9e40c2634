//! One connection to the service, from its start to its end.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::exchange::{Away, Client, random};
use super::state::ServiceLink;
use crate::api::ServiceEvent;
use crate::call::{Event, event_type};
use crate::events::{HostEvent, Notice};
use crate::triggers::sse::EventParser;

/// The longest pause in the stream. A service sends a comment at least every 20 seconds.
const PAUSE: Duration = Duration::from_secs(30);

/// What a later session continues with.
#[derive(Default)]
pub(super) struct Progress {
    /// The position after which the stream continues.
    position: Option<String>,
    /// Requests whose outcome is unknown or that were not sent yet, the next one last. Each has its
    /// key, so that the service emits nothing twice.
    unsent: Vec<Request>,
    /// Whether the service has accepted a request since the session began.
    pub(super) has_sent: bool,
    /// The gaps that the host tells of. A service that loses events all the time fills neither the
    /// log nor the queues of host events.
    gaps: Notice,
}

struct Request {
    key: String,
    events: Vec<Event>,
}

impl Request {
    fn new(events: Vec<Event>) -> Request {
        Request { key: random(), events }
    }

    fn body(&self) -> Bytes {
        let document = |event: &Event| ServiceEvent {
            kind: event.kind.to_string(),
            // The value was checked when it was emitted.
            value: RawValue::from_string(event.value.to_string()).unwrap_or_default(),
            source: event.source.as_ref().map(ToString::to_string),
        };
        let documents: Vec<ServiceEvent> = self.events.iter().map(document).collect();
        serde_json::to_vec(&documents).unwrap_or_default().into()
    }
}

pub(super) struct Session;

impl Session {
    /// Runs until the connection fails. Calls `up` once the stream is open.
    pub(super) async fn run(link: &ServiceLink, progress: &mut Progress, up: impl FnOnce()) -> Away {
        let Progress { position, unsent, has_sent, gaps } = progress;
        *has_sent = false;
        let opened = async {
            let (mut reader, writer) = (Client::connect(&link.target).await?, Client::connect(&link.target).await?);
            let stream = reader.open(position.as_deref()).await?;
            Ok::<_, Away>((reader, writer, stream))
        };
        let (_reader, mut writer, stream) = match opened.await {
            Ok(opened) => opened,
            Err(away) => return away,
        };
        up();
        tokio::select! {
            away = read(link, stream, position, gaps) => away,
            away = write(link, &mut writer, unsent, has_sent) => away,
        }
    }
}

/// Moves events from the stream into the log.
async fn read(link: &ServiceLink, mut stream: Incoming, position: &mut Option<String>, gaps: &mut Notice) -> Away {
    let mut parser = EventParser::new(link.max_event);
    loop {
        let frame = match timeout(PAUSE, stream.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Away::Broken(error),
            Ok(None) => return Away::Ended,
            Err(_) => return Away::Slow(PAUSE),
        };
        let Ok(data) = frame.into_data() else { continue };
        for event in parser.parse(&data) {
            match event.name.as_str() {
                "" => receive(link, &event.data),
                "reset" => gap(link, gaps, "the service no longer has what this host has missed"),
                "full" => {
                    let detail = "it has too many subscribers (events.maxSubscribers)".to_owned();
                    return Away::Refused { status: StatusCode::SERVICE_UNAVAILABLE, detail };
                }
                _ => {}
            }
        }
        if parser.is_too_long() {
            // The next session begins after this event. The service sends an id before the data.
            *position = parser.begun_id().map(str::to_owned);
            gap(link, gaps, "an event is longer than this host accepts (limits.max.payload)");
            return Away::TooLong;
        }
        if let Some(id) = parser.last_id() {
            *position = Some(id.to_owned());
        }
    }
}

fn receive(link: &ServiceLink, data: &str) {
    let Ok(ServiceEvent { kind, value, source }) = serde_json::from_str(data) else { return };
    let is_own = source.as_deref() == Some(&*link.source);
    if is_own || !event_type::is_type(&kind) {
        return;
    }
    link.counters.received.fetch_add(1, Relaxed);
    link.log.emit(&None, Event { kind: kind.into(), value: value.get().into(), source: source.map(Into::into) });
}

fn gap(link: &ServiceLink, gaps: &mut Notice, reason: &str) {
    link.counters.gaps.fetch_add(1, Relaxed);
    if gaps.add(1, Instant::now()).is_none() {
        return;
    }
    let service = link.service().to_owned();
    tracing::warn!(service, reason, "events of the event service are missing");
    link.events.raise(HostEvent::EventsGap { service, reason: reason.to_owned() });
}

/// Sends the events of the queue.
async fn write(link: &ServiceLink, client: &mut Client, unsent: &mut Vec<Request>, has_sent: &mut bool) -> Away {
    loop {
        if unsent.is_empty() {
            let events = link.queue.take().await;
            unsent.push(Request::new(events));
        }
        let Some(request) = unsent.last() else { continue };
        match client.emit(&request.key, request.body()).await {
            Ok(()) => {
                *has_sent = true;
                link.counters.sent.fetch_add(request.events.len() as u64, Relaxed);
                link.queue.settle(request.events.len());
                unsent.pop();
            }
            Err(Away::Refused { status, detail }) if is_about_events(status) => {
                let Some(mut request) = unsent.pop() else { continue };
                if request.events.len() > 1 {
                    // One of the events is the reason, or their size.
                    let second = request.events.split_off(request.events.len() / 2);
                    unsent.extend([Request::new(second), Request::new(request.events)]);
                } else {
                    link.counters.rejected.fetch_add(1, Relaxed);
                    link.queue.settle(1);
                    let (service, kind) = (link.service(), request.events.first().map(|event| event.kind.to_string()));
                    tracing::warn!(service, kind, reason = detail, "the event service rejects an event of this node");
                }
            }
            Err(Away::Refused { status: StatusCode::TOO_MANY_REQUESTS, .. }) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Err(away) => return away,
        }
    }
}

/// Whether the same request would be rejected again.
fn is_about_events(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY)
}
