//! The event service: typed values that modules and processes outside exchange.
//!
//! An event has a type and a JSON value. A module owns the types that begin with its name and a
//! slash (`<name>/..`). Other types need the grant `events`.
//!
//! A module receives events through `subscriptions` of `module.json`, or through [`subscribe`]. The
//! handler reads the value as its body, and takes a [`Subscription`] for the type and the position.
//!
//! ```
//! use fanfare_sdk::prelude::*;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order { id: u32 }
//!
//! #[handler]
//! fn pay(id: Path<u32>) -> Result<()> {
//!     events::emit("shop/paid", Json(Order { id: *id }))?;
//!     Ok(())
//! }
//!
//! #[handler]
//! fn on_paid(order: Json<Order>, from: Subscription) {
//!     info!("{} of order {}", from.topic, order.id);
//! }
//! fanfare_sdk::module!(pay, on_paid);
//! # fn main() {
//! let host = TestHost::builder(Module)
//!     .name("shop")
//!     .route("pay/{id}", "pay")
//!     .subscription("paid", "shop/*", "on_paid")
//!     .start();
//! host.call("pay/7", ()).unwrap();
//! host.settle();
//! assert_eq!(host.logs()[0].message, "shop/paid of order 7");
//! assert_eq!(host.events()[0].value, json!({"id": 7}));
//! # }
//! ```

use crate::backend;
use crate::current::caller;
use crate::failure::CallError;
use crate::payload::IntoPayload;
pub use crate::types::Subscription;

/// Emits an event: every subscription to its type receives it, those of this module too. Returns at
/// once.
///
/// Without a type (`None`) the type is `message`. The value is a type that serde can serialise
/// ([`Json`](crate::Json)), a JSON value, or text. Text that is JSON is that value: `"7"` is the
/// number 7. Other text is a JSON string. `()` is `null`.
///
/// Fails with `Forbidden` for a type that the module may not use, and with `Invalid` when the type
/// is empty, longer than 256 bytes or has control characters, when the value is bytes, or when the
/// event is larger than `limits.payload`. With `Overloaded` and `Unavailable`, this node has the
/// event, but the connected service (`events.connect`) does not.
pub fn emit<'a>(event_type: impl Into<Option<&'a str>>, value: impl IntoPayload) -> Result<(), CallError> {
    let value = value.into_payload()?;
    Ok(backend::emit_event(caller(), event_type.into(), &value)?)
}

/// Subscribes a route of this module, in this worker, to a type of events, to all that begin with
/// `prefix/` (`prefix/*`), or to all types (`None` or `*`). From now on the host calls the route
/// for each such event.
///
/// Returns the name of the subscription. The same pattern and route return the same name. The
/// subscription outlasts swaps and crashes, and ends with [`unsubscribe`] or with its route.
///
/// ```
/// use fanfare_sdk::prelude::*;
///
/// #[handler]
/// fn follow(user: Text) -> Result<String> {
///     Ok(events::subscribe(&*format!("user/{}", *user), "on-user")?)
/// }
///
/// #[handler]
/// fn on_user(seen: Text, from: Subscription) {
///     info!("{}: {}", from.name, *seen);
/// }
/// fanfare_sdk::module!(follow, on_user);
/// # fn main() {
/// let host = TestHost::builder(Module).route("follow", "follow").route("on-user", "on_user").start();
/// let name = host.call("follow", "ada").unwrap();
/// host.emit_event("user/ada", json!("here")).unwrap();
/// host.settle();
/// assert_eq!(host.logs()[0].message, format!("{}: \"here\"", name.text()));
/// # }
/// ```
///
/// Fails with `Forbidden`, with `NotFound` when the module has no such route, with `Invalid` when
/// the pattern is malformed, and with `Overloaded` beyond `limits.subscriptions`.
pub fn subscribe<'a>(pattern: impl Into<Option<&'a str>>, route: &str) -> Result<String, CallError> {
    Ok(backend::subscribe(caller(), pattern.into(), route)?)
}

/// Ends a subscription that [`subscribe`] made in this worker. Fails with `NotFound` when there is
/// no such subscription.
pub fn unsubscribe(subscription: &str) -> Result<(), CallError> {
    Ok(backend::unsubscribe(caller(), subscription)?)
}
