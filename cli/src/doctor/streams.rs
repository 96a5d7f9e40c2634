//! How many copies the NATS servers have of the streams of a cluster.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Finding, State};

/// The copies that nodes give a stream when there are as many servers.
const WANTED: u32 = 3;

/// What `GET /jsz?streams=true&config=true` answers: the streams of which a server has a copy.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Jsz {
    meta_cluster: Meta,
    account_details: Vec<Account>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    cluster_size: u32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Account {
    stream_detail: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    name: String,
    config: StreamConfig,
}

#[derive(Deserialize)]
struct StreamConfig {
    num_replicas: u32,
}

/// The streams of a cluster, as all servers tell.
pub struct Streams {
    cluster: String,
    servers: u32,
    copies: BTreeMap<String, u32>,
}

impl Streams {
    /// `cluster` is the value of `cluster.name`.
    pub fn of(cluster: &str) -> Streams {
        Streams { cluster: cluster.to_owned(), servers: 0, copies: BTreeMap::new() }
    }

    fn is_own(&self, stream: &str) -> bool {
        let of_cluster = stream.strip_prefix(&self.cluster);
        let is_bucket = stream.strip_prefix("KV_") == Some(self.cluster.as_str());
        is_bucket || of_cluster.is_some_and(|rest| matches!(rest, "_broadcasts" | "_parked" | "_histories"))
    }

    pub fn add(&mut self, told: Jsz) {
        self.servers = self.servers.max(told.meta_cluster.cluster_size);
        for Stream { name, config } in told.account_details.into_iter().flat_map(|account| account.stream_detail) {
            if self.is_own(&name) {
                self.copies.insert(name, config.num_replicas);
            }
        }
    }

    pub fn findings(&self) -> Vec<Finding> {
        self.copies.iter().map(|(stream, copies)| self.finding(stream, *copies)).collect()
    }

    fn finding(&self, stream: &str, copies: u32) -> Finding {
        let number = if copies == 1 { "1 copy".to_owned() } else { format!("{copies} copies") };
        let (state, text) = match self.servers >= WANTED && copies < WANTED {
            true => (
                State::Warning,
                format!(
                    "the stream {stream} has {number} on {} NATS servers, so that its messages may be lost with one of \
                     them; nodes that use it give it {WANTED}: start one whose user may publish to \
                     $JS.API.STREAM.UPDATE.{stream}",
                    self.servers
                ),
            ),
            false => (State::Ok, format!("the stream {stream} has {number}")),
        };
        Finding::new("nats", state, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_with_too_few_copies_is_a_warning() {
        let of = |size: u32, copies: u32| {
            let stream = |name: &str| format!(r#"{{"name":"{name}","config":{{"num_replicas":{copies}}}}}"#);
            let all = ["KV_shop", "shop_parked", "shop2_parked", "KV_other", "shop"].map(stream).join(",");
            let text = format!(
                r#"{{"meta_cluster":{{"cluster_size":{size}}},"account_details":[{{"stream_detail":[{all}]}}]}}"#
            );
            let mut streams = Streams::of("shop");
            streams.add(serde_json::from_str(&text).unwrap());
            streams.findings().into_iter().map(|finding| (finding.state, finding.text)).collect::<Vec<_>>()
        };
        let alone = of(0, 1);
        assert_eq!(alone[0], (State::Ok, "the stream KV_shop has 1 copy".to_owned()));
        assert_eq!(alone.len(), 2, "those of other clusters are left out: {alone:?}");
        let few = of(3, 1);
        assert!(few.iter().all(|(state, _)| *state == State::Warning), "{few:?}");
        assert!(few[1].1.ends_with("$JS.API.STREAM.UPDATE.shop_parked"), "{few:?}");
        assert_eq!(of(3, 3)[1], (State::Ok, "the stream shop_parked has 3 copies".to_owned()));
    }
}
