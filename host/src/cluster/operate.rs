//! What the operator asks of a node through another one: to stop.

use std::sync::Arc;

use async_nats::{Client, RequestErrorKind};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::Cluster;
use crate::call::CallError;

impl Cluster {
    /// Asks another node to stop in order. Resolves when it has begun.
    pub async fn ask_to_stop(&self, node: &str) -> Result<(), CallError> {
        if !self.view.load().nodes.contains_key(node) {
            return Err(CallError::NotFound(format!("there is no node {node}")));
        }
        let Some(client) = self.link.up_client() else {
            return Err(CallError::Unavailable("there is no connection to NATS".to_owned()));
        };
        let asked = client.request(self.subjects.stop(node), Bytes::new());
        match tokio::time::timeout(self.config.gone_after, asked).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
                Err(CallError::Unavailable(format!("node {node} was lost")))
            }
            Ok(Err(error)) => Err(CallError::Unavailable(format!("node {node} could not be asked: {error}"))),
            Err(_) => Err(CallError::Timeout(Some(format!("node {node} has not answered within cluster.goneAfter")))),
        }
    }

    /// Begins to receive requests to stop, until `end`.
    pub(super) async fn serve_stops(
        self: &Arc<Self>,
        client: &Client,
        node: &str,
        end: CancellationToken,
    ) -> Result<(), async_nats::Error> {
        let mut requests = client.subscribe(self.subjects.stop(node)).await?;
        let cluster = self.clone();
        tokio::spawn(async move {
            let receive = async {
                while let Some(message) = requests.next().await {
                    if let Some(reply) = message.reply {
                        cluster.send(reply.to_string(), Bytes::new()).await;
                    }
                    tracing::info!("another node passes on that the operator asks this node to stop");
                    if let Some(asked) = cluster.asked_to_stop.get() {
                        asked.cancel();
                    }
                }
            };
            end.run_until_cancelled(receive).await
        });
        Ok(())
    }
}
