use serde::{Deserialize, Serialize};

use crate::call::{Extra, Payload, ProblemCode, text};

/// Why a call has no reply. Each message says what is wrong, where, and how to fix it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum CallError {
    /// The handler returned an error.
    #[error("{}", .0.message)]
    Failure(Failure),
    /// The call did not end by its deadline. The text says why it had to wait, if the host knows.
    #[error("no answer by the deadline{}", .0.as_ref().map(|why| format!("; {why}")).unwrap_or_default())]
    Timeout(Option<String>),
    /// There is no such module, route, broadcast or isolate.
    #[error("{0}")]
    NotFound(String),
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// A queue is full.
    #[error("{0}")]
    Overloaded(String),
    /// The instance ended while the call ran: a trap, a limit, or the end of the host.
    #[error("{0}")]
    Crashed(String),
    /// The module does not serve, or the host stops.
    #[error("{0}")]
    Unavailable(String),
    /// The call would wait for itself.
    #[error("{0}")]
    WouldDeadlock(String),
    /// Too many calls wait for this one.
    #[error("{0}")]
    TooDeep(String),
    /// The call is malformed or too large.
    #[error("{0}")]
    Invalid(String),
    /// A kind of error from another node with a later version, and its message.
    #[error("{1}")]
    Other(String, String),
}

/// The error that a handler returns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The kind of the error, as the handler names it.
    pub name: String,
    /// The text for people.
    pub message: String,
    /// The HTTP status: 400 to 599, or 0 for the default.
    pub status: u16,
    /// Data for the caller.
    pub data: Payload,
    /// Pairs that later versions may add.
    pub extra: Extra,
}

/// The party that causes an error. It decides the log level and the metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    Guest,
    Client,
    Peer,
    Operator,
    Host,
}

impl Blame {
    pub const ALL: [Blame; 5] = [Blame::Guest, Blame::Client, Blame::Peer, Blame::Operator, Blame::Host];

    /// The log level of its errors.
    pub fn level(self) -> tracing::Level {
        match self {
            Blame::Client => tracing::Level::DEBUG,
            Blame::Guest | Blame::Peer | Blame::Operator => tracing::Level::WARN,
            Blame::Host => tracing::Level::ERROR,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Blame::Guest => "guest",
            Blame::Client => "client",
            Blame::Peer => "peer",
            Blame::Operator => "operator",
            Blame::Host => "host",
        }
    }
}

impl CallError {
    /// The metric labels of all variants.
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

    /// The error of what the end of the host prevents.
    pub fn stopping() -> CallError {
        CallError::Unavailable("the host is stopping".to_owned())
    }

    /// The index in [`CallError::CODES`].
    pub fn index(&self) -> usize {
        match self {
            CallError::Failure(_) => 0,
            CallError::Timeout(_) => 1,
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

    /// The name in metrics and logs.
    pub fn code(&self) -> &'static str {
        Self::CODES.get(self.index()).copied().unwrap_or("other")
    }

    /// The code of a response with this error.
    pub fn problem_code(&self) -> ProblemCode {
        match self {
            CallError::Failure(_) => ProblemCode::Failure,
            CallError::Timeout(_) => ProblemCode::Timeout,
            CallError::NotFound(_) => ProblemCode::NotFound,
            CallError::Forbidden(_) => ProblemCode::Forbidden,
            CallError::Overloaded(_) => ProblemCode::Overloaded,
            CallError::Crashed(_) => ProblemCode::Crashed,
            CallError::Unavailable(_) => ProblemCode::Unavailable,
            CallError::WouldDeadlock(_) => ProblemCode::WouldDeadlock,
            CallError::TooDeep(_) => ProblemCode::TooDeep,
            CallError::Invalid(_) => ProblemCode::Invalid,
            CallError::Other(..) => ProblemCode::Other,
        }
    }

    pub fn fault(&self) -> Blame {
        match self {
            CallError::Failure(failure) if failure.effective_status() < 500 => Blame::Client,
            CallError::NotFound(_) | CallError::Forbidden(_) | CallError::Invalid(_) => Blame::Client,
            CallError::Overloaded(_) => Blame::Operator,
            CallError::Other(..) => Blame::Peer,
            CallError::Failure(_)
            | CallError::Timeout(_)
            | CallError::Crashed(_)
            | CallError::Unavailable(_)
            | CallError::WouldDeadlock(_)
            | CallError::TooDeep(_) => Blame::Guest,
        }
    }

    /// The HTTP status of a response with this error.
    pub fn status(&self) -> u16 {
        match self {
            CallError::Failure(failure) => failure.effective_status(),
            error => error.problem_code().status().as_u16(),
        }
    }
}

#[cfg(test)]
impl CallError {
    /// One error of each kind, in the order of [`CallError::CODES`]. `why` is every text.
    pub fn one_of_each(why: &str) -> [CallError; 11] {
        let why = || why.to_owned();
        let extra = vec![("a".to_owned(), "b".to_owned())];
        [
            CallError::Failure(Failure { name: why(), message: why(), status: 404, data: why().into(), extra }),
            CallError::Timeout(Some(why())),
            CallError::NotFound(why()),
            CallError::Forbidden(why()),
            CallError::Overloaded(why()),
            CallError::Crashed(why()),
            CallError::Unavailable(why()),
            CallError::WouldDeadlock(why()),
            CallError::TooDeep(why()),
            CallError::Invalid(why()),
            CallError::Other(why(), why()),
        ]
    }
}

impl Failure {
    /// Whether the handler asks the host not to log it.
    pub fn is_silent(&self) -> bool {
        self.extra.iter().any(|(name, value)| name == "silent" && value == "true")
    }

    /// Cuts the name and the message to the bounds of texts, because both appear in problem
    /// documents, logs and statuses. A guest can put long text into `data`.
    #[must_use]
    pub fn shortened(self) -> Failure {
        Failure { name: text::cut(self.name, text::NAME), message: text::cut(self.message, text::MESSAGE), ..self }
    }

    /// The status, or 500 if it is not an error status.
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
    fn an_unknown_kind_of_error_is_the_peers_fault_and_keeps_its_message() {
        let error = CallError::Other("too-late".into(), "The epoch is over.".into());
        assert_eq!((error.fault(), error.status(), error.code()), (Blame::Peer, 502, "other"));
        assert_eq!(error.to_string(), "The epoch is over.");
    }

    #[test]
    fn every_error_has_its_own_label() {
        assert_eq!(CallError::one_of_each("why").map(|error| error.code()), CallError::CODES);
        assert_eq!(CallError::one_of_each("why").map(|error| error.problem_code().as_str()), CallError::CODES);
    }

    #[test]
    fn the_status_of_a_failure_decides_whose_fault_it_is() {
        let failure = |status| CallError::Failure(Failure { status, ..Failure::default() });
        assert_eq!(failure(404).fault(), Blame::Client);
        assert_eq!(failure(500).fault(), Blame::Guest);
    }
}
