//! Follows a stream of server-sent events.

use std::mem;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;

use super::exchange::{ExchangeError, stream};
use super::{ANSWER_TIMEOUT, AdminResponse, ClientError, Endpoint, checked};

/// The most bytes of an event, and of a problem. The host sends shorter ones.
pub const MAX_EVENT: usize = 1 << 20;

/// The longest pause in a stream. The host writes at least a comment every ten seconds.
pub const PAUSE: Duration = Duration::from_secs(30);

/// A server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerEvent {
    /// The value of the field `event`.
    pub name: String,
    /// The value of the field `data`.
    pub data: String,
    /// The last value of the field `id`, in this event or an earlier one.
    pub id: Option<String>,
}

/// Passes each event of a stream to `read` until it returns `false` or the host ends the stream.
pub async fn follow(
    endpoint: &Endpoint,
    path: &str,
    mut read: impl FnMut(ServerEvent) -> bool,
) -> Result<(), ClientError> {
    let mut request = Request::new(Full::<Bytes>::default());
    *request.uri_mut() = path.parse().unwrap_or_default();
    let (mut parser, mut problem) = (EventParser::default(), None);
    let streamed = stream(&endpoint.authority, request, ANSWER_TIMEOUT, PAUSE, |head, part| {
        if head.status.is_success() {
            return parser.parse(&part).into_iter().all(&mut read) && !parser.is_too_long();
        }
        let body: &mut Response<Vec<u8>> = problem.get_or_insert_with(|| Response::new(Vec::new()));
        *body.status_mut() = head.status;
        body.body_mut().extend_from_slice(&part);
        body.body().len() <= MAX_EVENT
    });
    let endpoint = endpoint.clone();
    match streamed.await {
        Ok(()) => match problem {
            None if parser.is_too_long() => Err(ClientError::Strange { endpoint, status: StatusCode::OK }),
            None => Ok(()),
            Some(problem) => {
                let (status, body) = (problem.status(), problem.into_body().into());
                checked(AdminResponse { endpoint: endpoint.clone(), status, body })?;
                Err(ClientError::Strange { endpoint, status: StatusCode::OK })
            }
        },
        Err(ExchangeError::Unreachable(error)) => Err(ClientError::Unreachable { endpoint, error }),
        Err(ExchangeError::Broken(error)) => Err(ClientError::Broken { endpoint, error }),
        Err(ExchangeError::Slow(within)) => Err(ClientError::Slow { endpoint, within }),
    }
}

/// Parses the fields `event`, `data` and `id` of server-sent events, as the HTML standard defines
/// them (section 9.2.6). Ignores comments and other fields.
#[derive(Debug, Default)]
pub struct EventParser {
    /// The beginning of the next line.
    line: Vec<u8>,
    name: String,
    /// `None` before the first `data` line of the next event.
    data: Option<String>,
    id: Option<String>,
}

impl EventParser {
    /// The last id of the stream. An id without an event counts too: the host sends its position
    /// before the first event.
    pub fn last_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether the next event has more than [`MAX_EVENT`] bytes.
    pub fn is_too_long(&self) -> bool {
        self.size() > MAX_EVENT
    }

    /// The bytes of the next event so far.
    pub fn size(&self) -> usize {
        self.line.len() + self.data.as_ref().map_or(0, String::len)
    }

    /// Returns the events that end in this part of the stream.
    pub fn parse(&mut self, part: &[u8]) -> Vec<ServerEvent> {
        let mut events = Vec::new();
        for &byte in part {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = mem::take(&mut self.line);
            let line = String::from_utf8_lossy(&line);
            let line = line.strip_suffix('\r').unwrap_or(&line);
            if line.is_empty() {
                let name = mem::take(&mut self.name);
                if let Some(data) = self.data.take() {
                    events.push(ServerEvent { name, data, id: self.id.clone() });
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.name),
                "data" => match &mut self.data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    None => self.data = Some(value.to_owned()),
                },
                "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
                _ => {}
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str, id: &str) -> ServerEvent {
        ServerEvent { name: name.to_owned(), data: data.to_owned(), id: Some(id.to_owned()) }
    }

    #[tokio::test]
    async fn an_event_that_is_too_long_is_an_error_and_not_the_end() {
        let half = format!("data: {}\n", "x".repeat(MAX_EVENT / 2));
        for (body, is_error) in [
            ("x".repeat(MAX_EVENT), false),
            ("x".repeat(MAX_EVENT + 1), true),
            (half.clone(), false),
            (half.clone() + &half, true),
        ] {
            let (admin, _requests) = crate::client::fake::admin(200, &body).await;
            let followed = follow(&admin.admin, "/v1/events", |_| true).await;
            assert_eq!(followed.is_err(), is_error, "{} bytes", body.len());
        }
    }

    #[test]
    fn events_are_read_from_any_parts_of_the_stream() {
        let text = "retry: 1000\n\nid: 1-1\nevent: info\ndata: {\"a\":1}\n\n:\n\ndata:x\r\ndata: y\r\n\r\nid: 7\n\nevent: full\ndata:\n\ndata\ndata: z\n\nevent: no";
        let expected = [
            event("info", "{\"a\":1}", "1-1"),
            event("", "x\ny", "1-1"),
            event("full", "", "7"),
            event("", "\nz", "7"),
        ];
        for size in 1..text.len() {
            let mut parser = EventParser::default();
            let events: Vec<_> = text.as_bytes().chunks(size).flat_map(|part| parser.parse(part)).collect();
            assert_eq!(events, expected, "parts of {size} bytes");
        }
    }
}
