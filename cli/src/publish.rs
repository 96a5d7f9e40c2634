//! `fanfare publish`: emits an event to an event service.

use std::process::ExitCode;

use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::client::{self, ClientError, exchange};
use super::service_client::{self, ServiceArgs, ServiceError, TIMEOUT};
use super::terminal::print;
use fanfare::api::EmittedEvent;

/// Flags of `fanfare publish`.
#[derive(Debug, clap::Args)]
pub struct PublishArgs {
    /// The type of the event, such as `order/paid`.
    #[arg(value_name = "TYPE")]
    pub kind: String,
    /// The value: JSON, or `-` to read it from standard input [default: null].
    #[arg(value_name = "JSON")]
    pub value: Option<String>,
    #[command(flatten)]
    pub service: ServiceArgs,
}

pub fn run(args: &PublishArgs) -> ExitCode {
    service_client::run(args.publish())
}

impl PublishArgs {
    async fn publish(&self) -> Result<(), ServiceError> {
        let value = client::payload(self.value.as_deref()).map_err(|error| match error {
            ClientError::NotJson(error) => ServiceError::NotJson(error),
            other => ServiceError::Value(other),
        })?;
        let kind = serde_json::Value::from(self.kind.as_str());
        let body = format!("{{\"type\":{kind},\"value\":{}}}", value.as_deref().unwrap_or("null"));
        let service = self.service.client()?;
        let mut request = service.request("/events", body)?;
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let sent = exchange(&service.endpoint.authority, request, TIMEOUT).await;
        let response = sent.map_err(|error| service.failed(error))?;
        let (status, body) = (response.status(), response.into_body());
        let emitted: EmittedEvent = match serde_json::from_slice(&body) {
            Ok(emitted) if status.is_success() => emitted,
            _ => return Err(service.refused(status, &body)),
        };
        match self.service.json {
            true => print(&format!("{}\n", String::from_utf8_lossy(&body).trim_end())),
            false => print(&format!("{}\n", emitted.position)),
        }
        Ok(())
    }
}
