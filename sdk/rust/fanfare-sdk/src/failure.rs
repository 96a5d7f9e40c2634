use std::error::Error;
use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::payload::IntoPayload;
use crate::types::Payload;
use crate::wit::types as wit;

/// What a handler returns that can say no.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// How a handler says no: a name to match on, a sentence for a person, a status, and data.
///
/// Over HTTP it is a problem document; another module gets it as [`CallError::Failure`]. Every error type of
/// Rust, and `&str`, converts with `?`: its name is then `error`, its status 500. A [`CallError`] keeps the failure
/// that it brings.
///
/// ```
/// use fanfare_sdk::prelude::*;
///
/// fn age(text: &str) -> Result<u8> {
///     if text.is_empty() {
///         return Err(Failure::not_found("no-age", "nobody knows").with_data(json!({"asked": 1})));
///     }
///     Ok(text.parse()?)
/// }
/// assert_eq!(age("").unwrap_err().status, 404);
/// let failure = age("old").unwrap_err();
/// assert_eq!((failure.name.as_str(), failure.status), ("error", 500));
/// assert_eq!(failure.message, "invalid digit found in string");
/// ```
#[derive(Clone, PartialEq)]
pub struct Failure(Box<wit::Failure>);

impl Failure {
    /// A failure with status 500.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Failure(Box::new(wit::Failure {
            name: name.into(),
            message: message.into(),
            status: 500,
            data: Payload::None,
            extra: Vec::new(),
        }))
    }

    /// Status 400: the caller's arguments are wrong.
    pub fn bad_request(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, message).with_status(400)
    }

    /// Status 403: the caller may not do this.
    pub fn forbidden(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, message).with_status(403)
    }

    /// Status 404: what was asked for is not there.
    pub fn not_found(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, message).with_status(404)
    }

    /// Status 409: it does not fit what is there.
    pub fn conflict(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, message).with_status(409)
    }

    /// The same with another status, 400 to 599.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.0.status = status;
        self
    }

    /// The same with data for the caller's program. Data that cannot be written as JSON is left out.
    #[must_use]
    pub fn with_data(mut self, data: impl IntoPayload) -> Self {
        self.0.data = data.into_payload().unwrap_or(Payload::None);
        self
    }

    /// From its record in the contract.
    pub fn from_wit(failure: wit::Failure) -> Self {
        Failure(Box::new(failure))
    }

    /// Its record in the contract.
    pub fn into_wit(self) -> wit::Failure {
        *self.0
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        match error.into().downcast::<CallError>() {
            Ok(error) => error.into_failure(),
            Err(error) => {
                let mut message = error.to_string();
                let mut source = error.source();
                while let Some(cause) = source {
                    message = format!("{message}: {cause}");
                    source = cause.source();
                }
                Failure::new("error", message)
            }
        }
    }
}

