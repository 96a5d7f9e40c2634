//! The port to the connection to NATS.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::Client;
use async_nats::jetstream::Context;
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::call::CallError;

/// The connection to the NATS servers of `cluster.nats`.
pub trait NatsConnection: Send + Sync {
    /// The client, if it is connected.
    fn connected(&self) -> Option<Client>;

    /// JetStream of the domain of the settings, or why there is no connection.
    fn jetstream(&self) -> Result<Context, String>;

    /// The client, once the host has begun to connect.
    fn lasting_client(&self) -> Option<Client>;

    /// Cancelled when the present connection is lost.
    fn lost(&self) -> CancellationToken;

    /// Interruptions and refusals.
    fn troubles(&self) -> watch::Receiver<NatsTroubles>;

    /// Whether nodes use a subject among themselves.
    fn owns(&self, subject: &str) -> bool;

    /// Queues a message. Fails at once if there is no connection or no room, or if the servers
    /// accept no message of this size.
    fn publish(&self, subject: String, bytes: Bytes) -> Result<(), CallError>;
}

/// What has happened on the connection.
#[derive(Debug, Clone, Default)]
pub struct NatsTroubles {
    /// How often messages may have been lost: the connection ended, or the host did not read in
    /// time.
    pub interruptions: u64,
    /// The subjects that the servers do not let this host subscribe to, each with what they said.
    pub refused: Arc<BTreeMap<String, String>>,
}
