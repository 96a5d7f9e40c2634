//! How nodes agree: by changing values of the bucket, and by knowing which nodes are there.

use std::sync::atomic::Ordering::Acquire;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cluster;
use super::bucket::Edit;
use crate::call::CallError;

impl Cluster {
    /// Changes a value of the bucket, unless this node does not take part in the cluster.
    pub(super) async fn change<T: Default + Serialize + DeserializeOwned, R>(
        &self,
        key: &str,
        edit: impl FnMut(&mut T) -> (Edit, R),
    ) -> Result<R, CallError> {
        self.client()?;
        self.bucket.change(key, edit).await
    }

    /// Whether this node has taken part for long enough to have heard from all others.
    pub(super) fn knows_all(&self) -> bool {
        self.here_since.lock().is_some_and(|since| since.elapsed() >= self.config.gone_after)
    }

    /// Whether this node, which knows no others, is alone, so that it is the home for its own
    /// clients. Others that it reaches would have answered to its first heartbeat.
    pub(super) fn is_alone_for_sure(&self) -> bool {
        !self.link.is_up() || self.conflict.load(Acquire) || self.has_met_all()
    }

    /// Whether this node has met the others that it reaches. It takes a moment after a start, and
    /// after NATS was away.
    pub(super) fn has_met_all(&self) -> bool {
        let Some(here) = self.here_since.lock().map(|since| since.elapsed()) else { return false };
        // A node that never says who it is may not stop this one.
        here >= self.config.gone_after || here >= self.config.heartbeat && self.presence.lock().has_met_all()
    }

    /// Whether a start of a host takes part in the cluster, as far as this node knows.
    pub(super) fn is_there(&self, boot: &str) -> bool {
        self.view.load().nodes.values().any(|node| node.info.boot == boot)
    }
}
