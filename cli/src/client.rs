//! A client for the admin listener of a running host.

use std::fmt;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

pub use address::{Endpoint, EndpointError};
pub use admin::{AdminArgs, AdminClient, Effect, hide};
pub use exchange::{ExchangeError, OpenResponse, exchange, open, stream};
pub use fanfare::tooling::{EventParser, ServerEvent};
pub use follow::{MAX_EVENT, PAUSE, follow};
use health::{CHECK_PAUSE, CHECK_TIMEOUT, until_frozen};
pub use problem::readable;

use super::project::module_of;
use super::terminal::{eprint, print};
use fanfare::Faults;
use fanfare::api::Problem;
use fanfare::tooling::document::shape::did_you_mean;
use fanfare::tooling::text::line;

mod address;
mod admin;
mod exchange;
mod follow;
mod health;
mod problem;

/// Longer than the default deadline of any call. A command ends earlier if the host is frozen.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Longer than the longest canary.
const SWAP_TIMEOUT: Duration = Duration::from_secs(25 * 3600);

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Why a request to the host failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("--admin {text:?} {error}")]
    Address { text: String, error: EndpointError },
    #[error("{0}\nthe address of the host is unknown: correct this fault, or set --admin to the admin listener")]
    Settings(Faults),
    #[error(
        "admin.listen is {0}, where the host itself picks the port: set --admin to the address that `fanfare serve` \
         has printed"
    )]
    AnyPort(SocketAddr),
    #[error(
        "{stranger}: nothing was changed; start this project's host with `fanfare serve`, set admin.listen in its \
         fanfare.json to an address of its own, or name the other host with --admin {endpoint}"
    )]
    OtherProject { stranger: String, endpoint: Endpoint },
    #[error(
        "cannot connect to a host at {endpoint}: {error}; start one with `fanfare serve`, or set --admin or \
         admin.listen to its admin listener"
    )]
    Unreachable { endpoint: Endpoint, error: io::Error },
    #[error(
        "the connection to the host at {endpoint} failed before a complete response arrived: {error}; see the host's log"
    )]
    Broken { endpoint: Endpoint, error: hyper::Error },
    #[error("the host at {endpoint} did not respond within {} s", .within.as_secs())]
    Slow { endpoint: Endpoint, within: Duration },
    #[error(
        "the host at {endpoint} did not respond to a health check (/livez) within {} s: its process is stopped or overloaded; \
         continue or restart it. It may still run the command", .within.as_secs()
    )]
    Frozen { endpoint: Endpoint, within: Duration },
    #[error("{}{}", readable(&.0.problem), .0.hint)]
    Refused(Refusal),
    #[error(
        "{endpoint} returned an unexpected response (status {status}); check that it is the admin listener of a host with the same version as this program"
    )]
    Strange { endpoint: Endpoint, status: StatusCode },
    #[error("the payload is not valid JSON: {0}; write text with its quotes, such as '\"text\"'")]
    NotJson(serde_json::Error),
    #[error("cannot read the payload from standard input: {0}")]
    Input(io::Error),
    #[error("cannot start the async runtime: {0}")]
    Runtime(io::Error),
}

/// A problem document that the host returned.
#[derive(Debug)]
pub struct Refusal {
    problem: Box<Problem>,
    /// The document as received.
    text: String,
    /// The module that the user may mean.
    hint: String,
}

impl ClientError {
    /// Adds the nearest name if the host has no module of the name that the user gave.
    fn with_hint(mut self, argument: Option<&str>, modules: &[String]) -> ClientError {
        if let (ClientError::Refused(refusal), Some(argument)) = (&mut self, argument) {
            let name = module_of(argument).0;
            let known: Vec<&str> = modules.iter().map(String::as_str).collect();
            if !known.contains(&&*name) {
                refusal.hint = did_you_mean(&name, &known);
            }
        }
        self
    }

    /// 2 for an invalid command line, such as a payload that is not valid JSON; otherwise 1.
    fn exit_code(&self) -> u8 {
        if matches!(self, ClientError::NotJson(_) | ClientError::Address { .. }) { 2 } else { 1 }
    }
}

/// A successful response of the admin listener.
#[derive(Debug)]
pub struct AdminResponse {
    endpoint: Endpoint,
    status: StatusCode,
    body: Bytes,
}

impl AdminResponse {
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body)
            .map_err(|_| ClientError::Strange { endpoint: self.endpoint.clone(), status: self.status })
    }

    /// The body as received, with invalid UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl AdminClient {
    /// Sends a request. The caller has percent-encoded `path`; `body` is JSON.
    pub async fn send(&self, method: Method, path: &str, body: Option<String>) -> Result<AdminResponse, ClientError> {
        send_within(ANSWER_TIMEOUT, &self.endpoint, method, path, body).await
    }

    /// Sends a request for a swap or a kill, and waits longer, because a canary may run first, and
    /// a kill may wait for calls.
    pub async fn send_swap(&self, path: &str, body: Option<String>) -> Result<AdminResponse, ClientError> {
        send_within(SWAP_TIMEOUT, &self.endpoint, Method::POST, path, body).await
    }
}

