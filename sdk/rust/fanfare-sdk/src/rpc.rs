//! Calls to inner routes elsewhere, with the outcome brought back.
//!
//! A route is written `[METHOD ]module/path[?query]`, or with dots, `module.path`; a leading slash means this module:
//! `/main/offline`. Another module needs the grant `rpc`.
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

/// Calls a route in any worker: this one when it can take the call now, else the least loaded one.
///
/// The call starts when the future is first polled. It belongs to the call of the handler that makes the future.
pub fn call<P: IntoPayload>(route: &str, payload: P) -> impl Future<Output = Result<Reply, CallError>> + use<P> {
    to(Target::Any).call(route, payload)
}

/// Queues a call in any worker and does not wait: how many places took it. It has its own deadline.
pub fn notify(route: &str, payload: impl IntoPayload) -> Result<u32, CallError> {
    to(Target::Any).notify(route, payload)
}

/// Calls elsewhere than in any worker: `rpc::to(Target::Worker(1))`, `rpc::to(Group::Workers)`.
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
#[must_use = "nothing is called before `call`, `call_every` or `notify`"]
pub fn to<A>(address: A) -> To<A> {
    To { address, options: CallOptions { timeout_ms: None, subdomain: None, extra: Vec::new() } }
}

/// One place or several, for [`To::notify`].
pub trait IntoAddress {
    /// As the contract has it.
    fn into_address(self) -> Address;
}

/// Where to call, and how; made by [`to`].
#[derive(Clone, Debug)]
#[must_use = "nothing is called before `call`, `call_every` or `notify`"]
pub struct To<A> {
    address: A,
    options: CallOptions,
}

impl<A> To<A> {
    /// How long to wait at most; never longer than the call has left.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout_ms = Some(millis(timeout));
        self
    }

    /// For another tenant than the call's.
    pub fn subdomain(mut self, subdomain: &str) -> Self {
        self.options.subdomain = Some(subdomain.to_owned());
        self
    }
}

impl To<Target> {
    /// Like [`call`](fn@call), there.
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
    /// Calls a route in each of these places: one entry each, in index order.
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
    /// Like [`notify`](fn@notify), there.
    pub fn notify(self, route: &str, payload: impl IntoPayload) -> Result<u32, CallError> {
        let payload = payload.into_payload()?;
        Ok(backend::notify(caller(), &self.address.into_address(), route, &payload, &self.options)?)
    }
}

pub(crate) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
