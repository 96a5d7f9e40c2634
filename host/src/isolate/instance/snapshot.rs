//! State that goes from one instance to the next.

use std::pin::pin;

use wasmtime::component::Accessor;

use super::Drive;
use super::ask::Ask;
use crate::isolate::program::Handler;
use crate::isolate::state::State;

impl Drive {
    /// Does what was asked. The error is the end of the store; whoever asked hears of it by the end of the sender.
    pub(super) async fn answer(&self, accessor: &Accessor<State>, handler: &Handler, ask: Ask) -> wasmtime::Result<()> {
        match ask {
            Ask::Save(saved) if saved.is_closed() => {}
            Ask::Save(mut saved) => {
                let mut saving = pin!(handler.save(accessor));
                let state = tokio::select! {
                    biased;
                    state = &mut saving => state?,
                    () = saved.closed() => {
                        // A guest's task cannot be ended from here.
                        let _leaks = self.running.give_up();
                        saving.await?
                    }
                };
                // The swap may have been given up.
                let _ = saved.send(state.map(Some));
            }
            Ask::Load { from, state, loaded } => _ = loaded.send(handler.load(accessor, from, state).await?),
        }
        Ok(())
    }
}
