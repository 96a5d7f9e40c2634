//! The way to JetStream, and its streams.

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use async_nats::jetstream::{Context, Error as StreamError, ErrorCode};

use super::link::Link;

/// The copies of a stream in a cluster of at least as many NATS servers.
pub(super) const COPIES: usize = 3;

/// The connection to a stream. `None` until it was opened, and after a failure.
pub(super) type Opened = tokio::sync::Mutex<Option<Context>>;

/// JetStream, by a connection.
#[derive(Debug)]
pub(super) struct JetStream {
    client: Client,
    /// The number of servers in `cluster.nats`.
    named: usize,
    pub(super) context: Context,
    domain: Option<String>,
}

/// Whether a write was refused because another one of its subject is still being written, which
/// servers of a cluster say with a code of their own. The client has no kind of error for it.
pub(super) fn came_late(error: &(dyn Error + 'static)) -> bool {
    let is_late = |error: &StreamError| error.error_code() == ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT;
    error.downcast_ref().is_some_and(is_late) || error.source().is_some_and(came_late)
}

impl JetStream {
    /// Fails while the node is not connected.
    pub(super) fn by(link: &Link) -> Result<JetStream, String> {
        let client = link.up_client().ok_or("this node is not connected to NATS")?.clone();
        let context = match &link.domain {
            Some(domain) => ContextBuilder::new().domain(domain).timeout(link.timeout).build(client.clone()),
            None => ContextBuilder::new().timeout(link.timeout).build(client.clone()),
        };
        Ok(JetStream { client, named: link.servers.len(), context, domain: link.domain.clone() })
    }

    /// Makes a stream with as many copies as the servers allow. `config` gets the number of copies.
    pub(super) async fn make(&self, config: impl Fn(usize) -> Config) -> Result<(), String> {
        if self.may_have_copies() && self.context.create_stream(config(COPIES)).await.is_ok() {
            return Ok(());
        }
        let made = self.context.create_stream(config(1)).await;
        made.map(|_| ()).map_err(|error| match &self.domain {
            Some(domain) => format!(
                "it cannot be made, do the servers reach one with `jetstream {{ domain: {domain} }}` \
                 (cluster.jetStreamDomain)? {error}"
            ),
            None => format!("it cannot be made, is JetStream enabled (nats-server --jetstream)? {error}"),
        })
    }

    /// Whether several servers may keep copies of a stream. A server knows only those of its own
    /// cluster, and not those of the domain.
    pub(super) fn may_have_copies(&self) -> bool {
        let urls: BTreeSet<String> =
            self.client.try_server_info().map(|info| info.connect_urls).unwrap_or_default().into_iter().collect();
        // A server lists its own addresses as those of a cluster, too.
        self.domain.is_some() || urls.len().max(self.named) >= COPIES
    }
}

/// A stream with the limits of the settings.
pub(super) struct StreamSpec {
    pub(super) name: String,
    /// The settings that its limits are from.
    pub(super) setting: &'static str,
    pub(super) subject: String,
    pub(super) description: &'static str,
    pub(super) max_age: Duration,
    pub(super) max_bytes: u64,
    /// The most messages of each subject.
    pub(super) max_per_subject: Option<u32>,
    /// How long the stream knows the ids of what it has.
    pub(super) window: Duration,
}

impl StreamSpec {
    /// Opens the stream, and makes it if it does not exist.
    pub(super) async fn open(&self, jetstream: &JetStream) -> Result<(), String> {
        self.try_open(jetstream).await.map_err(|error| format!("the stream {}: {error}", self.name))
    }

    async fn try_open(&self, jetstream: &JetStream) -> Result<(), String> {
        let context = &jetstream.context;
        let stream = match context.get_stream(&self.name).await {
            Ok(stream) => stream,
            Err(_) => {
                let made = jetstream.make(|copies| self.config(copies)).await;
                // Another node may have made it meanwhile, with other limits.
                let found = context.get_stream(&self.name).await.map_err(|error| error.to_string());
                match (made, found) {
                    (_, Ok(stream)) => stream,
                    (Err(why), Err(_)) | (Ok(()), Err(why)) => return Err(why),
                }
            }
        };
        let present = &stream.cached_info().config;
        let wanted = self.config(present.num_replicas);
        let limits = |config: &Config| (config.max_age, config.max_bytes, config.max_messages_per_subject);
        if limits(present) == limits(&wanted) {
            return Ok(());
        }
        let changed = Config {
            max_age: wanted.max_age,
            max_bytes: wanted.max_bytes,
            max_messages_per_subject: wanted.max_messages_per_subject,
            duplicate_window: wanted.duplicate_window,
            ..present.clone()
        };
        let name = &self.name;
        match context.update_stream(&changed).await {
            Ok(_) => {
                tracing::info!(stream = %name, max_age = ?self.max_age, max_bytes = self.max_bytes, "the limits of a stream follow the settings of this node")
            }
            // The stream works with other limits, too.
            Err(error) => {
                tracing::warn!(stream = %name, %error, settings = self.setting, "the limits of a stream differ from the settings, and cannot be changed");
            }
        }
        Ok(())
    }

    fn config(&self, copies: usize) -> Config {
        Config {
            name: self.name.clone(),
            description: Some(self.description.to_owned()),
            subjects: vec![self.subject.clone()],
            max_messages: -1,
            max_messages_per_subject: self.max_per_subject.map_or(-1, i64::from),
            max_consumers: -1,
            max_age: self.max_age,
            max_bytes: i64::try_from(self.max_bytes).unwrap_or(i64::MAX),
            discard: DiscardPolicy::Old,
            storage: StorageType::File,
            num_replicas: copies,
            duplicate_window: self.window.min(self.max_age),
            allow_direct: true,
            ..Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::context::{PublishError, PublishErrorKind};
    use async_nats::jetstream::kv::{UpdateError, UpdateErrorKind};

    use super::*;

    #[test]
    fn a_write_that_comes_while_another_one_is_being_written_is_late() {
        let updating = |code: u64| {
            let text = format!(r#"{{ "code": 400, "err_code": {code}, "description": "no" }}"#);
            let refused: StreamError = serde_json::from_str(&text).unwrap();
            UpdateError::with_source(
                UpdateErrorKind::Other,
                PublishError::with_source(PublishErrorKind::Other, refused),
            )
        };
        assert!(came_late(&updating(10_164)));
        assert!(!came_late(&updating(10_077)));
    }
}
