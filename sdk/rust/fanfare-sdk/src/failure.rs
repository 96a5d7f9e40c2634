use std::error::Error;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;

use crate::payload::IntoPayload;
use crate::types::Payload;
use crate::wit::types as wit;

/// The result of a handler that can fail.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// The status of a failure that is the module's fault.
const FAULT: u16 = 500;

/// The name of a failure that `?` made of another error.
const UNNAMED: &str = "error";

/// How a handler refuses a call: a name to match on, a sentence for a person, a status, and data.
///
/// An HTTP client receives a problem document, another module a [`CallError::Failure`]. With `?`
/// every Rust error type and `&str` becomes a failure with the name `error` and the status 500. A
/// [`CallError`] that contains a failure becomes that failure.
///
/// The SDK logs a failure of a handler that has the status 500, with the line that created it, but
/// not one that another call returned, because that call has logged it.
///
/// ```
/// use fanfare_sdk::prelude::*;
///
/// fn age(text: &str) -> Result<u8> {
///     if text.is_empty() {
///         return Err(Failure::not_found("no-age", "the age is not known").with_data(json!({"asked": 1})));
///     }
///     Ok(text.parse()?)
/// }
/// assert_eq!(age("").unwrap_err().status, 404);
/// let failure = age("old").unwrap_err();
/// assert_eq!((failure.name.as_str(), failure.status), ("error", 500));
/// assert_eq!(failure.message, "invalid digit found in string");
/// ```
#[derive(Clone)]
pub struct Failure {
    record: Box<wit::Failure>,
    /// Where the module created it. `None` if another call returned it.
    at: Option<&'static Location<'static>>,
}

impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        self.record == other.record
    }
}

impl Failure {
    /// Creates a failure with status 500.
    #[track_caller]
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        let record = wit::Failure {
            name: name.into(),
            message: message.into(),
            status: 500,
            data: Payload::None,
            extra: Vec::new(),
        };
        Failure { record: Box::new(record), at: Some(Location::caller()) }
    }

    /// Creates a failure with status 400: the caller's arguments are wrong.
    #[track_caller]
    pub fn bad_request(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, message).with_status(400)
    }

    /// Creates a failure with status 403: the caller may not do this.
    #[track_caller]
    pub fn forbidden(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, message).with_status(403)
    }

    /// Creates a failure with status 404: the requested item does not exist.
    #[track_caller]
    pub fn not_found(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, message).with_status(404)
    }

    /// Creates a failure with status 409: the request conflicts with the current state.
    #[track_caller]
    pub fn conflict(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(name, message).with_status(409)
    }

    /// Sets the status, 400 to 599.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.record.status = status;
        self
    }

    /// Adds data for the caller's program. Drops data that serde cannot serialise as JSON.
    #[must_use]
    pub fn with_data(mut self, data: impl IntoPayload) -> Self {
        self.record.data = data.into_payload().unwrap_or(Payload::None);
        self
    }

    /// Adds a value for the host. For a connected client, `close-code` closes the connection with
    /// this code, and `silent` keeps the failure out of the log.
    ///
    /// ```
    /// use fanfare_sdk::prelude::*;
    ///
    /// let banned = Failure::forbidden("banned", "you are banned").with_extra("close-code", "4403");
    /// assert_eq!(banned.extra, [("close-code".to_owned(), "4403".to_owned())]);
    /// ```
    #[must_use]
    pub fn with_extra(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.record.extra.push((name.into(), value.into()));
        self
    }

    /// Creates it from the record of the contract.
    pub fn from_wit(failure: wit::Failure) -> Self {
        Failure { record: Box::new(failure), at: None }
    }

    /// Returns the record of the contract.
    pub fn into_wit(self) -> wit::Failure {
        *self.record
    }

    /// Returns the line for the log, if this is a fault of the module that the log should have.
    pub(crate) fn log_line(&self) -> Option<String> {
        let at = self.at?;
        if self.status != FAULT || self.extra.iter().any(|(name, _)| name == "silent") {
            return None;
        }
        let name = if self.name == UNNAMED { String::new() } else { format!("{}: ", self.name) };
        // A line of the SDK or of the library of Rust says nothing about the module.
        let is_own =
            !at.file().starts_with(file!().trim_end_matches("failure.rs")) && !at.file().starts_with("/rustc/");
        let place = if is_own { format!(" ({}:{})", at.file(), at.line()) } else { String::new() };
        Some(format!("{name}{}{place}", self.message))
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    #[track_caller]
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
                Failure::new(UNNAMED, message)
            }
        }
    }
}

impl Deref for Failure {
    type Target = wit::Failure;
    fn deref(&self) -> &wit::Failure {
        &self.record
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut wit::Failure {
        &mut self.record
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.record, f)
    }
}

/// Why a call to a route returned no reply. The text is one sentence that names what was requested.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CallError {
    /// The handler ran and returned a failure.
    Failure(Failure),
    /// The deadline passed before an answer arrived. The handler may have run.
    Timeout,
    /// There is no such module, route, broadcast, isolate or node.
    NotFound(String),
    /// The module lacks a grant, or the route does not accept this kind of caller.
    Forbidden(String),
    /// A queue or a limit is full. Nothing was started; try again later.
    Overloaded(String),
    /// The instance or its node ended while the call ran. The handler may have done part of its
    /// work.
    Crashed(String),
    /// The module cannot run there now, or the node is not reachable. Nothing was started.
    Unavailable(String),
    /// The target is itself waiting for this chain of calls. Nothing was started.
    WouldDeadlock(String),
    /// The chain of calls is longer than allowed. Nothing was started.
    TooDeep(String),
    /// The import does not accept these arguments. Nothing was started.
    Invalid(String),
    /// A kind that a later version adds: its name, and one sentence.
    Other(String, String),
}

impl CallError {
    /// Returns the name of the kind in the contract: `failure`, `timeout`, `not-found` and so on.
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

    /// Returns the failure, if the handler ran and returned one.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            CallError::Failure(failure) => Some(failure),
            _ => None,
        }
    }

    /// Returns the variant of the contract.
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

    /// Returns the failure that it contains, otherwise a failure with the kind as its name and the
    /// status that the host has for this kind. `?` uses it.
    fn into_failure(self) -> Failure {
        let status = self.status();
        match self {
            CallError::Failure(failure) => failure,
            error => Failure { at: None, ..Failure::new(error.kind(), error.to_string()).with_status(status) },
        }
    }

    /// The HTTP status of its kind, which is the same in the problem documents of the host.
    fn status(&self) -> u16 {
        match self {
            CallError::Failure(_) => 0,
            CallError::Timeout => 504,
            CallError::NotFound(_) => 404,
            CallError::Forbidden(_) => 403,
            CallError::Overloaded(_) | CallError::Unavailable(_) => 503,
            CallError::Crashed(_) => 500,
            CallError::WouldDeadlock(_) | CallError::TooDeep(_) => 508,
            CallError::Invalid(_) => 400,
            CallError::Other(..) => 502,
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
            wit::CallError::Failure(failure) => CallError::Failure(Failure::from_wit(failure)),
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

/// For a payload that serde cannot serialise.
impl From<serde_json::Error> for CallError {
    fn from(error: serde_json::Error) -> Self {
        CallError::Invalid(format!("cannot serialise the payload as JSON: {error}"))
    }
}
