//! State that goes from one instance to the next.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use wasmtime::component::Accessor;

use super::Drive;
use crate::call::Payload;
use crate::isolate::program::Handler;
use crate::isolate::state::State;

/// What a swap asks of an instance; the error is why not, for a person.
pub enum Ask {
    Save(oneshot::Sender<Result<Payload, String>>),
    Load { from: String, state: Payload, loaded: oneshot::Sender<Result<(), String>> },
}

/// What has been asked and not begun.
#[derive(Default)]
pub struct Asks(Mutex<VecDeque<Ask>>);

impl Asks {
    pub fn push(&self, ask: Ask) {
        self.0.lock().push_back(ask);
    }

    pub fn pop(&self) -> Option<Ask> {
        self.0.lock().pop_front()
    }
}

impl Drive {
    /// Does what was asked. The error is the end of the store; whoever asked hears of it by the end of the sender.
    pub(super) async fn answer(&self, accessor: &Accessor<State>, handler: &Handler, ask: Ask) -> wasmtime::Result<()> {
        match ask {
            Ask::Save(saved) => _ = saved.send(handler.save(accessor).await?),
            Ask::Load { from, state, loaded } => _ = loaded.send(handler.load(accessor, from, state).await?),
        }
        Ok(())
    }
}
