//! Follows topics of other nodes for their readers here.

use std::sync::atomic::Ordering::{AcqRel, Release};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::Cluster;
use super::following::Following;
use super::posts::{self, ALL};
use crate::call::TopicKind;
use crate::ports::{BoxFuture, Followed};

/// A topic that this node follows until this is dropped.
pub(super) struct Follow {
    cluster: Weak<Cluster>,
    kind: TopicKind,
    place: usize,
}

impl Cluster {
    pub(super) fn begin_to_follow(&self, kind: TopicKind, topic: &str) -> Follow {
        let place = match kind {
            TopicKind::Stream | TopicKind::Channel => posts::bucket(topic),
            TopicKind::Event => ALL,
        };
        self.following(kind).add(place);
        Follow { cluster: self.me.clone(), kind, place }
    }

    pub(super) fn following(&self, kind: TopicKind) -> &Following {
        match kind {
            TopicKind::Stream => &self.following.streams,
            TopicKind::Channel => &self.following.channels,
            TopicKind::Event => &self.following.events,
        }
    }

    /// How long a topic without readers is followed.
    fn linger(&self, kind: TopicKind) -> Duration {
        self.topics.get().map_or(Duration::ZERO, |(_, linger)| linger(kind))
    }

    /// Notes that readers have to be told that they may have missed something.
    pub(super) fn owes_readers(&self, kind: TopicKind) {
        self.following(kind).owes.store(true, Release);
    }

    /// Whether readers have to be told, from now on no longer.
    pub(super) fn takes_debt(&self, kind: TopicKind) -> bool {
        self.following(kind).owes.swap(false, AcqRel)
    }

    /// Resolves with the number after which everything arrives. If other nodes cannot be reached,
    /// readers are told later that they have missed something.
    async fn until_confirmed(self: Arc<Self>, kind: TopicKind, place: usize) -> u64 {
        let following = self.following(kind);
        let wait = async |place| {
            let mut since = following.since(place)?;
            since.wait_for(Option::is_some).await.ok().and_then(|since| *since)
        };
        let both = async { Some(wait(place).await?.max(wait(ALL).await?)) };
        if self.link.is_up() {
            let lost = self.link.lost();
            let confirmed = tokio::select! {
                biased;
                confirmed = tokio::time::timeout(self.config.timeout, both) => confirmed.ok().flatten(),
                () = lost.cancelled() => None,
            };
            if let Some(since) = confirmed {
                return since;
            }
        }
        self.owes_readers(kind);
        u64::MAX
    }
}

impl Followed for Follow {
    fn confirmed(&self) -> BoxFuture<u64> {
        let (cluster, kind, place) = (self.cluster.upgrade(), self.kind, self.place);
        Box::pin(async move {
            match cluster {
                Some(cluster) => cluster.until_confirmed(kind, place).await,
                None => 0,
            }
        })
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.following(self.kind).remove(self.place, cluster.linger(self.kind), Instant::now());
        }
    }
}
