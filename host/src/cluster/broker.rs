//! The connection to NATS, for the messages of modules: the port [`NatsConnection`].

use async_nats::Client;
use async_nats::jetstream::Context;
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Cluster;
use super::jetstream::JetStream;
use super::link::Outgoing;
use crate::call::CallError;
use crate::ports::{NatsConnection, NatsTroubles};

impl NatsConnection for Cluster {
    fn connected(&self) -> Option<Client> {
        self.link.up_client().cloned()
    }

    fn jetstream(&self) -> Result<Context, String> {
        JetStream::by(&self.link).map(|jetstream| jetstream.context)
    }

    fn lasting_client(&self) -> Option<Client> {
        self.link.client().cloned()
    }

    fn lost(&self) -> CancellationToken {
        self.link.lost()
    }

    fn troubles(&self) -> watch::Receiver<NatsTroubles> {
        self.link.troubles()
    }

    fn owns(&self, subject: &str) -> bool {
        self.config.owns(subject)
    }

    fn publish(&self, subject: String, bytes: Bytes) -> Result<(), CallError> {
        self.client()?;
        let most = self.link.max_payload();
        if bytes.len() > most {
            return Err(CallError::Invalid(format!(
                "the message has {} bytes, and max_payload of the NATS server allows {most}",
                bytes.len()
            )));
        }
        if !self.link.queue(Outgoing { subject, reply: None, bytes }) {
            return Err(CallError::Overloaded("cluster.queue has no room for further messages".to_owned()));
        }
        Ok(())
    }
}
