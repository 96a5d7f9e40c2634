//! The section `websocket`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::formats::{CorsOrigin, HistoryPath, ModuleName, SocketPath};
use super::sse::QueueConfig;
use super::websocket_auth::AuthConfig;
use crate::document::KeyPath;
use crate::document::units::{KIB, MIB, Size, Time};

/// WebSockets, which clients open at the paths that modules declare in `sockets`, and at those of
/// `listeners`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WebSocketConfig {
    /// The paths at which clients of SocketCluster connect. At most 16. Default none.
    #[schemars(extend("maxItems" = 16))]
    pub listeners: Vec<SocketListener>,
    /// The web pages that may open WebSockets, by their origin, such as `https://app.example.test`,
    /// or `*` for all. A client that sends no `Origin` is no page, and may always. Default `*`.
    #[schemars(with = "Vec<CorsOrigin>")]
    pub origins: Vec<String>,
    /// The most open WebSockets of this node, 1 to 1000000. Default null: four fifths of the
    /// connections that the host accepts (`http.maxConnections`).
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub max_clients: Option<u32>,
    /// The largest message of a client, 1 byte to 1 GiB. The host closes the WebSocket of a client
    /// that sends a larger one. Default `1MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1, "maximum" = 1u64 << 30))]
    pub max_message: u64,
    /// How long a client may take from the first byte of a message to the last one, also in
    /// fragments, 10 ms to 24 h. Then the host closes its WebSocket. Default `30s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 10, "maximum" = 86_400_000))]
    pub message_timeout: Duration,
    /// How long a client of SocketCluster may take to send its handshake, 1 ms to 1 h. Then the
    /// host closes its WebSocket. Default `10s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub handshake_timeout: Duration,
    /// How long the call of a client's message may take, 1 ms to 1 h. `limits.timeout` of the
    /// module applies, too. Default `10s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub ack_timeout: Duration,
    /// How often the host pings each client, 10 ms to 1 h. Default `8s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 10, "maximum" = 3_600_000))]
    pub ping_interval: Duration,
    /// How long a client may send nothing, not even the answer to a ping, 20 ms to 24 h. Then the
    /// host closes its WebSocket. Must be longer than `pingInterval`. Default `20s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 20, "maximum" = 86_400_000))]
    pub ping_timeout: Duration,
    /// The messages of one client that run or wait at the same time, 1 to 65536. The host reads the
    /// next one only when one of them has ended. Default 64.
    #[schemars(extend("minimum" = 1, "maximum" = 65_536))]
    pub in_flight: u32,
    /// The messages that may wait for one client. The host closes the WebSocket of a client for
    /// which more wait. Default 1024 messages, and 1 MiB.
    pub queue: QueueConfig,
    /// The most bytes of the values that modules store in one session, 1 KiB to 16 MiB. Default
    /// `64KiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1_024, "maximum" = 1u64 << 24))]
    pub session_size: u64,
    /// Whether clients of SocketCluster may publish to channels. Default true.
    pub allow_client_publish: bool,
    /// The channels that clients may use. Default `any`.
    pub channels: ChannelAccess,
    /// The channels that one client may be subscribed to, 1 to 1000000. Default 1000.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub socket_channel_limit: u32,
    /// The path below which `GET <path>/<channel>` returns the kept messages of a channel, such as
    /// `/channels`. It must not be `/`, nor below `/api`. The route of the channel decides as about
    /// a client that subscribes. Default null: the host does not serve them.
    #[schemars(with = "Option<HistoryPath>")]
    pub history: Option<String>,
    /// The tokens of clients of SocketCluster.
    pub auth: AuthConfig,
}

/// A path at which clients of SocketCluster connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SocketListener {
    /// The path, which must not be `/`, nor below `/api`, such as `/socketcluster/`. A slash at its
    /// end counts.
    #[schemars(with = "SocketPath")]
    pub path: String,
    /// The version of the protocol: 1 for `socketcluster-client` up to 14, 2 for later ones.
    /// Default 2.
    #[serde(default = "latest_protocol")]
    #[schemars(extend("minimum" = 1, "maximum" = 2))]
    pub protocol: u8,
    /// The module whose hooks decide about the clients, and whose routes their events name.
    #[schemars(with = "ModuleName")]
    pub module: String,
}

/// The channels that clients may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ChannelAccess {
    /// All channels. A channel that no module declares is open to every client.
    Any,
    /// Only channels that a module declares in `channels`. The host rejects other channels.
    Declared,
}

fn latest_protocol() -> u8 {
    2
}

impl WebSocketConfig {
    /// Checks the rules about several values: each path is that of one listener, no path is among
    /// those of the histories of channels, and each key of tokens is in one place.
    pub(super) fn faults(&self, streams: &str) -> Vec<(KeyPath, String)> {
        let path = |index: usize| KeyPath::of(&["websocket", "listeners"]).index(index).key("path");
        let mut faults = Vec::new();
        for (index, listener) in self.listeners.iter().enumerate() {
            let earlier = self.listeners.iter().take(index).position(|other| other.path == listener.path);
            if let Some(other) = earlier {
                faults.push((path(index), format!("is the path of {} too: use another one", path(other))));
            } else if listener.path == streams {
                faults.push((path(index), "is sse.path too: use another one".to_owned()));
            }
        }
        faults.extend(self.history_fault(streams));
        faults.extend(self.auth.faults());
        faults
    }
}

impl WebSocketConfig {
    /// All paths below that of the histories are channels.
    fn history_fault(&self, streams: &str) -> Option<(KeyPath, String)> {
        let history = self.history.as_deref()?;
        let covers =
            |path: &str| path.strip_prefix(history).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let key = |index: usize| KeyPath::of(&["websocket", "listeners"]).index(index).key("path").to_string();
        let listeners = self.listeners.iter().enumerate().map(|(index, one)| (key(index), one.path.as_str()));
        let mut others = listeners.chain([("sse.path".to_owned(), streams)]);
        let (other, path) = others.find(|(_, path)| covers(path))?;
        let message = format!("must not cover {other} ({path}): use another path");
        Some((KeyPath::of(&["websocket", "history"]), message))
    }
}

impl Default for WebSocketConfig {
    fn default() -> WebSocketConfig {
        WebSocketConfig {
            listeners: Vec::new(),
            origins: vec!["*".to_owned()],
            max_clients: None,
            max_message: MIB,
            message_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            ack_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(8),
            ping_timeout: Duration::from_secs(20),
            in_flight: 64,
            queue: QueueConfig::default(),
            session_size: 64 * KIB,
            allow_client_publish: true,
            channels: ChannelAccess::Any,
            socket_channel_limit: 1_000,
            history: None,
            auth: AuthConfig::default(),
        }
    }
}
