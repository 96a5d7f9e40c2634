use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::types::Payload;

/// A value as JSON: as an argument the body, as a result the answer.
///
/// The body is read as JSON whatever its content type. Without a body it is read as `null`.
///
/// ```
/// use fanfare_sdk::prelude::*;
///
/// #[handler]
/// async fn sum(numbers: Json<Vec<u32>>) -> Json<u32> {
///     Json(numbers.iter().sum())
/// }
/// fanfare_sdk::module!(sum);
/// # fn main() {
/// let host = TestHost::new(Module);
/// assert_eq!(host.call("sum", "[1, 2, 3]").unwrap().text(), "6");
/// assert_eq!(host.call("sum", "one").unwrap_err().failure().unwrap().status, 400);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// Text: as an argument the body (400 when it is not UTF-8), as a result `text/plain`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub String);

/// Bytes: as an argument the body whatever it is, as a result `application/octet-stream`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

macro_rules! deref {
    ($($name:ident $(<$t:ident>)? => $target:ty),*) => {$(
        impl$(<$t>)? std::ops::Deref for $name$(<$t>)? {
            type Target = $target;
            fn deref(&self) -> &$target { &self.0 }
        }
        impl$(<$t>)? std::ops::DerefMut for $name$(<$t>)? {
            fn deref_mut(&mut self) -> &mut $target { &mut self.0 }
        }
    )*};
}
pub(crate) use deref;

deref!(Json<T> => T, Text => String, Bytes => Vec<u8>);

/// What can be sent: the body of a reply, a broadcast, a call.
///
/// `()`, text, bytes, [`Payload`], [`Json`] of anything that serde can write, and a JSON value.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a payload",
    note = "what can: `()`, `&str`, `String`, `Vec<u8>`, `Payload`, `serde_json::Value`, and `Json(value)` for anything that implements `serde::Serialize`"
)]
pub trait IntoPayload {
    /// The content type that a reply with it has; `None` leaves it to the host (text or bytes).
    const CONTENT_TYPE: Option<&'static str> = None;

    /// The payload. The error is that of serde.
    fn into_payload(self) -> Result<Payload, serde_json::Error>;
}

macro_rules! into_payload {
    ($($ty:ty: $value:pat => $payload:expr;)*) => {$(
        impl IntoPayload for $ty {
            fn into_payload(self) -> Result<Payload, serde_json::Error> {
                let $value = self;
                Ok($payload)
            }
        }
    )*};
}

into_payload! {
    (): () => Payload::None;
    Payload: payload => payload;
    String: text => Payload::Text(text);
    &str: text => Payload::Text(text.to_owned());
    &String: text => Payload::Text(text.clone());
    Text: Text(text) => Payload::Text(text);
    Vec<u8>: bytes => Payload::Bytes(bytes);
    &[u8]: bytes => Payload::Bytes(bytes.to_vec());
    Bytes: Bytes(bytes) => Payload::Bytes(bytes);
}

impl<T: Serialize> IntoPayload for Json<T> {
    const CONTENT_TYPE: Option<&'static str> = Some("application/json");

    fn into_payload(self) -> Result<Payload, serde_json::Error> {
        serde_json::to_string(&self.0).map(Payload::Text)
    }
}

impl IntoPayload for serde_json::Value {
    const CONTENT_TYPE: Option<&'static str> = Some("application/json");

    fn into_payload(self) -> Result<Payload, serde_json::Error> {
        Json(self).into_payload()
    }
}

impl Payload {
    /// Read as JSON. [`Payload::None`] reads as `null`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        match self {
            Payload::None => serde_json::from_str("null"),
            Payload::Text(text) => serde_json::from_str(text),
            Payload::Bytes(bytes) => serde_json::from_slice(bytes),
        }
    }

    /// Read as text: empty for [`Payload::None`], `None` for bytes that are not UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Payload::None => Some(""),
            Payload::Text(text) => Some(text),
            Payload::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        }
    }

    /// Whatever it is, as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Payload::None => &[],
            Payload::Text(text) => text.as_bytes(),
            Payload::Bytes(bytes) => bytes,
        }
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        matches!(self, Payload::None)
    }
}
