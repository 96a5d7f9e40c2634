//! The section `cluster`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::durable::DurableConfig;
use super::formats::{ConnectionName, FilePath, Label, ModuleName, NatsName, NatsUrls, RouteRef, VariableName};
use super::histories::HistoriesConfig;
use super::nats_address::NatsAddress;
use super::secret::Secret;
use super::servers::ServerType;
use crate::document::units::{MIB, Size, Time};

/// The cluster that this node joins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// The NATS servers: `nats://<host>:<port>`, or `tls://<host>:<port>` for TLS, with commas
    /// between several. The port is 4222 by default. Without it the node is alone.
    #[schemars(with = "Option<NatsUrls>")]
    pub nats: Option<String>,
    /// The name of the cluster: the first part of all subjects. Clusters with different names can
    /// share NATS servers. Default `fanfare`.
    #[schemars(with = "ConnectionName")]
    pub name: String,
    /// The domain whose JetStream the node uses, for a server that is a leaf node. Set it to the
    /// same value on all nodes. Default none: the JetStream of the server's account.
    #[schemars(with = "Option<NatsName>")]
    pub jet_stream_domain: Option<String>,
    /// The servers that make up the cluster, by server type. `fanfare serve --node <id>` runs one,
    /// and `fanfare cluster up` those of this machine.
    #[schemars(extend("x-names" = "node"))]
    pub servers: BTreeMap<String, ServerType>,
    /// How messages of clients find their node, by the server type that has the module. Without an
    /// entry, all messages of a user go to the same node, or those of a session without one.
    #[schemars(extend("x-names" = "node"))]
    pub routers: BTreeMap<String, RouterConfig>,
    /// The name of the user.
    pub username: Option<String>,
    /// The file whose first line is the password, relative to the folder of this file.
    #[schemars(with = "Option<FilePath>")]
    pub password_file: Option<String>,
    /// The variable of the process that has the password.
    #[schemars(with = "Option<VariableName>")]
    pub password_variable: Option<String>,
    /// The file whose first line is the token, relative to the folder of this file.
    #[schemars(with = "Option<FilePath>")]
    pub token_file: Option<String>,
    /// The variable of the process that has the token.
    #[schemars(with = "Option<VariableName>")]
    pub token_variable: Option<String>,
    /// The file whose first line is the seed of an NKey, relative to the folder of this file.
    #[schemars(with = "Option<FilePath>")]
    pub nkey_file: Option<String>,
    /// The credentials file of a user (`.creds`), relative to the folder of this file.
    #[schemars(with = "Option<FilePath>")]
    pub credentials_file: Option<String>,
    /// The file with the certificates of the authorities that may sign the servers' certificates,
    /// in PEM, relative to the folder of this file. By default, the authorities of the system.
    #[schemars(with = "Option<FilePath>")]
    pub ca: Option<String>,
    /// The file with the certificate of this node, in PEM, relative to the folder of this file.
    #[schemars(with = "Option<FilePath>")]
    pub certificate: Option<String>,
    /// The file with the key of `certificate`, in PEM, relative to the folder of this file.
    #[schemars(with = "Option<FilePath>")]
    pub key: Option<String>,
    /// How long the host waits for a server when it connects, 1 ms to 1 h. The start of the host
    /// waits once for at most this long. Default `2s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub timeout: Duration,
    /// How often the node tells the others that it is there, 10 ms to 1 h. Default `1s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 10, "maximum" = 3_600_000))]
    pub heartbeat: Duration,
    /// After how much silence a node counts as gone, 20 ms to 24 h, and at least twice `heartbeat`.
    /// Set it to the same value on all nodes. Default `3s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 20, "maximum" = 86_400_000))]
    pub gone_after: Duration,
    /// The most calls of this node that wait for other nodes, 1 to 1000000. Default 10000.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub max_waiting: u32,
    /// The most calls of other nodes that run or wait on this node, 1 to 1000000. Default 10000.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub max_serving: u32,
    /// The broadcasts and calls without an answer that wait until they are sent.
    pub queue: ClusterQueue,
    /// The broadcasts with `"delivery": "durable"`.
    pub durable: DurableConfig,
    /// The histories of channels with `"keep": "cluster"`.
    pub histories: HistoriesConfig,
}

/// What waits until it is sent to other nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ClusterQueue {
    /// The most messages, 1 to 1000000. Default 16384.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub messages: u32,
    /// The most bytes of their payloads, 1 KiB to 1 TiB. Default `64MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1_024, "maximum" = 1u64 << 40))]
    pub bytes: u64,
}

/// How messages of clients find a node of a server type: `session`, or `module` and `path`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RouterConfig {
    /// The value of the session whose text is the id of the node.
    #[schemars(with = "Option<Label>")]
    pub session: Option<String>,
    /// The module with a route that replies with the id of the node. It runs on the node of the
    /// client.
    #[schemars(with = "Option<ModuleName>")]
    pub module: Option<String>,
    /// The route of `module`.
    #[schemars(with = "Option<RouteRef>")]
    pub path: Option<String>,
}

impl Default for ClusterQueue {
    fn default() -> ClusterQueue {
        ClusterQueue { messages: 16_384, bytes: 64 * MIB }
    }
}

impl Default for ClusterConfig {
    fn default() -> ClusterConfig {
        ClusterConfig {
            nats: None,
            name: "fanfare".to_owned(),
            jet_stream_domain: None,
            servers: BTreeMap::new(),
            routers: BTreeMap::new(),
            username: None,
            password_file: None,
            password_variable: None,
            token_file: None,
            token_variable: None,
            nkey_file: None,
            credentials_file: None,
            ca: None,
            certificate: None,
            key: None,
            timeout: Duration::from_secs(2),
            heartbeat: Duration::from_secs(1),
            gone_after: Duration::from_secs(3),
            max_waiting: 10_000,
            max_serving: 10_000,
            queue: ClusterQueue::default(),
            durable: DurableConfig::default(),
            histories: HistoriesConfig::default(),
        }
    }
}

/// The places of the secrets of the connection to NATS, and of its files.
#[derive(Debug, Clone)]
pub struct NatsSecrets {
    pub username: Option<String>,
    pub password: Secret,
    pub token: Secret,
    pub nkey: Secret,
    pub credentials: Secret,
    pub ca: Option<PathBuf>,
    /// The files with the certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl ClusterConfig {
    /// The NATS servers; empty if the node is alone.
    pub fn addresses(&self) -> Vec<NatsAddress> {
        self.nats.as_deref().and_then(NatsAddress::list).unwrap_or_default()
    }

    /// Whether nodes use a subject of NATS among themselves.
    pub fn owns(&self, subject: &str) -> bool {
        subject.split('.').next() == Some(&self.name)
    }

    pub fn secrets(&self, root: &Path, variables: &BTreeMap<String, String>) -> NatsSecrets {
        let secret =
            |file: &Option<String>, variable: Option<&str>| Secret::new(file.as_deref(), variable, root, variables);
        let path = |file: &Option<String>| file.as_ref().map(|file| root.join(file));
        NatsSecrets {
            username: self.username.clone(),
            password: secret(&self.password_file, self.password_variable.as_deref()),
            token: secret(&self.token_file, self.token_variable.as_deref()),
            nkey: secret(&self.nkey_file, None),
            credentials: secret(&self.credentials_file, None),
            ca: path(&self.ca),
            certificate: path(&self.certificate).zip(path(&self.key)),
        }
    }
}
