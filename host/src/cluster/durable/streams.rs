//! The two streams: of broadcasts, and of parked ones. The first node makes them.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};

use crate::cluster::bucket::key;
use crate::cluster::jetstream;
use crate::config::DurableConfig;

/// How long a stream knows the ids of what it has. A broadcast whose acknowledgment was lost may be
/// sent again for this long.
const WINDOW: Duration = Duration::from_secs(600);

/// The names of the streams and of their subjects.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    cluster: String,
}

impl Names {
    pub(super) fn new(cluster: &str) -> Names {
        Names { cluster: cluster.to_owned() }
    }

    /// The stream of broadcasts.
    pub(super) fn broadcasts(&self) -> String {
        format!("{}_broadcasts", self.cluster)
    }

    /// The stream of parked broadcasts.
    pub(super) fn parked(&self) -> String {
        format!("{}_parked", self.cluster)
    }

    /// The subject of a broadcast.
    pub(super) fn broadcast(&self, module: &str, name: &str) -> String {
        format!("{}.durable.{}", self.cluster, key(&[module, name]))
    }

    /// The subject of all broadcasts of a module.
    pub(super) fn of_module(&self, module: &str) -> String {
        format!("{}.durable.{}.*", self.cluster, key(&[module]))
    }

    /// The subject of a parked broadcast.
    pub(super) fn parked_broadcast(&self, module: &str, name: &str) -> String {
        format!("{}.parked.{}", self.cluster, key(&[module, name]))
    }

    /// The subject of the parked broadcasts of a module, or of all.
    pub(super) fn parked_of(&self, module: Option<&str>) -> String {
        match module {
            Some(module) => format!("{}.parked.{}.*", self.cluster, key(&[module])),
            None => format!("{}.parked.>", self.cluster),
        }
    }

    /// The consumer of a node for a module. No name of a module has a `_`.
    pub(super) fn consumer(&self, node: &str, module: &str) -> String {
        format!("{}_{module}", node.replace('.', "~"))
    }

    /// Opens both streams, and makes those that do not exist.
    pub(super) async fn open(
        &self,
        client: Client,
        config: &DurableConfig,
        timeout: Duration,
    ) -> Result<Context, String> {
        let context = ContextBuilder::new().timeout(timeout).build(client.clone());
        let broadcasts = Wanted {
            name: self.broadcasts(),
            subject: format!("{}.durable.>", self.cluster),
            description: "Durable broadcasts of a Fanfare cluster",
            max_age: config.max_age,
            max_bytes: config.max_bytes,
        };
        let parked = Wanted {
            name: self.parked(),
            subject: format!("{}.parked.>", self.cluster),
            description: "Durable broadcasts of a Fanfare cluster that failed too often",
            max_age: config.parked_age,
            max_bytes: config.parked_bytes,
        };
        for wanted in [broadcasts, parked] {
            wanted.open(&client, &context).await.map_err(|error| format!("the stream {}: {error}", wanted.name))?;
        }
        Ok(context)
    }
}

/// A stream with the limits of the settings.
struct Wanted {
    name: String,
    subject: String,
    description: &'static str,
    max_age: Duration,
    max_bytes: u64,
}

impl Wanted {
    async fn open(&self, client: &Client, context: &Context) -> Result<(), String> {
        let stream = match context.get_stream(&self.name).await {
            Ok(stream) => stream,
            Err(_) => {
                let made = jetstream::make(client, context, |copies| self.config(copies)).await;
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
        if (present.max_age, present.max_bytes) == (wanted.max_age, wanted.max_bytes) {
            return Ok(());
        }
        let changed = Config {
            max_age: wanted.max_age,
            max_bytes: wanted.max_bytes,
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
                tracing::warn!(stream = %name, %error, "the limits of a stream differ from cluster.durable, and cannot be changed");
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
            max_messages_per_subject: -1,
            max_consumers: -1,
            max_age: self.max_age,
            max_bytes: i64::try_from(self.max_bytes).unwrap_or(i64::MAX),
            discard: DiscardPolicy::Old,
            storage: StorageType::File,
            num_replicas: copies,
            duplicate_window: WINDOW.min(self.max_age),
            allow_direct: true,
            ..Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_token() {
        let names = Names::new("shop");
        assert_eq!(names.broadcast("a-b", "c.d e"), "shop.durable.a-b.c=2ed=20e");
        assert_eq!(names.of_module("a"), "shop.durable.a.*");
        assert_eq!(
            (names.parked_of(Some("a >")), names.parked_of(None)),
            ("shop.parked.a=20=3e.*".into(), "shop.parked.>".into())
        );
        assert_eq!(names.consumer("a.b_c", "d"), "a~b_c_d");
    }
}