impl Deref for Failure {
    type Target = wit::Failure;
    fn deref(&self) -> &wit::Failure {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut wit::Failure {
        &mut self.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a call to a route brought no reply. The text is one sentence that names what was asked for.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CallError {
    /// The handler ran and said no.
    Failure(Failure),
    /// No answer by the deadline. The handler may have run.
    Timeout,
    /// There is no such module, route, broadcast, isolate or node.
    NotFound(String),
    /// The caller may not do this, or the route is not for it.
    Forbidden(String),
    /// A queue or limit is full: nothing was started. Try again later.
    Overloaded(String),
    /// The instance ended while the call ran. The handler may have done part of its work.
    Crashed(String),
    /// The module cannot run there now, or the node is not reachable: nothing was started.
    Unavailable(String),
    /// The target waits for this very chain of calls: nothing was started.
    WouldDeadlock(String),
    /// The chain of calls is longer than allowed: nothing was started.
    TooDeep(String),
    /// The arguments are not what this import takes: nothing was started.
    Invalid(String),
    /// A later kind: its name and one sentence.
    Other(String, String),
}

impl CallError {
    /// Its kind, as in the contract: `failure`, `timeout`, `not-found`, ..
    pub fn kind(&self) -> &str {
        match self {
            CallError::Failure(_) => "failure",
            CallError::Timeout => "timeout",
            CallError::NotFound(_) => "not-found",
            CallError::Forbidden(_) => "forbidden",
            CallError::Overloaded(_) => "overloaded",
            CallError::Crashed(_) => "crashed",
            CallError::Unavailable(_) => "unavailable",
            CallError::WouldDeadlock(_) => "would-deadlock",
            CallError::TooDeep(_) => "too-deep",
            CallError::Invalid(_) => "invalid",
            CallError::Other(kind, _) => kind,
        }
    }

    /// The failure, when the handler ran and said no.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            CallError::Failure(failure) => Some(failure),
            _ => None,
        }
    }

    /// Its variant in the contract.
    pub fn into_wit(self) -> wit::CallError {
        match self {
            CallError::Failure(failure) => wit::CallError::Failure(failure.into_wit()),
            CallError::Timeout => wit::CallError::Timeout,
            CallError::NotFound(message) => wit::CallError::NotFound(message),
            CallError::Forbidden(message) => wit::CallError::Forbidden(message),
            CallError::Overloaded(message) => wit::CallError::Overloaded(message),
            CallError::Crashed(message) => wit::CallError::Crashed(message),
            CallError::Unavailable(message) => wit::CallError::Unavailable(message),
            CallError::WouldDeadlock(message) => wit::CallError::WouldDeadlock(message),
            CallError::TooDeep(message) => wit::CallError::TooDeep(message),
            CallError::Invalid(message) => wit::CallError::Invalid(message),
            CallError::Other(kind, message) => wit::CallError::Other((kind, message)),
        }
    }

    /// What `?` makes of it: the failure that it brings, else one with its kind as name.
    fn into_failure(self) -> Failure {
        let status = match &self {
            CallError::Failure(_) => 0,
            CallError::Timeout => 504,
            CallError::Overloaded(_) | CallError::Unavailable(_) => 503,
            CallError::Invalid(_) => 500,
            _ => 502,
        };
        match self {
            CallError::Failure(failure) => failure,
            error => Failure::new(error.kind(), error.to_string()).with_status(status),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Failure(failure) => write!(f, "{failure}"),
            CallError::Timeout => f.write_str("no answer by the deadline"),
            CallError::NotFound(message)
            | CallError::Forbidden(message)
            | CallError::Overloaded(message)
            | CallError::Crashed(message)
            | CallError::Unavailable(message)
            | CallError::WouldDeadlock(message)
            | CallError::TooDeep(message)
            | CallError::Invalid(message)
            | CallError::Other(_, message) => f.write_str(message),
        }
    }
}

impl Error for CallError {}

impl From<wit::CallError> for CallError {
    fn from(error: wit::CallError) -> Self {
        match error {
            wit::CallError::Failure(failure) => CallError::Failure(Failure(Box::new(failure))),
            wit::CallError::Timeout => CallError::Timeout,
            wit::CallError::NotFound(message) => CallError::NotFound(message),
            wit::CallError::Forbidden(message) => CallError::Forbidden(message),
            wit::CallError::Overloaded(message) => CallError::Overloaded(message),
            wit::CallError::Crashed(message) => CallError::Crashed(message),
            wit::CallError::Unavailable(message) => CallError::Unavailable(message),
            wit::CallError::WouldDeadlock(message) => CallError::WouldDeadlock(message),
            wit::CallError::TooDeep(message) => CallError::TooDeep(message),
            wit::CallError::Invalid(message) => CallError::Invalid(message),
            wit::CallError::Other((kind, message)) => CallError::Other(kind, message),
        }
    }
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        CallError::Failure(failure)
    }
}

/// A payload that serde cannot write.
impl From<serde_json::Error> for CallError {
    fn from(error: serde_json::Error) -> Self {
        CallError::Invalid(format!("the payload cannot be written as JSON: {error}"))
    }
}
