use serde::{Deserialize, Serialize};

use crate::call::{Extra, Payload, text};

/// Why a call brought no reply. The strings are one sentence each, naming what was asked for and the way out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum CallError {
    #[error("{}", .0.message)]
    Failure(Failure),
    #[error("no answer by the deadline")]
    Timeout,
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    Overloaded(String),
    #[error("{0}")]
    Crashed(String),
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    WouldDeadlock(String),
    #[error("{0}")]
    TooDeep(String),
    #[error("{0}")]
    Invalid(String),
    /// A kind that a later version of another node knows, and its sentence.
    #[error("{1}")]
    Other(String, String),
}

/// How a handler says no.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    pub name: String,
    pub message: String,
    /// 0 or 400 to 599.
    pub status: u16,
    pub data: Payload,
    pub extra: Extra,
}

/// Whose fault an error is. It picks the log level and the metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    Guest,
    Client,
    Peer,
    Operator,
    Host,
}

impl Fault {
    pub const ALL: [Fault; 5] = [Fault::Guest, Fault::Client, Fault::Peer, Fault::Operator, Fault::Host];

    /// How loudly its errors are logged.
    pub fn level(self) -> tracing::Level {
        match self {
            Fault::Client => tracing::Level::DEBUG,
            Fault::Guest | Fault::Peer | Fault::Operator => tracing::Level::WARN,
            Fault::Host => tracing::Level::ERROR,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Fault::Guest => "guest",
            Fault::Client => "client",
            Fault::Peer => "peer",
            Fault::Operator => "operator",
            Fault::Host => "host",
        }
    }
}

impl CallError {
    /// The labels of every variant, in metrics.
    pub const CODES: [&'static str; 11] = [
        "failure",
        "timeout",
        "not-found",
        "forbidden",
        "overloaded",
        "crashed",
        "unavailable",
        "would-deadlock",
        "too-deep",
        "invalid",
        "other",
    ];

    /// Its place in [`CallError::CODES`].
    pub fn index(&self) -> usize {
        match self {
            CallError::Failure(_) => 0,
            CallError::Timeout => 1,
            CallError::NotFound(_) => 2,
            CallError::Forbidden(_) => 3,
            CallError::Overloaded(_) => 4,
            CallError::Crashed(_) => 5,
            CallError::Unavailable(_) => 6,
            CallError::WouldDeadlock(_) => 7,
            CallError::TooDeep(_) => 8,
            CallError::Invalid(_) => 9,
            CallError::Other(..) => 10,
        }
    }

    /// Its name in metrics and logs.
    pub fn code(&self) -> &'static str {
        Self::CODES.get(self.index()).copied().unwrap_or("other")
    }

    pub fn fault(&self) -> Fault {
        match self {
            CallError::Failure(failure) if failure.effective_status() < 500 => Fault::Client,
            CallError::NotFound(_) | CallError::Forbidden(_) | CallError::Invalid(_) => Fault::Client,
            CallError::Overloaded(_) => Fault::Operator,
            CallError::Other(..) => Fault::Peer,
            CallError::Failure(_)
            | CallError::Timeout
            | CallError::Crashed(_)
            | CallError::Unavailable(_)
            | CallError::WouldDeadlock(_)
            | CallError::TooDeep(_) => Fault::Guest,
        }
    }

    /// The HTTP status it becomes.
    pub fn status(&self) -> u16 {
        match self {
            CallError::Failure(failure) => failure.effective_status(),
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

impl Failure {
    /// With the bounds of texts on its name and message: both go into problems, logs and statuses.
    /// What is long belongs into `data`.
    #[must_use]
    pub fn shortened(self) -> Failure {
        Failure { name: text::cut(self.name, text::NAME), message: text::cut(self.message, text::MESSAGE), ..self }
    }

    /// The status with 0, and what is no error status, made 500.
    pub fn effective_status(&self) -> u16 {
        if (400..600).contains(&self.status) { self.status } else { 500 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_without_an_error_status_is_a_500() {
        for (given, effective) in [(0, 500), (399, 500), (400, 400), (599, 599), (600, 500)] {
            assert_eq!(Failure { status: given, ..Failure::default() }.effective_status(), effective);
        }
    }

    #[test]
    fn a_kind_of_a_later_version_is_the_peers_fault_and_keeps_its_sentence() {
        let error = CallError::Other("too-late".into(), "The epoch is over.".into());
        assert_eq!((error.fault(), error.status(), error.code()), (Fault::Peer, 502, "other"));
        assert_eq!(error.to_string(), "The epoch is over.");
    }

    #[test]
    fn every_error_has_its_own_label() {
        let why = String::new;
        let errors = [
            CallError::Failure(Failure::default()),
            CallError::Timeout,
            CallError::NotFound(why()),
            CallError::Forbidden(why()),
            CallError::Overloaded(why()),
            CallError::Crashed(why()),
            CallError::Unavailable(why()),
            CallError::WouldDeadlock(why()),
            CallError::TooDeep(why()),
            CallError::Invalid(why()),
            CallError::Other(why(), why()),
        ];
        assert_eq!(errors.map(|error| error.code()), CallError::CODES);
    }

    #[test]
    fn the_fault_of_a_failure_follows_its_status() {
        let failure = |status| CallError::Failure(Failure { status, ..Failure::default() });
        assert_eq!(failure(404).fault(), Fault::Client);
        assert_eq!(failure(500).fault(), Fault::Guest);
    }
}
