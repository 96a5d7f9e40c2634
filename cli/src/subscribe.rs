//! `fanfare subscribe`: prints the events of an event service as they arrive.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use http::StatusCode;
use http::header::HeaderValue;

use super::client::{EventParser, PAUSE, ServerEvent, encoded, stream};
use super::service_client::{self, ServiceArgs, ServiceError, TIMEOUT};
use super::terminal::{eprint, visible};
use fanfare::api::ServiceEvent;

/// The most bytes of an event. Longer ones are possible if `events.maxBody` is larger.
const MAX_EVENT: usize = 16 << 20;

/// The most bytes of a problem document.
const MAX_PROBLEM: usize = 1 << 20;

/// Flags of `fanfare subscribe`.
#[derive(Debug, clap::Args)]
pub struct SubscribeArgs {
    /// The types, such as `order/paid`, or `order/*` for all that begin with `order/` [default:
    /// all].
    #[arg(value_name = "TYPE")]
    pub types: Vec<String>,
    /// Begin after this position, as an earlier run has printed it [default: with the next event].
    #[arg(long, value_name = "POSITION", env = "FANFARE_FROM")]
    pub from: Option<String>,
    #[command(flatten)]
    pub service: ServiceArgs,
}

pub fn run(args: &SubscribeArgs) -> ExitCode {
    service_client::run(args.subscribe())
}

impl SubscribeArgs {
    /// Prints until the service or the reader of the output ends.
    async fn subscribe(&self) -> Result<(), ServiceError> {
        let mut path = String::from("/events?");
        for kind in &self.types {
            // Writing to a string cannot fail.
            _ = write!(path, "type={}&", encoded(kind));
        }
        let service = self.service.client()?;
        let mut request = service.request(&path, "")?;
        let headers = request.headers_mut();
        headers.insert(http::header::ACCEPT, HeaderValue::from_static("*/*"));
        if let Some(from) = self.from.as_deref().filter(|from| !from.is_empty()) {
            // An id that is no header value is no position either.
            let from = HeaderValue::from_str(from).unwrap_or(HeaderValue::from_static("?"));
            headers.insert("last-event-id", from);
        }
        let (mut parser, mut problem, mut last) = (EventParser::new(MAX_EVENT), Vec::new(), String::new());
        let mut status = StatusCode::OK;
        let streamed = stream(&service.endpoint.authority, request, TIMEOUT, PAUSE, |head, part| {
            status = head.status;
            if status != StatusCode::OK {
                problem.extend_from_slice(&part);
                return problem.len() <= MAX_PROBLEM;
            }
            parser.parse(&part).iter().all(|event| self.print(event, &mut last)) && !parser.is_too_long()
        });
        if let Err(error) = streamed.await {
            if !last.is_empty() {
                eprint(&format!("note: to continue after the last event, subscribe with --from {}\n", visible(&last)));
            }
            return Err(service.failed(error));
        }
        match status {
            StatusCode::OK if !parser.is_too_long() => Ok(()),
            _ => Err(service.refused(status, &problem)),
        }
    }

    /// Prints an event, and sets `last` to its position. Returns whether the output has a reader.
    fn print(&self, event: &ServerEvent, last: &mut String) -> bool {
        if event.name == "reset" {
            eprint("warning: the service no longer has some of the events after --from, or it has started anew\n");
            return true;
        }
        let position = event.id.as_deref().unwrap_or_default();
        let line = match (self.service.json, serde_json::from_str::<ServiceEvent>(&event.data)) {
            (true, Ok(_)) => {
                // The data are an object.
                let rest = event.data.trim_start().strip_prefix('{').unwrap_or_default();
                format!("{{\"position\":\"{position}\",{}\n", rest.replace('\n', " "))
            }
            (false, Ok(read)) => {
                let value = read.value.get().replace('\n', " ");
                format!("{position}  {}  {value}\n", read.kind)
            }
            (_, Err(_)) => return true,
        };
        position.clone_into(last);
        let mut out = io::stdout().lock();
        out.write_all(visible(&line).as_bytes()).and_then(|()| out.flush()).is_ok()
    }
}
