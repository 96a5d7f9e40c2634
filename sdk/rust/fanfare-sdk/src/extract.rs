use std::rc::Rc;

use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::params;
use crate::payload::{Bytes, Json, Text, deref};
use crate::types::{Call, Payload, Schedule, Subscription};

/// A call that is being split into the arguments of a handler.
#[derive(Debug)]
pub struct Incoming {
    call: Rc<Call>,
    body: Option<Payload>,
}

impl Incoming {
    /// Creates it from the record of the contract.
    pub fn new(mut call: Call) -> Self {
        let body = std::mem::replace(&mut call.payload, Payload::None);
        Incoming { call: Rc::new(call), body: Some(body) }
    }

    /// Returns the record of the call, without its payload: [`take_body`](Incoming::take_body)
    /// returns that.
    pub fn call(&self) -> &Call {
        &self.call
    }

    /// Returns the body. Fails the second time, because only one argument can have the body.
    pub fn take_body(&mut self) -> Result<Payload> {
        self.body.take().ok_or_else(|| {
            let message =
                format!("two arguments of the handler `{}` read the body: keep one of them", self.call.handler);
            Failure::new("invalid-handler", message)
        })
    }

    /// Returns everything but the body.
    pub fn context(&self) -> Context {
        Context(Rc::clone(&self.call))
    }
}

/// A type that a handler can have as an argument.
///
/// - The body: [`Json`], [`Text`], [`Bytes`] or [`Payload`], or an `Option` of one of them when the
///   body may be missing. At most one argument reads the body.
/// - Parameters: [`Path`] and [`Query`].
/// - The cause: [`Schedule`], [`Subscription`] or
///   [`ChannelEvent`](crate::channels::ChannelEvent), or an `Option` of one of them.
/// - The client: [`Session`](crate::sessions::Session), or an `Option` of it.
/// - Everything else: [`Context`].
///
/// Implement `FromCall` for a step that several handlers begin with:
///
/// ```
/// use fanfare_sdk::{Incoming, prelude::*};
///
/// struct User(String);
///
/// impl FromCall for User {
///     fn from_call(call: &mut Incoming, _argument: &'static str) -> Result<Self> {
///         let user = call.context().header("x-user");
///         user.map(User).ok_or_else(|| Failure::new("no-user", "set the header `x-user`").with_status(401))
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
    note = "use `Json<T>`, `Text`, `Bytes` or `Payload` for the body (or an `Option` of one of them), `Path<T>`, `Query<T>`, `Schedule`, `Subscription`, `ChannelEvent`, `Session` or `Context`, or implement `FromCall` for `{Self}`"
)]
pub trait FromCall: Sized {
    /// Reads the value from the call. `argument` is the name of the argument in the source.
    fn from_call(call: &mut Incoming, argument: &'static str) -> Result<Self>;
}

impl FromCall for Context {
    fn from_call(call: &mut Incoming, _: &'static str) -> Result<Self> {
        Ok(call.context())
    }
}

/// The schedule that caused the call: its name, when the run was due, and the id of the run. A call
/// with another cause fails with the status 400.
impl FromCall for Schedule {
    fn from_call(call: &mut Incoming, _: &'static str) -> Result<Self> {
        let schedule = call.context().schedule().cloned();
        schedule.ok_or_else(|| Failure::bad_request("not-a-schedule", "only a schedule can call this route"))
    }
}

/// `None` when something else than a schedule caused the call.
impl FromCall for Option<Schedule> {
    fn from_call(call: &mut Incoming, _: &'static str) -> Result<Self> {
        Ok(call.context().schedule().cloned())
    }
}

/// The subscription that caused the call: its name, the source and topic of the message, and its
/// position. A call with another cause fails with the status 400.
impl FromCall for Subscription {
    fn from_call(call: &mut Incoming, _: &'static str) -> Result<Self> {
        let subscription = call.context().subscription().cloned();
        subscription
            .ok_or_else(|| Failure::bad_request("not-a-subscription", "only a subscription can call this route"))
    }
}

/// `None` when something else than a subscription caused the call.
impl FromCall for Option<Subscription> {
    fn from_call(call: &mut Incoming, _: &'static str) -> Result<Self> {
        Ok(call.context().subscription().cloned())
    }
}

/// A type that reads the body.
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
        if body.is_none() {
            return Err(Failure::bad_request("invalid-body", "the body is empty: this route expects JSON"));
        }
        body.json().map(Json).map_err(|error| {
            Failure::bad_request("invalid-body", format!("the body is not the JSON that this route expects: {error}"))
        })
    }
}

impl FromBody for Text {
    fn from_body(body: Payload) -> Result<Self> {
        match body {
            Payload::None => Ok(Text(String::new())),
            Payload::Text(text) => Ok(Text(text)),
            Payload::Bytes(bytes) => String::from_utf8(bytes).map(Text).map_err(|_| {
                Failure::bad_request("invalid-body", "the body is not valid UTF-8: this route expects text")
            }),
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

        /// `None` when the body is empty.
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

/// Parameters of the path: the values of the `{name}` segments of the route.
///
/// | `T` | value |
/// |---|---|
/// | a plain type | the segment with the name of the argument |
/// | a tuple | all segments, in order |
/// | a struct or a map | all segments, by name |
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

/// Parameters of the query, the part after `?`.
///
/// | `T` | value |
/// |---|---|
/// | a plain type | the parameter with the name of the argument |
/// | an `Option` | the same, or `None` when it is missing |
/// | a `Vec` | all parameters with the name of the argument |
/// | a struct or a map | all parameters, by name |
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
