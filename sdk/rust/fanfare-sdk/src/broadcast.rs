//! Broadcasts: a call to the same inner route in every worker.
//!
//! ```
//! use fanfare_sdk::prelude::*;
//!
//! #[handler]
//! async fn shout(word: Text) -> Result<Json<usize>> {
//!     let heard = broadcast::gather("shouted", word).await?;
//!     Ok(Json(heard.iter().filter(|entry| entry.outcome.is_ok()).count()))
//! }
//!
//! #[handler]
//! async fn hear(word: Text, cx: Context) -> Json<Value> {
//!     let mine = cx.broadcast().is_some_and(|broadcast| broadcast.same_as_caller);
//!     Json(json!({"heard": *word, "mine": mine}))
//! }
//! fanfare_sdk::module!(shout, hear);
//! # fn main() {
//! let host = TestHost::builder(Module).workers(3).broadcast("shouted", "hear").start();
//! assert_eq!(host.call("shout", "hey").unwrap().text(), "3");
//! # }
//! ```

use std::future::Future;
use std::time::Duration;

use crate::backend;
use crate::current::caller;
use crate::failure::CallError;
use crate::payload::IntoPayload;
use crate::types::{Emission, Entry, Receipt};

/// Queues a broadcast of this module in every worker, or in none. Returns without waiting for the
/// handlers.
pub fn emit(name: &str, payload: impl IntoPayload) -> Result<Receipt, CallError> {
    named(name).emit(payload)
}

/// Emits a broadcast that the manifest declares with `"delivery": "durable"`. Resolves when the
/// stream of the cluster has it: from then on every node with the module runs it, also one that is
/// away now. [`emit`](fn@emit) of such a broadcast returns before that.
///
/// Fails with [`CallError::Unavailable`] if the stream does not have it, and with
/// [`CallError::Timeout`] if that is not known.
///
/// ```
/// use fanfare_sdk::prelude::*;
///
/// #[handler]
/// async fn sell(article: Text) -> Result<Json<u64>> {
///     let receipt = broadcast::emit_durable("sold", article).await?;
///     Ok(Json(receipt.seq))
/// }
///
/// #[handler]
/// fn book(article: Text) {
///     info!("{} is sold", *article);
/// }
/// fanfare_sdk::module!(sell, book);
/// # fn main() {
/// let host = TestHost::builder(Module).durable_broadcast("sold", "book").start();
/// assert_eq!(host.call("sell", "chair").unwrap().text(), "1");
/// # }
/// ```
pub fn emit_durable<P: IntoPayload>(
    name: &str,
    payload: P,
) -> impl Future<Output = Result<Receipt, CallError>> + use<P> {
    named(name).emit_durable(payload)
}

/// Emits a broadcast, then waits for all workers. Resolves with exactly one entry per worker, in
/// index order.
pub fn gather<P: IntoPayload>(name: &str, payload: P) -> impl Future<Output = Result<Vec<Entry>, CallError>> + use<P> {
    named(name).gather(payload)
}

/// Requests a reload of a module, as `fanfare reload` does: the host reads the folder again and
/// replaces every instance. Returns without waiting; the outcome is in the host's log. Needs the
/// grant `reload`, and fails in a startup.
pub fn reload(module: &str) -> Result<Receipt, CallError> {
    Ok(backend::reload(caller(), Some(module))?)
}

/// Requests a reload of every module. See [`reload`].
pub fn reload_all() -> Result<Receipt, CallError> {
    Ok(backend::reload(caller(), None)?)
}

/// Starts a broadcast with options: another module, tenant or timeout.
#[must_use = "call `emit` or `gather` to send the broadcast"]
pub fn named(name: &str) -> Emit {
    Emit {
        emission: Emission { module: None, name: name.to_owned(), subdomain: None, extra: Vec::new() },
        timeout: None,
    }
}

/// A broadcast with options. Create one with [`named`].
#[derive(Clone, Debug)]
#[must_use = "call `emit` or `gather` to send the broadcast"]
pub struct Emit {
    emission: Emission,
    timeout: Option<Duration>,
}

impl Emit {
    /// Emits the broadcast of another module. Needs the grant `broadcast`.
    pub fn of(mut self, module: &str) -> Self {
        self.emission.module = Some(module.to_owned());
        self
    }

    /// Emits for this tenant. The default is the tenant of the call.
    pub fn subdomain(mut self, subdomain: &str) -> Self {
        self.emission.subdomain = Some(subdomain.to_owned());
        self
    }

    /// Limits the wait of `gather`. The default and the maximum is the time that the call has left.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Queues the broadcast in every worker, or in none. See [`emit`](fn@emit).
    pub fn emit(self, payload: impl IntoPayload) -> Result<Receipt, CallError> {
        Ok(backend::emit(caller(), &self.emission, &payload.into_payload()?)?)
    }

    /// Emits a durable broadcast, and waits until the stream has it. See
    /// [`emit_durable`](fn@emit_durable).
    pub fn emit_durable<P: IntoPayload>(self, payload: P) -> impl Future<Output = Result<Receipt, CallError>> + use<P> {
        let caller = caller();
        let payload = payload.into_payload();
        async move { Ok(backend::emit_durable(caller, &self.emission, &payload?).await?) }
    }

    /// Emits the broadcast and waits for all workers. See [`gather`](fn@gather).
    pub fn gather<P: IntoPayload>(self, payload: P) -> impl Future<Output = Result<Vec<Entry>, CallError>> + use<P> {
        let caller = caller();
        let payload = payload.into_payload();
        async move {
            let timeout = self.timeout.map(crate::rpc::millis);
            let entries = backend::gather(caller, &self.emission, &payload?, timeout).await?;
            Ok(entries.into_iter().map(Entry::from_wit).collect())
        }
    }
}
