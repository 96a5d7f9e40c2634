//! The isolates that calls go to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An isolate of a node, where instances live. Written `worker-0`, `broker-0` or `master`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IsolateId {
    /// A worker, from 0. Worker 0 is the lead.
    Worker(u32),
    /// A broker, from 0.
    Broker(u32),
    /// The master.
    Master,
}

impl fmt::Display for IsolateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IsolateId::Worker(index) => write!(f, "worker-{index}"),
            IsolateId::Broker(index) => write!(f, "broker-{index}"),
            IsolateId::Master => f.write_str("master"),
        }
    }
}

impl IsolateId {
    /// The index, if this is a worker.
    pub fn worker(self) -> Option<u32> {
        match self {
            IsolateId::Worker(index) => Some(index),
            IsolateId::Broker(_) | IsolateId::Master => None,
        }
    }

    /// Parses the text that `Display` writes.
    pub fn parse(text: &str) -> Option<IsolateId> {
        let numbered = |prefix: &str| text.strip_prefix(prefix).and_then(|index| index.parse().ok());
        match text {
            "master" => Some(IsolateId::Master),
            _ => numbered("worker-").map(IsolateId::Worker).or_else(|| numbered("broker-").map(IsolateId::Broker)),
        }
    }
}

/// The address of one isolate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    Any,
    Isolate(IsolateId),
    Node(String),
    Server(String),
    Channel(String),
    Session(String),
    /// A kind that this version does not know, and its name.
    Other(String, String),
}

/// The address of several isolates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Group {
    Workers,
    Brokers,
    Servers(String),
    Nodes,
    /// Every worker of every node.
    Cluster,
    /// A kind that this version does not know, and its name.
    Other(String, String),
}

/// The address of a call: one isolate, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Address {
    One(Target),
    Every(Group),
}

impl Target {
    /// The size of its names in bytes.
    pub fn names_len(&self) -> usize {
        match self {
            Target::Node(name) | Target::Server(name) | Target::Channel(name) | Target::Session(name) => name.len(),
            Target::Other(kind, name) => kind.len() + name.len(),
            Target::Any | Target::Isolate(_) => 0,
        }
    }
}

impl Group {
    /// The size of its names in bytes.
    pub fn names_len(&self) -> usize {
        match self {
            Group::Servers(name) => name.len(),
            Group::Other(kind, name) => kind.len() + name.len(),
            Group::Workers | Group::Brokers | Group::Nodes | Group::Cluster => 0,
        }
    }
}

impl Address {
    /// The size of its names in bytes.
    pub fn names_len(&self) -> usize {
        match self {
            Address::One(target) => target.names_len(),
            Address::Every(group) => group.names_len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_names_includes_every_name() {
        let text = || "x".repeat(5);
        for target in [Target::Node(text()), Target::Server(text()), Target::Channel(text()), Target::Session(text())] {
            assert_eq!(Address::One(target).names_len(), 5);
        }
        assert_eq!(Address::One(Target::Other(text(), text())).names_len(), 10);
        assert_eq!(Address::Every(Group::Servers(text())).names_len(), 5);
        assert_eq!(Address::Every(Group::Other(text(), text())).names_len(), 10);
    }
}
