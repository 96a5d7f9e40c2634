//! What the commands share that use an event service.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::Full;

use super::client::{Endpoint, ExchangeError, hide, readable};
use super::config::FileArgs;
use super::project::around;
use super::terminal::eprint;
use fanfare::api::Problem;
use fanfare::{Config, Faults};

/// How long the service may take to respond.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Flags of every command that uses an event service.
#[derive(Debug, Clone, clap::Args)]
pub struct ServiceArgs {
    /// The event service: `host:port` or an `http://` URL [default: that of the project,
    /// `events.listen` or `events.connect`, else 127.0.0.1:14440].
    #[arg(long, env = "FANFARE_SERVICE", value_name = "ADDRESS")]
    pub service: Option<Endpoint>,
    /// The settings file, which names the service [default: the project's fanfare.json].
    #[arg(long, value_name = "FILE", env = "FANFARE_CONFIG")]
    pub config: Option<PathBuf>,
    /// The environment: selects a section of `environments` [default: development].
    #[arg(long, value_name = "NAME", env = "FANFARE_ENV")]
    pub env: Option<String>,
    /// The token of the service. Better set the variable, because other users see the arguments of
    /// a process.
    #[arg(long, env = "FANFARE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Print JSON.
    #[arg(long, env = "FANFARE_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub json: bool,
}

/// A client of an event service.
#[derive(Debug)]
pub struct ServiceClient {
    pub endpoint: Endpoint,
    origin: Origin,
    token: Option<String>,
}

/// What names the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `events.listen`.
    Listen,
    /// `--service`, `events.connect` or the default.
    Other,
}

impl Origin {
    /// How to start the service.
    fn remedy(self) -> &'static str {
        match self {
            Origin::Listen => {
                "events.listen is set, but the running host may have started without it: start or restart the host"
            }
            Origin::Other => "start one with `fanfare events serve` or with events.listen in fanfare.json",
        }
    }
}

/// The usual address of an event service.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 14_440);

/// Why a command could not use the service.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(
        "cannot connect to an event service at {endpoint}: {error}; {}, or set --service (FANFARE_SERVICE)",
        .origin.remedy()
    )]
    Unreachable { endpoint: Endpoint, error: std::io::Error, origin: Origin },
    #[error("the connection to the event service at {endpoint} failed: {error}; see the log of the service")]
    Broken { endpoint: Endpoint, error: hyper::Error },
    #[error("the event service at {endpoint} did not respond within {} s", .within.as_secs())]
    Slow { endpoint: Endpoint, within: Duration },
    #[error("{}", readable(.0))]
    Refused(Box<Problem>),
    #[error("{endpoint} returned an unexpected response (status {status}); check that it is an event service")]
    Strange { endpoint: Endpoint, status: StatusCode },
    #[error("{0}\nthe address of the event service is unknown: correct this fault, or set --service to the address")]
    Settings(Faults),
    #[error(
        "events.listen is {0}, where the service itself picks the port: set --service to the address that it has printed"
    )]
    AnyPort(SocketAddr),
    #[error("events.connect {0} is no address of an event service: correct it, or set --service")]
    Connect(String),
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
    /// Chooses the service: that of `--service`, else that of the project around the current
    /// folder.
    pub fn client(&self) -> Result<ServiceClient, ServiceError> {
        let (endpoint, origin) = match &self.service {
            Some(endpoint) => (endpoint.clone(), Origin::Other),
            None => self.of_project()?,
        };
        Ok(ServiceClient { endpoint, origin, token: self.token.clone().filter(|token| !token.is_empty()) })
    }

    fn of_project(&self) -> Result<(Endpoint, Origin), ServiceError> {
        let file = FileArgs { config: self.config.clone(), env: self.env.clone(), modules: None };
        let (config, faults) = Config::load_with_faults(&file.alone().sources(around(Path::new(".")).project));
        if hide(&faults, "events") {
            return Err(ServiceError::Settings(faults));
        }
        if let Some(url) = config.events.connect {
            let endpoint = url.parse().map_err(|_| ServiceError::Connect(url))?;
            return Ok((endpoint, Origin::Other));
        }
        let origin = if config.events.listen.is_some() { Origin::Listen } else { Origin::Other };
        let listen = config.events.listen.unwrap_or(DEFAULT);
        let endpoint = Endpoint::of_listener(listen).filter(|_| listen.port() != 0);
        Ok((endpoint.ok_or(ServiceError::AnyPort(listen))?, origin))
    }
}

impl ServiceClient {
    /// Builds a request with the token.
    pub fn request(&self, path: &str, body: impl Into<Bytes>) -> Result<Request<Full<Bytes>>, ServiceError> {
        let mut request = Request::new(Full::new(body.into()));
        *request.uri_mut() = path.parse().unwrap_or_default();
        if let Some(token) = &self.token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| ServiceError::Token)?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    pub fn failed(&self, error: ExchangeError) -> ServiceError {
        let endpoint = self.endpoint.clone();
        match error {
            ExchangeError::Unreachable(error) => ServiceError::Unreachable { endpoint, error, origin: self.origin },
            ExchangeError::Broken(error) => ServiceError::Broken { endpoint, error },
            ExchangeError::Slow(within) => ServiceError::Slow { endpoint, within },
        }
    }

    /// The error in a response with another status than 200.
    pub fn refused(&self, status: StatusCode, body: &[u8]) -> ServiceError {
        match serde_json::from_slice(body) {
            Ok(problem) => ServiceError::Refused(problem),
            Err(_) => ServiceError::Strange { endpoint: self.endpoint.clone(), status },
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The error of a command without its service, in a project with these settings.
    fn unreachable(settings: &str, service: Option<&str>) -> String {
        let temp = tempfile::tempdir().unwrap();
        let config = temp.path().join("fanfare.json");
        std::fs::write(&config, settings).unwrap();
        let service = service.map(|address| address.parse().unwrap());
        let args = ServiceArgs { service, config: Some(config), env: None, token: None, json: false };
        let client = args.client().unwrap();
        client.failed(ExchangeError::Unreachable(std::io::ErrorKind::ConnectionRefused.into())).to_string()
    }

    #[test]
    fn a_host_that_started_without_the_event_service_must_be_restarted() {
        let listens = r#"{ "events": { "listen": "127.0.0.1:14440" } }"#;
        let (set, start) = ("events.listen is set, but the running host", "start one with `fanfare events serve`");
        for (settings, service, is_set) in [
            (listens, None, true),
            (listens, Some("127.0.0.1:14441"), false),
            ("{}", None, false),
            (r#"{ "events": { "connect": "http://127.0.0.1:14440" } }"#, None, false),
        ] {
            let error = unreachable(settings, service);
            assert_eq!((error.contains(set), error.contains(start)), (is_set, !is_set), "{error}");
            assert!(error.starts_with("cannot connect to an event service at 127.0.0.1:1444"), "{error}");
        }
    }
}
