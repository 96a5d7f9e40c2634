//! Calls routes of this module or of another one, and returns their outcomes.
//!
//! A route is written `[METHOD ]module/path[?query]`, or with dots, `module.path`. A leading slash
//! stands for this module: `/main/offline`. A call to another module needs the grant `rpc`.
//!
//! ```
//! use fanfare_sdk::prelude::*;
//!
//! #[handler]
//! async fn price(cart: Json<Vec<String>>) -> Result<Json<f64>> {
//!     let rates = rpc::call("shop.rates", Json(["EUR"])).await?;
//!     Ok(Json(rates.json::<f64>()? * cart.len() as f64))
//! }
//! fanfare_sdk::module!(price);
//! # fn main() {
//! let host = TestHost::builder(Module).answer("shop/rates", |_| Ok(Reply::new("1.5")?)).start();
//! assert_eq!(host.call("price", json!(["a", "b"])).unwrap().text(), "3.0");
//! # }
//! ```

use std::future::Future;
use std::time::Duration;

use crate::backend;
use crate::current::caller;
use crate::failure::CallError;
use crate::payload::IntoPayload;
use crate::types::{Address, CallOptions, Entry, Group, Reply, Target};

/// Calls a route in any worker: this worker when it can run the call now, otherwise the least
/// loaded one.
///
/// The call starts when the future is first polled. Its caller is the call that creates the future.
pub fn call<P: IntoPayload>(route: &str, payload: P) -> impl Future<Output = Result<Reply, CallError>> + use<P> {
    to(Target::Any).call(route, payload)
}

/// Queues a call in any worker. Returns the number of places that accepted it, not its outcome. The
/// call has a deadline of its own, by default `limits.timeout` of the module that it calls.
pub fn notify(route: &str, payload: impl IntoPayload) -> Result<u32, CallError> {
    to(Target::Any).notify(route, payload)
}

/// Selects where to call: `rpc::to(Target::Worker(1))` or `rpc::to(Group::Workers)`.
///
/// ```
/// use fanfare_sdk::prelude::*;
/// use fanfare_sdk::types::Group;
///
/// #[handler]
/// fn whoami() -> String {
///     host::isolate().to_string()
/// }
///
/// #[handler]
/// async fn all() -> Result<Json<Vec<String>>> {
///     let entries = rpc::to(Group::Workers).call_every("/whoami", ()).await?;
///     let names = entries.into_iter().map(|entry| Ok(entry.outcome?.text().to_owned()));
///     Ok(Json(names.collect::<Result<_>>()?))
/// }
/// fanfare_sdk::module!(whoami, all);
/// # fn main() {
/// let host = TestHost::builder(Module).workers(2).start();
/// assert_eq!(host.call("all", ()).unwrap().text(), r#"["worker-0","worker-1"]"#);
/// # }
/// ```
#[must_use = "call `call`, `call_every` or `notify` to make the call"]
pub fn to<A>(address: A) -> To<A> {
    To { address, options: CallOptions { timeout_ms: None, subdomain: None, extra: Vec::new() } }
}

/// One place or several, to which [`To::notify`] can send a call.
pub trait IntoAddress {
    /// Converts it to the type `address` of the contract (WIT).
    fn into_address(self) -> Address;
}

/// Where to call, and with which options. Create one with [`to`].
#[derive(Clone, Debug)]
#[must_use = "call `call`, `call_every` or `notify` to make the call"]
pub struct To<A> {
    address: A,
    options: CallOptions,
}

impl<A> To<A> {
    /// Limits how long the caller waits. The default and the maximum is the time that the caller
    /// has left. For `notify`, `timeout` is the deadline of the queued call.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout_ms = Some(millis(timeout));
        self
    }

    /// Calls for this tenant. The default is the caller's tenant.
    pub fn subdomain(mut self, subdomain: &str) -> Self {
        self.options.subdomain = Some(subdomain.to_owned());
        self
    }
}

impl To<Target> {
    /// Calls a route in this place and waits for its outcome. See [`call`](fn@call).
    pub fn call<P: IntoPayload>(
        self,
        route: &str,
        payload: P,
    ) -> impl Future<Output = Result<Reply, CallError>> + use<P> {
        let (caller, route, payload) = (caller(), route.to_owned(), payload.into_payload());
        async move { Ok(backend::call(caller, &self.address, &route, &payload?, &self.options).await?) }
    }
}

impl To<Group> {
    /// Calls a route in each of these places and waits for all outcomes. Resolves with one entry
    /// per place, in index order.
    pub fn call_every<P: IntoPayload>(
        self,
        route: &str,
        payload: P,
    ) -> impl Future<Output = Result<Vec<Entry>, CallError>> + use<P> {
        let (caller, route, payload) = (caller(), route.to_owned(), payload.into_payload());
        async move {
            let entries = backend::call_every(caller, &self.address, &route, &payload?, &self.options).await?;
            Ok(entries.into_iter().map(Entry::from_wit).collect())
        }
    }
}

impl<A: IntoAddress> To<A> {
    /// Queues a call in each selected place without waiting for it. See [`notify`](fn@notify).
    pub fn notify(self, route: &str, payload: impl IntoPayload) -> Result<u32, CallError> {
        let payload = payload.into_payload()?;
        Ok(backend::notify(caller(), &self.address.into_address(), route, &payload, &self.options)?)
    }
}

pub(crate) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
