use serde::de::DeserializeOwned;

use crate::failure::{Failure, Result};
use crate::payload::{IntoPayload, Json};
use crate::types::{Outcome, Passed, Payload, Reply};

/// A type that a handler can return.
///
/// Nothing (204), text, bytes, [`Json`], a JSON value, `(status, body)`, a [`Reply`], [`Pass`], a
/// [`Passed`], an [`Outcome`], or a `Result` of one of these with any error that converts to
/// [`Failure`].
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "return `()`, `&str`, `String`, `Vec<u8>`, `Json<T>`, `serde_json::Value`, `(u16, body)`, `Reply`, `Pass`, `Passed` or `Outcome`, or a `Result<T>` of one of these"
)]
pub trait IntoOutcome {
    /// Converts the value to the outcome of the call.
    fn into_outcome(self) -> Result<Outcome>;
}

impl<T: IntoOutcome, E: Into<Failure>> IntoOutcome for Result<T, E> {
    fn into_outcome(self) -> Result<Outcome> {
        self.map_err(Into::into)?.into_outcome()
    }
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Result<Outcome> {
        Ok(self)
    }
}

impl IntoOutcome for Reply {
    fn into_outcome(self) -> Result<Outcome> {
        Ok(Outcome::Reply(self))
    }
}

/// A reply with this status and body.
impl<P: IntoPayload> IntoOutcome for (u16, P) {
    fn into_outcome(self) -> Result<Outcome> {
        Ok(Outcome::Reply(Reply::try_new(self.1)?.with_status(self.0)))
    }
}

macro_rules! body_as_outcome {
    ($($ty:ty),*) => {$(
        impl IntoOutcome for $ty {
            fn into_outcome(self) -> Result<Outcome> {
                Reply::try_new(self).map(Outcome::Reply)
            }
        }
    )*};
}

body_as_outcome!((), &str, String, Vec<u8>, &[u8], Payload, crate::Text, crate::Bytes, serde_json::Value);

impl<T: serde::Serialize> IntoOutcome for Json<T> {
    fn into_outcome(self) -> Result<Outcome> {
        Reply::try_new(self).map(Outcome::Reply)
    }
}

/// Lets the call continue with its next step. A middleware, a filter or a channel route returns it.
///
/// ```
/// use fanfare_sdk::prelude::*;
///
/// #[handler]
/// async fn only_short(message: Text) -> Result<Pass> {
///     if message.len() > 140 {
///         return Err(Failure::bad_request("too-long", "at most 140 bytes"));
///     }
///     Ok(Pass)
/// }
/// fanfare_sdk::module!(only_short);
/// # fn main() {
/// let host = TestHost::new(Module);
/// assert_eq!(host.request("only_short").body("hello").outcome(), Ok(Outcome::pass()));
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass;

impl IntoOutcome for Pass {
    fn into_outcome(self) -> Result<Outcome> {
        Ok(Outcome::pass())
    }
}

/// Lets the call continue, and replaces its payload or passes facts to the next steps.
///
/// ```
/// use fanfare_sdk::prelude::*;
/// use fanfare_sdk::types::Passed;
///
/// #[handler]
/// fn member(cx: Context) -> Result<Passed> {
///     let user = cx.query_pairs().into_iter().find(|(name, _)| name == "user");
///     let (_, user) = user.ok_or_else(|| Failure::forbidden("no-user", "log in first"))?;
///     Ok(Passed::new().with_extra("user", user))
/// }
/// fanfare_sdk::module!(member);
/// # fn main() {
/// let Ok(Outcome::Pass(passed)) = TestHost::new(Module).request("member?user=ada").outcome() else { panic!() };
/// assert_eq!(passed.extra, [("user".to_owned(), "ada".to_owned())]);
/// # }
/// ```
impl Passed {
    /// Keeps the payload of the call and passes no facts.
    pub fn new() -> Self {
        Passed { payload: None, extra: Vec::new() }
    }

    /// Replaces the payload of the call.
    pub fn with_payload(mut self, payload: impl IntoPayload) -> Result<Self> {
        self.payload = Some(payload.into_payload()?);
        Ok(self)
    }

    /// Passes a fact. The next steps read it with `Context::extra("<this module>.<name>")`.
    #[must_use]
    pub fn with_extra(mut self, name: &str, value: impl Into<String>) -> Self {
        self.extra.push((name.to_owned(), value.into()));
        self
    }
}

impl Default for Passed {
    fn default() -> Self {
        Passed::new()
    }
}

impl IntoOutcome for Passed {
    fn into_outcome(self) -> Result<Outcome> {
        Ok(Outcome::Pass(self))
    }
}

impl Outcome {
    /// Lets the call continue with its payload.
    pub fn pass() -> Self {
        Outcome::Pass(Passed::new())
    }

    /// Lets the call continue with this payload instead of its own.
    pub fn pass_with(payload: impl IntoPayload) -> Result<Self> {
        Passed::new().with_payload(payload).map(Outcome::Pass)
    }
}

/// Creates and reads replies.
///
/// ```
/// use fanfare_sdk::prelude::*;
///
/// #[handler]
/// async fn brew() -> Result<Reply> {
///     Ok(Reply::new(Json(["no coffee"]))?.with_status(418).with_header("cache-control", "no-store"))
/// }
/// fanfare_sdk::module!(brew);
/// # fn main() {
/// let reply = TestHost::new(Module).call("brew", ()).unwrap();
/// assert_eq!((reply.status, reply.header("content-type")), (418, Some("application/json")));
/// assert_eq!(reply.json::<Vec<String>>().unwrap(), ["no coffee"]);
/// # }
/// ```
impl Reply {
    /// Creates a reply with this body. The host sets the status: 200, or 204 without a body. Fails
    /// when serde cannot serialise the body as JSON.
    pub fn new<P: IntoPayload>(body: P) -> Result<Self> {
        Self::try_new(body)
    }

    fn try_new<P: IntoPayload>(body: P) -> Result<Self> {
        let payload = body.into_payload().map_err(|error| {
            Failure::new("invalid-result", format!("cannot serialise the result of the handler as JSON: {error}"))
        })?;
        let headers = match P::CONTENT_TYPE {
            Some(kind) => vec![("content-type".to_owned(), kind.to_owned())],
            None => Vec::new(),
        };
        Ok(Reply { status: 0, headers, payload, extra: Vec::new() })
    }

    /// Creates a reply without a body.
    pub fn empty() -> Self {
        Reply { status: 0, headers: Vec::new(), payload: Payload::None, extra: Vec::new() }
    }

    /// Sets the status, 200 to 599.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Adds a header field. A `content-type` replaces the existing one.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        let name = name.to_ascii_lowercase();
        if name == "content-type" {
            self.headers.retain(|(other, _)| *other != name);
        }
        self.headers.push((name, value.into()));
        self
    }

    /// Returns the first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Parses the body as JSON. An empty body is `null`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        self.payload.json()
    }

    /// Returns the body as text: empty when there is no body and when it is not valid UTF-8.
    pub fn text(&self) -> &str {
        self.payload.as_text().unwrap_or_default()
    }

    /// Returns the body as bytes.
    pub fn bytes(&self) -> &[u8] {
        self.payload.as_bytes()
    }
}
