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

/// Queues a broadcast of this module for every worker, or refuses it for all. Does not wait for its handlers.
pub fn emit(name: &str, payload: impl IntoPayload) -> Result<Receipt, CallError> {
    named(name).emit(payload)
}

/// Emits, then waits for every worker: exactly one entry per worker, in index order.
pub fn gather<P: IntoPayload>(name: &str, payload: P) -> impl Future<Output = Result<Vec<Entry>, CallError>> + use<P> {
    named(name).gather(payload)
}

/// Asks for new instances of a module from what is in its folder now, as in `fanfare reload`. Does not wait for it: what it comes
/// to is in the host's log. Needs the grant `reload`; a startup cannot ask.
pub fn reload(module: &str) -> Result<Receipt, CallError> {
    Ok(backend::reload(caller(), Some(module))?)
}

/// The same for every module.
pub fn reload_all() -> Result<Receipt, CallError> {
    Ok(backend::reload(caller(), None)?)
}

/// A broadcast with more said about it than its name.
#[must_use = "nothing is sent before `emit` or `gather`"]
pub fn named(name: &str) -> Emit {
    Emit { what: Emission { module: None, name: name.to_owned(), subdomain: None, extra: Vec::new() }, timeout: None }
}

/// A broadcast to be sent; made by [`named`].
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before `emit` or `gather`"]
pub struct Emit {
    what: Emission,
    timeout: Option<Duration>,
}

impl Emit {
    /// Of another module; needs the grant `broadcast`.
    pub fn of(mut self, module: &str) -> Self {
        self.what.module = Some(module.to_owned());
        self
    }

    /// For another tenant than the call's.
    pub fn subdomain(mut self, subdomain: &str) -> Self {
        self.what.subdomain = Some(subdomain.to_owned());
        self
    }

    /// How long `gather` waits at most; never longer than the call has left.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Like [`emit`](fn@emit).
    pub fn emit(self, payload: impl IntoPayload) -> Result<Receipt, CallError> {
        Ok(backend::emit(caller(), &self.what, &payload.into_payload()?)?)
    }

    /// Like [`gather`](fn@gather).
    pub fn gather<P: IntoPayload>(self, payload: P) -> impl Future<Output = Result<Vec<Entry>, CallError>> + use<P> {
        let caller = caller();
        let payload = payload.into_payload();
        async move {
            let timeout = self.timeout.map(crate::rpc::millis);
            let entries = backend::gather(caller, &self.what, &payload?, timeout).await?;
            Ok(entries.into_iter().map(Entry::from_wit).collect())
        }
    }
}
