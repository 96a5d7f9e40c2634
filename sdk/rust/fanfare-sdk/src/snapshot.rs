use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, Result};
use crate::types::Payload;

/// State that outlives a swap, in a form of its own. [`State`] does it with serde.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the state of a module",
    note = "implement `fanfare_sdk::State` (by serde) or `fanfare_sdk::Snapshot` (any form) for it"
)]
pub trait Snapshot {
    /// Called on the old instance once its calls have ended, or have taken too long. A failure refuses the new
    /// generation, in every worker.
    fn save() -> impl Future<Output = Result<Payload>>;

    /// Called on the new instance, before its first call, with what `save` gave. `from` is the digest of the old
    /// generation. A failure refuses the new generation, in every worker.
    fn load(from: &str, state: Payload) -> impl Future<Output = Result<()>>;
}

/// State that outlives a swap, as JSON by serde.
///
/// A later version of the module reads what an earlier one wrote: add fields with `#[serde(default)]`.
/// [`module!`](crate::module!) has an example.
pub trait State: Serialize + DeserializeOwned {
    /// A copy of the module's state.
    fn save() -> impl Future<Output = Self>;

    /// Puts it in place in a new instance.
    fn load(self, from: &str) -> impl Future<Output = Result<()>>;
}

impl<S: State> Snapshot for S {
    async fn save() -> Result<Payload> {
        let state = <S as State>::save().await;
        let text = serde_json::to_string(&state)
            .map_err(|error| Failure::new("invalid-state", format!("the state cannot be written as JSON: {error}")))?;
        Ok(Payload::Text(text))
    }

    async fn load(from: &str, state: Payload) -> Result<()> {
        let state: S = state.json().map_err(|error| {
            Failure::new("invalid-state", format!("the state of generation {from} cannot be read: {error}"))
        })?;
        state.load(from).await
    }
}
