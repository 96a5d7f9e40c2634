//! A node that stops in order asks each other node to answer once it knows that, and has sent what
//! it had for the node that stops.

use futures_util::future::join_all;

use super::Cluster;
use super::link::Outgoing;

/// What a question for facts says if its answer shall follow everything that the node which asks
/// has sent before, and that the other one has sent to it.
pub(super) const SETTLES: &[u8] = b"settles";

impl Cluster {
    /// Waits until each other node has read what this node has sent before, its phase and answers,
    /// and this node has read what the others have sent to it until then.
    pub(super) async fn settle(&self) {
        let Some(client) = self.link.up_client() else { return };
        self.send_heartbeat().await;
        let view = self.view.load_full();
        let asked = async {
            // A message stands for what was queued before it.
            _ = client.flush().await;
            join_all(view.nodes.iter().map(async |(id, node)| {
                tokio::select! {
                    _ = self.ask(id, SETTLES) => {}
                    () = node.gone.cancelled() => {}
                }
            }))
            .await;
            self.calls.catch_up().await;
        };
        // A node that is silent for longer is gone.
        _ = tokio::time::timeout(self.config.gone_after, asked).await;
    }

    /// Answers a node that settles.
    pub(super) async fn answer_settled(&self, reply: String) {
        self.beats.catch_up().await;
        self.sending.sent().await;
        // Behind what waits in the queue.
        let bytes = self.facts();
        if !self.link.queue(Outgoing { subject: reply.clone(), reply: None, bytes: bytes.clone() }) {
            self.send(reply, bytes).await;
        }
    }
}
