//! Saves and loads the state of an instance.

use std::pin::pin;

use wasmtime::component::Accessor;

use super::InstanceTask;
use super::snapshot_request::SnapshotRequest;
use crate::isolate::program::GuestExports;
use crate::isolate::state::State;

impl InstanceTask {
    /// Runs a request and sends the result to the requester. If the store fails, returns the error
    /// and drops the request's sender, so that the requester stops waiting.
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
                        // The host cannot cancel a task of the guest. It counts the save as
                        // leaked until the save ends.
                        let _abandoned = self.running_calls.abandon();
                        saving.await?
                    }
                };
                // Fails if the swap has stopped waiting, which is not an error.
                let _ = saved.send(state.map(Some));
            }
            SnapshotRequest::Load { from, state, loaded } => {
                let _ = loaded.send(exports.load(accessor, from, state).await?);
            }
        }
        Ok(())
    }
}
