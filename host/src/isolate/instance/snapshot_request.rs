//! The requests of a swap to save or load the state of an instance.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::call::Payload;
use crate::isolate::error::SnapshotError;

/// A request to save or load the state of an instance, with the channel for the result.
pub enum SnapshotRequest {
    /// The result is `None` when the instance ended before it began to save.
    Save(oneshot::Sender<Result<Option<Payload>, SnapshotError>>),
    Load {
        from: String,
        state: Payload,
        loaded: oneshot::Sender<Result<(), SnapshotError>>,
    },
}

/// The requests that the instance has not begun. The inner `None` means that the instance has
/// ended.
pub struct SnapshotRequests(Mutex<Option<VecDeque<SnapshotRequest>>>);

impl Default for SnapshotRequests {
    fn default() -> Self {
        SnapshotRequests(Mutex::new(Some(VecDeque::new())))
    }
}

impl SnapshotRequests {
    pub fn push(&self, request: SnapshotRequest) {
        match &mut *self.0.lock() {
            Some(requests) => requests.push_back(request),
            None => request.too_late(),
        }
    }

    pub fn pop(&self) -> Option<SnapshotRequest> {
        self.0.lock().as_mut()?.pop_front()
    }

    /// Answers all requests, and every later one, because the instance has ended.
    pub fn close(&self) {
        let requests = self.0.lock().take();
        requests.into_iter().flatten().for_each(SnapshotRequest::too_late);
    }
}

impl SnapshotRequest {
    /// Answers a request to save. Dropping the sender is the answer to a request to load.
    fn too_late(self) {
        if let SnapshotRequest::Save(saved) = self {
            let _ = saved.send(Ok(None));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_to_an_instance_that_has_ended_are_answered() {
        let requests = SnapshotRequests::default();
        let (saved, before) = oneshot::channel();
        requests.push(SnapshotRequest::Save(saved));
        requests.close();
        let (saved, after) = oneshot::channel();
        requests.push(SnapshotRequest::Save(saved));
        assert_eq!((before.await.unwrap(), after.await.unwrap()), (Ok(None), Ok(None)));
        let (loaded, result) = oneshot::channel();
        requests.push(SnapshotRequest::Load { from: String::new(), state: Payload::None, loaded });
        assert!(result.await.is_err() && requests.pop().is_none());
    }
}
