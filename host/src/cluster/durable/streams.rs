//! The two streams: of broadcasts, and of parked ones. The first node makes them.

use std::time::Duration;

use crate::cluster::bucket::key;
use crate::cluster::jetstream::{JetStream, StreamSpec};
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
    pub(super) async fn open(&self, jetstream: &JetStream, config: &DurableConfig) -> Result<(), String> {
        let broadcasts = StreamSpec {
            name: self.broadcasts(),
            setting: "cluster.durable",
            subject: format!("{}.durable.>", self.cluster),
            description: "Durable broadcasts of a Fanfare cluster",
            max_age: config.max_age,
            max_bytes: config.max_bytes,
            max_per_subject: None,
            window: WINDOW,
        };
        let parked = StreamSpec {
            name: self.parked(),
            setting: "cluster.durable",
            subject: format!("{}.parked.>", self.cluster),
            description: "Durable broadcasts of a Fanfare cluster that failed too often",
            max_age: config.parked_age,
            max_bytes: config.parked_bytes,
            max_per_subject: None,
            window: WINDOW,
        };
        for wanted in [broadcasts, parked] {
            wanted.open(jetstream).await?;
        }
        Ok(())
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
