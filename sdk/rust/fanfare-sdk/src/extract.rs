use std::rc::Rc;

use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::params;
use crate::payload::{Bytes, Json, Text, deref};
use crate::types::{Call, Payload};

/// A call on its way into a handler's arguments.
#[derive(Debug)]
pub struct Incoming {
    call: Rc<Call>,
    body: Option<Payload>,
}

impl Incoming {
    /// From the contract's record.
    pub fn new(mut call: Call) -> Self {
        let body = std::mem::replace(&mut call.payload, Payload::None);
        Incoming { call: Rc::new(call), body: Some(body) }
    }

    /// The call's record; its payload is taken with [`take_body`](Incoming::take_body).
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// The body. Only one argument can have it.
    pub fn take_body(&mut self) -> Result<Payload> {
        self.body.take().ok_or_else(|| {
            let message = format!("two arguments of the handler `{}` take the body", self.call.handler);
            Failure::new("invalid-handler", message)
        })
    }

    /// The context.
    pub fn context(&self) -> Context {
        Context(Rc::clone(&self.call))
    }
}

/// What can be an argument of a handler.
///
/// [`Json`], [`Text`], [`Bytes`] and [`Payload`] take the body (one of them, at most), `Option` of them when there may be
/// none; [`Path`] and [`Query`] take parameters; [`Context`] takes the rest. Implement it for what
/// several handlers begin with:
///
/// ```
/// use fanfare_sdk::{Incoming, prelude::*};
///
/// struct User(String);
///
/// impl FromCall for User {
///     fn from_call(call: &mut Incoming, _argument: &'static str) -> Result<Self> {
///         let user = call.context().header("x-user");
///         user.map(User).ok_or_else(|| Failure::new("no-user", "who are you?").with_status(401))
///     }
/// }
///
/// #[handler]
/// async fn me(user: User) -> String {
///     user.0
/// }
/// fanfare_sdk::module!(me);
/// # fn main() {
/// let host = TestHost::new(Module);
/// assert_eq!(host.request("me").header("x-user", "ada").send().unwrap().text(), "ada");
/// assert_eq!(host.call("me", ()).unwrap_err().failure().unwrap().status, 401);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a handler",
    note = "what can: `Json<T>`, `Text`, `Bytes`, `Payload`, `Option` of these, `Path<T>`, `Query<T>`, `Context`, and what implements `FromCall`"
)]
pub trait FromCall: Sized {
    /// Takes itself from the call. `argument` is the argument's name in the source.
    fn from_call(call: &mut Incoming, argument: &'static str) -> Result<Self>;
}

impl FromCall for Context {
    fn from_call(call: &mut Incoming, _: &'static str) -> Result<Self> {
        Ok(call.context())
    }
}

/// What can be made of a body.
trait FromBody: Sized {
    fn from_body(body: Payload) -> Result<Self>;
}

impl FromBody for Payload {
    fn from_body(body: Payload) -> Result<Self> {
        Ok(body)
    }
}

impl<T: DeserializeOwned> FromBody for Json<T> {
    fn from_body(body: Payload) -> Result<Self> {
        body.json().map(Json).map_err(|error| {
            let message = match body {
                Payload::None => "this route takes JSON, and there is no body".to_owned(),
                _ => format!("the body is not the JSON that this route takes: {error}"),
            };
            Failure::bad_request("invalid-body", message)
        })
    }
}

impl FromBody for Text {
    fn from_body(body: Payload) -> Result<Self> {
        match body {
            Payload::None => Ok(Text(String::new())),
            Payload::Text(text) => Ok(Text(text)),
            Payload::Bytes(bytes) => String::from_utf8(bytes)
                .map(Text)
                .map_err(|_| Failure::bad_request("invalid-body", "the body is not text: it is not valid UTF-8")),
        }
    }
}

impl FromBody for Bytes {
    fn from_body(body: Payload) -> Result<Self> {
        Ok(Bytes(match body {
            Payload::None => Vec::new(),
            Payload::Text(text) => text.into_bytes(),
            Payload::Bytes(bytes) => bytes,
        }))
    }
}

macro_rules! from_body {
    ($(($($t:ident)?) $ty:ty),*) => {$(
        impl$(<$t: DeserializeOwned>)? FromCall for $ty {
            fn from_call(call: &mut Incoming, _: &'static str) -> Result<Self> {
                FromBody::from_body(call.take_body()?)
            }
        }

        /// `None` when there is no body.
        impl$(<$t: DeserializeOwned>)? FromCall for Option<$ty> {
            fn from_call(call: &mut Incoming, _: &'static str) -> Result<Self> {
                match call.take_body()? {
                    Payload::None => Ok(None),
                    body => FromBody::from_body(body).map(Some),
                }
            }
        }
    )*};
}

from_body!(() Payload, (T) Json<T>, () Text, () Bytes);

/// Parameters of the path: what stood at the route's `{name}` segments.
///
/// A plain type takes the segment with the argument's name, a tuple takes them all in order, a struct or map by name.
///
/// ```
/// use fanfare_sdk::prelude::*;
///
/// #[handler]
/// async fn seat(row: Path<char>, number: Path<u32>) -> String {
///     format!("row {}, number {}", *row, *number)
/// }
///
/// #[handler]
/// async fn both(Path((row, number)): Path<(char, u32)>) -> String {
///     format!("{row}{number}")
/// }
/// fanfare_sdk::module!(seat, both);
/// # fn main() {
/// let host = TestHost::builder(Module)
///     .route("GET seat/{row}/{number}", "seat")
///     .route("GET both/{row}/{number}", "both")
///     .start();
/// assert_eq!(host.call("GET seat/C/12", ()).unwrap().text(), "row C, number 12");
/// assert_eq!(host.call("GET both/C/12", ()).unwrap().text(), "C12");
/// assert_eq!(host.call("GET both/C/x", ()).unwrap_err().failure().unwrap().status, 400);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path<T>(pub T);

/// Parameters of the query: what stood after `?`.
///
/// A plain type takes the parameter with the argument's name (an `Option` when it may be missing, a `Vec` when it may
/// come several times), a struct or map takes them all by name.
///
/// ```
/// use fanfare_sdk::prelude::*;
///
/// #[derive(Deserialize)]
/// struct Page { from: u32, to: Option<u32> }
///
/// #[handler]
/// async fn list(page: Query<Page>, tag: Query<Vec<String>>, deep: Query<Option<bool>>) -> String {
///     format!("{} to {:?}, {:?}, {:?}", page.from, page.to, *tag, *deep)
/// }
/// fanfare_sdk::module!(list);
/// # fn main() {
/// let host = TestHost::new(Module);
/// let reply = host.call("list?from=3&tag=a%20b&tag=c", ()).unwrap();
/// assert_eq!(reply.text(), r#"3 to None, ["a b", "c"], None"#);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<T>(pub T);

deref!(Path<T> => T, Query<T> => T);

impl<T: DeserializeOwned> FromCall for Path<T> {
    fn from_call(call: &mut Incoming, argument: &'static str) -> Result<Self> {
        params::path(&call.call().params, argument).map(Path)
    }
}

impl<T: DeserializeOwned> FromCall for Query<T> {
    fn from_call(call: &mut Incoming, argument: &'static str) -> Result<Self> {
        params::query(&call.call().query, argument).map(Query)
    }
}
