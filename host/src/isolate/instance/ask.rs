//! What a swap asks of an instance.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::call::Payload;
use crate::isolate::error::SnapshotError;

/// What a swap asks of an instance.
pub enum Ask {
    /// `None`: it ended before it could begin.
    Save(oneshot::Sender<Result<Option<Payload>, SnapshotError>>),
    Load {
        from: String,
        state: Payload,
        loaded: oneshot::Sender<Result<(), SnapshotError>>,
    },
}

/// What has been asked and not begun. `None`: the instance has ended.
pub struct Asks(Mutex<Option<VecDeque<Ask>>>);

impl Default for Asks {
    fn default() -> Self {
        Asks(Mutex::new(Some(VecDeque::new())))
    }
}

impl Asks {
    pub fn push(&self, ask: Ask) {
        match &mut *self.0.lock() {
            Some(asks) => asks.push_back(ask),
            None => ask.too_late(),
        }
    }

    pub fn pop(&self) -> Option<Ask> {
        self.0.lock().as_mut()?.pop_front()
    }

    /// Nobody answers any more.
    pub fn close(&self) {
        let asked = self.0.lock().take();
        asked.into_iter().flatten().for_each(Ask::too_late);
    }
}

impl Ask {
    /// Whoever asked to load hears of it by the end of the sender.
    fn too_late(self) {
        if let Ask::Save(saved) = self {
            let _ = saved.send(Ok(None));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_asked_of_an_instance_that_has_ended_is_answered() {
        let asks = Asks::default();
        let (saved, before) = oneshot::channel();
        asks.push(Ask::Save(saved));
        asks.close();
        let (saved, after) = oneshot::channel();
        asks.push(Ask::Save(saved));
        assert_eq!((before.await.unwrap(), after.await.unwrap()), (Ok(None), Ok(None)));
        let (loaded, gone) = oneshot::channel();
        asks.push(Ask::Load { from: String::new(), state: Payload::None, loaded });
        assert!(gone.await.is_err() && asks.pop().is_none());
    }
}
