//! What the commands share that use an event service.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::Full;

use super::client::{Endpoint, ExchangeError, readable};
use super::terminal::eprint;
use fanfare::api::Problem;

/// How long the service may take to respond.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Flags of every command that uses an event service.
#[derive(Debug, Clone, clap::Args)]
pub struct ServiceArgs {
    /// The event service: `host:port` or an `http://` URL.
    #[arg(long, env = "FANFARE_SERVICE", value_name = "ADDRESS", default_value = "127.0.0.1:14440")]
    pub service: Endpoint,
    /// The token of the service. Better set the variable, because other users see the arguments of
    /// a process.
    #[arg(long, env = "FANFARE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Print JSON.
    #[arg(long, env = "FANFARE_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub json: bool,
}

/// Why a command could not use the service.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(
        "cannot connect to an event service at {endpoint}: {error}; start one with `fanfare events serve` or with \
         events.listen in fanfare.json, or set --service (FANFARE_SERVICE)"
    )]
    Unreachable { endpoint: Endpoint, error: std::io::Error },
    #[error("the connection to the event service at {endpoint} failed: {error}; see the log of the service")]
    Broken { endpoint: Endpoint, error: hyper::Error },
    #[error("the event service at {endpoint} did not respond within {} s", .within.as_secs())]
    Slow { endpoint: Endpoint, within: Duration },
    #[error("{}", readable(.0))]
    Refused(Box<Problem>),
    #[error("{endpoint} returned an unexpected response (status {status}); check that it is an event service")]
    Strange { endpoint: Endpoint, status: StatusCode },
    #[error("the token (--token, FANFARE_TOKEN) has characters that no token has; check its value")]
    Token,
    #[error("the value is not valid JSON: {0}; write text with its quotes, such as '\"text\"'")]
    NotJson(serde_json::Error),
    #[error("the value: {0}")]
    Value(super::client::ClientError),
    #[error("cannot start the async runtime: {0}")]
    Runtime(std::io::Error),
}

impl ServiceArgs {
    /// Builds a request with the token.
    pub fn request(&self, path: &str, body: impl Into<Bytes>) -> Result<Request<Full<Bytes>>, ServiceError> {
        let mut request = Request::new(Full::new(body.into()));
        *request.uri_mut() = path.parse().unwrap_or_default();
        if let Some(token) = self.token.as_deref().filter(|token| !token.is_empty()) {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ServiceError::Token)?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    pub fn failed(&self, error: ExchangeError) -> ServiceError {
        let endpoint = self.service.clone();
        match error {
            ExchangeError::Unreachable(error) => ServiceError::Unreachable { endpoint, error },
            ExchangeError::Broken(error) => ServiceError::Broken { endpoint, error },
            ExchangeError::Slow(within) => ServiceError::Slow { endpoint, within },
        }
    }

    /// The error in a response with another status than 200.
    pub fn refused(&self, status: StatusCode, body: &[u8]) -> ServiceError {
        match serde_json::from_slice(body) {
            Ok(problem) => ServiceError::Refused(problem),
            Err(_) => ServiceError::Strange { endpoint: self.service.clone(), status },
        }
    }
}

/// Runs a command. Exits with 2 for a value that is not JSON, and with 1 for other errors.
pub fn run(command: impl Future<Output = Result<(), ServiceError>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServiceError::Runtime);
    match runtime.and_then(|runtime| runtime.block_on(command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint(&format!("error: {error}\n"));
            ExitCode::from(if matches!(error, ServiceError::NotJson(_)) { 2 } else { 1 })
        }
    }
}
