use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::types::Payload;

/// A value as JSON: the body of a call as an argument, the body of the reply as a result.
///
/// An argument parses the body as JSON whatever its content type is. An empty body is `null`.
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

/// Text: the body of a call as an argument (400 when it is not valid UTF-8), `text/plain` as a
/// result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(pub String);

/// Bytes: the body of a call as an argument, `application/octet-stream` as a result.
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

/// A type that can be the body of a reply, a broadcast or a call.
///
/// `()`, text, bytes, [`Payload`], a JSON value, or [`Json`] of a type that serde can serialise.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a payload",
    note = "send `()`, `&str`, `String`, `Vec<u8>`, `Payload` or `serde_json::Value`, or `Json(value)` for a type that implements `serde::Serialize`"
)]
pub trait IntoPayload {
    /// The content type of a reply with this body. With `None` the host selects it: text or bytes.
    const CONTENT_TYPE: Option<&'static str> = None;

    /// Converts the value to a payload. Fails when serde cannot serialise it.
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
    /// Parses it as JSON. [`Payload::None`] is `null`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        match self {
            Payload::None => serde_json::from_str("null"),
            Payload::Text(text) => serde_json::from_str(text),
            Payload::Bytes(bytes) => serde_json::from_slice(bytes),
        }
    }

    /// Returns it as text: empty for [`Payload::None`], and `None` for bytes that are not valid
    /// UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Payload::None => Some(""),
            Payload::Text(text) => Some(text),
            Payload::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        }
    }

    /// Returns it as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Payload::None => &[],
            Payload::Text(text) => text.as_bytes(),
            Payload::Bytes(bytes) => bytes,
        }
    }

    /// Whether it is [`Payload::None`].
    pub fn is_none(&self) -> bool {
        matches!(self, Payload::None)
    }
}
