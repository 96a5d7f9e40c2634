use serde::de::DeserializeOwned;

use crate::failure::{Failure, Result};
use crate::payload::{IntoPayload, Json};
use crate::types::{Outcome, Passed, Payload, Reply};

/// What a handler can return.
///
/// Nothing (204), text, bytes, [`Json`], a JSON value, `(status, body)`, a [`Reply`], [`Pass`], a [`Passed`], an [`Outcome`],
/// and a `Result` of any of these with any error that converts into [`Failure`].
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    note = "what it can return: `()`, `&str`, `String`, `Vec<u8>`, `Json<T>`, `serde_json::Value`, `(u16, body)`, `Reply`, `Pass`, `Passed`, `Outcome`, and `Result<T>` of these"
)]
pub trait IntoOutcome {
    /// The end of the call.
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

/// A status and a body.
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

/// Lets the call go on: what a middleware, a filter or a channel route returns when it has nothing against it.
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

/// Lets the call continue and tells the next steps something: another payload, or facts.
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
    /// Keeps the payload that arrived and tells nothing.
    pub fn new() -> Self {
        Passed { payload: None, extra: Vec::new() }
    }

    /// The same with this payload in place of the one that arrived.
    pub fn with_payload(mut self, payload: impl IntoPayload) -> Result<Self> {
        self.payload = Some(payload.into_payload()?);
        Ok(self)
    }

    /// The same with a fact, which the next steps read with `Context::extra("<this module>.<name>")`.
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
    /// Lets the call continue with the payload that arrived.
    pub fn pass() -> Self {
        Outcome::Pass(Passed::new())
    }

    /// Lets the call continue with this payload in place of the one that arrived.
    pub fn pass_with(payload: impl IntoPayload) -> Result<Self> {
        Passed::new().with_payload(payload).map(Outcome::Pass)
    }
}

/// Makes and reads replies.
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
    /// A reply with this body. The host sets the status: 200, or 204 without a body. Fails when the body
    /// cannot be written as JSON.
    pub fn new<P: IntoPayload>(body: P) -> Result<Self> {
        Self::try_new(body)
    }

    fn try_new<P: IntoPayload>(body: P) -> Result<Self> {
        let payload = body.into_payload().map_err(|error| {
            Failure::new("invalid-result", format!("the handler's result cannot be written as JSON: {error}"))
        })?;
        let headers = match P::CONTENT_TYPE {
            Some(kind) => vec![("content-type".to_owned(), kind.to_owned())],
            None => Vec::new(),
        };
        Ok(Reply { status: 0, headers, payload, extra: Vec::new() })
    }

    /// A reply without a body.
    pub fn empty() -> Self {
        Reply { status: 0, headers: Vec::new(), payload: Payload::None, extra: Vec::new() }
    }

    /// The same with another status, 200 to 599.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same with one more header field; `content-type` replaces the one that is there.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        let name = name.to_ascii_lowercase();
        if name == "content-type" {
            self.headers.retain(|(other, _)| *other != name);
        }
        self.headers.push((name, value.into()));
        self
    }

    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body read as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        self.payload.json()
    }

    /// The body as text; empty when there is none or when it is not UTF-8.
    pub fn text(&self) -> &str {
        self.payload.as_text().unwrap_or_default()
    }

    /// The body as bytes.
    pub fn bytes(&self) -> &[u8] {
        self.payload.as_bytes()
    }
}