async fn send_within(
    within: Duration,
    endpoint: &Endpoint,
    method: Method,
    path: &str,
    body: Option<String>,
) -> Result<AdminResponse, ClientError> {
    let mut request = Request::new(Full::<Bytes>::from(body.clone().unwrap_or_default()));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap_or_default();
    if body.is_some() {
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let endpoint = endpoint.clone();
    let answered = tokio::select! {
        biased;
        answered = exchange(&endpoint.authority, request, within) => answered,
        () = until_frozen(&endpoint.authority, CHECK_PAUSE, CHECK_TIMEOUT) => {
            return Err(ClientError::Frozen { endpoint, within: CHECK_TIMEOUT });
        }
    };
    match answered {
        Ok(response) => checked(AdminResponse { endpoint, status: response.status(), body: response.into_body() }),
        Err(ExchangeError::Unreachable(error)) => Err(ClientError::Unreachable { endpoint, error }),
        Err(ExchangeError::Broken(error)) => Err(ClientError::Broken { endpoint, error }),
        Err(ExchangeError::Slow(within)) => Err(ClientError::Slow { endpoint, within }),
    }
}

fn checked(response: AdminResponse) -> Result<AdminResponse, ClientError> {
    if response.status.is_success() {
        return Ok(response);
    }
    let problem = response.parse::<Box<Problem>>()?;
    Err(ClientError::Refused(Refusal { problem, text: response.text(), hint: String::new() }))
}

/// Percent-encodes a segment of a path or a value of a query.
pub fn encoded(text: &str) -> impl fmt::Display + '_ {
    utf8_percent_encode(text, UNRESERVED)
}

/// The percent-encoded name of the module that an argument names.
pub fn module(argument: &str) -> String {
    encoded(&module_of(argument).0).to_string()
}

/// Reads the payload argument: JSON, `-` for standard input, or none.
pub fn payload(argument: Option<&str>) -> Result<Option<String>, ClientError> {
    let text = match argument {
        None => return Ok(None),
        Some("-") => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(ClientError::Input)?;
            text
        }
        Some(text) => text.to_owned(),
    };
    serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(ClientError::NotJson)?;
    Ok(Some(text))
}

/// The output of a command.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Goes to standard output.
    pub text: String,
    /// Goes to standard error. A command that returns it fails.
    pub failure: Option<String>,
}

impl Output {
    pub fn of(text: impl Into<String>) -> Output {
        Output { text: text.into(), failure: None }
    }
}

/// Runs a command against the host that the flags and the project choose, and prints its output.
/// `effect` is what the command does to it, `module` the argument that names a module. With
/// `--json`, a problem document goes to standard output as received, except that a terminal gets no
/// control characters.
pub fn run(
    args: &AdminArgs,
    effect: Effect,
    module: Option<&str>,
    command: impl AsyncFnOnce(&AdminClient) -> Result<Output, ClientError>,
) -> ExitCode {
    let running = async {
        let client = args.client(module)?;
        let modules = client.introduce(effect).await?;
        command(&client).await.map_err(|error| error.with_hint(module, &modules))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime);
    let (output, code) = match runtime.and_then(|runtime| runtime.block_on(running)) {
        Ok(output) => {
            let code = u8::from(output.failure.is_some());
            (output, code)
        }
        Err(error) => {
            let text = match &error {
                ClientError::Refused(refusal) if args.json => refusal.text.clone(),
                _ => String::new(),
            };
            (Output { text, failure: Some(error.to_string()) }, error.exit_code())
        }
    };
    let mut text = output.text;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    // Escapes control characters for a terminal only: a program that reads the output needs the
    // exact bytes.
    match io::stdout().is_terminal() {
        true => print(&text),
        // Errors are ignored: usually the reader has closed the pipe.
        false => _ = io::stdout().write_all(text.as_bytes()),
    }
    if let Some(failure) = output.failure {
        eprint(&format!("error: {failure}\n"));
    }
    ExitCode::from(code)
}

/// Text of a host or a guest on one line, with control characters escaped.
pub fn printable(text: &str) -> String {
    line(text, usize::MAX)
}

#[cfg(test)]
pub mod fake;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unreachable_host_is_reported_in_one_line() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let error = AdminClient::of(&free).send(Method::GET, "/", None).await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot connect to a host at {free}: ")), "{text}");
        assert!(
            text.ends_with("start one with `fanfare serve`, or set --admin or admin.listen to its admin listener"),
            "{text}"
        );
        assert!(!text.contains('\n'));
        assert_eq!(error.exit_code(), 1);
    }

    #[tokio::test]
    async fn a_response_of_another_server_is_reported() {
        for (status, body) in [(404, "<html>"), (500, "")] {
            let (client, _requests) = fake::admin(status, body).await;
            let error = client.send(Method::GET, "/", None).await.unwrap_err().to_string();
            assert!(error.contains("check that it is the admin listener"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_closed_connection_is_reported() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = AdminClient::of(&listener.local_addr().unwrap().to_string());
        tokio::spawn(async move { drop(listener.accept().await) });
        let error = client.send(Method::GET, "/", None).await.unwrap_err();
        assert!(matches!(error, ClientError::Broken { .. }), "{error}");
    }

    #[test]
    fn a_payload_must_be_json() {
        assert_eq!(payload(None).unwrap(), None);
        assert_eq!(payload(Some("{\"a\": 1.0}")).unwrap().as_deref(), Some("{\"a\": 1.0}"));
        let error = payload(Some("text")).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().ends_with("write text with its quotes, such as '\"text\"'"));
    }
}
