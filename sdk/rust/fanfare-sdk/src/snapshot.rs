use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, Result};
use crate::types::Payload;

/// State that the module hands over during a swap, in any form. [`State`] is the shorter way, with
/// serde.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the snapshot of a module",
    note = "implement `fanfare_sdk::State` (JSON by serde) or `fanfare_sdk::Snapshot` (any form) for `{Self}`"
)]
pub trait Snapshot {
    /// Returns the state. The host calls this on the old instance when its calls have ended or when
    /// `swap.quiesce` has passed. After a failure every worker rejects the new generation and keeps
    /// the old one.
    fn save() -> impl Future<Output = Result<Payload>>;

    /// Restores the state that `save` returned. The host calls this on the new instance before its
    /// first call. `from` is the digest of the old generation. After a failure every worker rejects
    /// the new generation and keeps the old one.
    fn load(from: &str, state: Payload) -> impl Future<Output = Result<()>>;
}

/// State that the module hands over during a swap, as JSON by serde.
///
/// The next version of the module reads the state that this version saves, so give new fields
/// `#[serde(default)]`. [`module!`](crate::module!) has an example.
pub trait State: Serialize + DeserializeOwned {
    /// Returns a copy of the state.
    fn save() -> impl Future<Output = Self>;

    /// Restores the state in a new instance. `from` is the digest of the old generation.
    fn load(self, from: &str) -> impl Future<Output = Result<()>>;
}

impl<S: State> Snapshot for S {
    async fn save() -> Result<Payload> {
        let state = <S as State>::save().await;
        let text = serde_json::to_string(&state)
            .map_err(|error| Failure::new("invalid-state", format!("cannot serialise the state as JSON: {error}")))?;
        Ok(Payload::Text(text))
    }

    async fn load(from: &str, state: Payload) -> Result<()> {
        let state: S = state.json().map_err(|error| {
            let message = format!(
                "cannot read the state of generation {from}: {error}. Give fields that it lacks `#[serde(default)]`"
            );
            Failure::new("invalid-state", message)
        })?;
        state.load(from).await
    }
}
