//! Asks whether the other nodes count this one, and answers when another one asks.
//!
//! A node that was frozen or cut off continues as the home of channels once all other nodes count
//! it, and have told it which places they have given meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Release};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;

use super::Cluster;

/// How a question begins whether a node counts the one with this boot.
pub(super) const COUNTS: &[u8] = b"counts ";

/// The answers.
const YES: &[u8] = b"yes";
const NO: &[u8] = b"no";

impl Cluster {
    /// A heartbeat of this node has come back.
    pub(super) fn on_own_heartbeat(self: &Arc<Self>, sent: u64) {
        if !self.fence.came_back(sent, self.fence.now()) {
            return self.fence.view.store(self.view.load_full());
        }
        if !self.fence.asks.swap(true, AcqRel) {
            let (cluster, end) = (self.clone(), self.end.clone());
            tokio::spawn(async move {
                end.run_until_cancelled(cluster.until_all_count_it()).await;
                cluster.fence.asks.store(false, Release);
            });
        }
    }

    /// Asks the other nodes until all count this one, or the connection is lost.
    async fn until_all_count_it(&self) {
        let begun = Instant::now();
        while self.link.is_up() {
            self.fence.begin_to_ask(self.fence.now());
            let others = self.others();
            let counted = self.has_heard_all(&others, begun.elapsed())
                && !join_all(others.iter().map(|(node, _)| self.is_counted_by(node))).await.contains(&false);
            if counted && self.others().iter().all(|other| others.contains(other)) {
                self.fence.all_count_it();
            }
            if self.fence.holds() {
                return;
            }
            tokio::time::sleep(self.config.heartbeat / 4).await;
        }
    }

    /// Whether this node knows all others, some time after a heartbeat has come back.
    fn has_heard_all(&self, others: &[(String, String)], since: Duration) -> bool {
        // Those that are there are heard within a heartbeat, unless they have to connect, too.
        let enough = match others.is_empty() {
            true => since >= self.config.gone_after,
            false => since >= self.config.heartbeat,
        };
        let earlier = self.fence.view.load();
        let has_all =
            !others.is_empty() && earlier.nodes.keys().all(|node| others.iter().any(|(other, _)| other == node));
        (enough || has_all) && self.presence.lock().has_met_all()
    }

    /// The other nodes, each with its boot.
    fn others(&self) -> Vec<(String, String)> {
        let view = self.view.load();
        view.nodes.values().map(|node| (node.info.id.clone(), node.info.boot.clone())).collect()
    }

    async fn is_counted_by(&self, node: &str) -> bool {
        let Some(client) = self.link.up_client() else { return false };
        let question = [COUNTS, self.boot().as_bytes()].concat();
        match client.request(self.subjects.info(node), question.into()).await {
            Ok(answer) => *answer.payload != *NO,
            Err(_) => false,
        }
    }

    /// Answers a node that asks whether this one counts it. If so, the answer waits until the node
    /// knows which places this one has given while it did not count it.
    pub(super) async fn answer_whether_it_counts(&self, boot: &[u8], reply: String) {
        let counted = std::str::from_utf8(boot)
            .ok()
            .filter(|boot| self.is_there(boot))
            .and_then(|boot| self.presence.lock().vouches_for(boot, Instant::now()));
        let answer = match (counted, self.node.channels.get()) {
            (Some(gone), Some(channels)) => match tokio::time::timeout(self.config.timeout, channels.settle()).await {
                Ok(()) if !gone.is_cancelled() => YES,
                Ok(()) | Err(_) => NO,
            },
            (Some(_), None) => YES,
            (None, _) => NO,
        };
        self.send(reply, Bytes::from_static(answer)).await;
    }
}
