//! Saves and loads the state of an instance.

use std::pin::pin;

use wasmtime::component::Accessor;

use super::InstanceTask;
use super::snapshot_request::SnapshotRequest;
use crate::isolate::program::GuestExports;
use crate::isolate::state::State;

impl InstanceTask {
    /// Runs a request. An error means that the store failed; the sender is dropped, which tells the
    /// requester.
    pub(super) async fn snapshot(
        &self,
        accessor: &Accessor<State>,
        exports: &GuestExports,
        request: SnapshotRequest,
    ) -> wasmtime::Result<()> {
        match request {
            SnapshotRequest::Save(saved) if saved.is_closed() => {}
            SnapshotRequest::Save(mut saved) => {
                let mut saving = pin!(exports.save(accessor));
                let state = tokio::select! {
                    biased;
                    state = &mut saving => state?,
                    () = saved.closed() => {
                        // The host cannot cancel a task of the guest.
                        let _abandoned = self.running_calls.abandon();
                        saving.await?
                    }
                };
                // The swap may no longer wait.
                let _ = saved.send(state.map(Some));
            }
            SnapshotRequest::Load { from, state, loaded } => {
                let _ = loaded.send(exports.load(accessor, from, state).await?);
            }
        }
        Ok(())
    }
}
