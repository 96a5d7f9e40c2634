//! The section `events`.

use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::formats::{Address, FilePath, Label, ServiceUrl, read_some_address};
use crate::document::units::{MIB, Size, Time};

/// The event service: typed messages between guests and processes outside. Guests of one node
/// exchange events without this section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EventsConfig {
    /// The IP address and port on which this host serves its events to other processes, by
    /// convention `127.0.0.1:14440`. Port 0 picks a free one. Without a token it must be a loopback
    /// address. Default none: no other process can reach the events.
    #[serde(deserialize_with = "read_some_address")]
    #[schemars(with = "Option<Address>")]
    pub listen: Option<SocketAddr>,
    /// The event service of another process that this host uses, such as `http://127.0.0.1:14440`.
    /// Not together with `listen`. Default none.
    #[schemars(with = "Option<ServiceUrl>")]
    pub connect: Option<String>,
    /// The file whose first line is the token that clients of the service must send, relative to
    /// the folder of this file. Default none.
    #[schemars(with = "Option<FilePath>")]
    pub token_file: Option<String>,
    /// The variable whose value is that token. Not together with `tokenFile`. Default none.
    #[schemars(with = "Option<Label>")]
    pub token_variable: Option<String>,
    /// The events that the host keeps, so that readers that are slow or reconnect get what they
    /// missed.
    pub history: EventHistoryConfig,
    /// The largest request body, 1 KiB to 1 GiB. Default `1MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1_024, "maximum" = 1u64 << 30))]
    pub max_body: u64,
    /// The most events in a second that clients of the service may emit together, 1 to 10000000.
    /// Beyond it the service rejects requests with 429. Default 100000.
    #[schemars(extend("minimum" = 1, "maximum" = 10_000_000))]
    pub rate: u32,
    /// The most open connections of the service, 1 to 1000000. They count for `http.maxConnections`
    /// too. Default 1024.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub max_connections: u32,
    /// The most subscribers of the service, 1 to 1000000. Default 1000.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub max_subscribers: u32,
    /// How often the service sends a comment to a subscriber that got nothing else, 100 ms to 20 s.
    /// Default `10s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 100, "maximum" = 20_000))]
    pub ping_interval: Duration,
    /// The events of this host that may wait for the service in `connect`.
    pub queue: EventQueueConfig,
}

impl Default for EventsConfig {
    fn default() -> EventsConfig {
        EventsConfig {
            listen: None,
            connect: None,
            token_file: None,
            token_variable: None,
            history: EventHistoryConfig::default(),
            max_body: MIB,
            rate: 100_000,
            max_connections: 1_024,
            max_subscribers: 1_000,
            ping_interval: Duration::from_secs(10),
            queue: EventQueueConfig::default(),
        }
    }
}

/// The events that the host keeps. It keeps the newest one, however large or old that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EventHistoryConfig {
    /// The most events, 1 to 10000000. Default 10000.
    #[schemars(extend("minimum" = 1, "maximum" = 10_000_000))]
    pub count: u32,
    /// How long the host keeps an event, 1 ms to 24 h. Default `1h`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 86_400_000))]
    pub age: Duration,
    /// Memory for the events, 1 KiB to 1 TiB. Default `64MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1_024, "maximum" = 1u64 << 40))]
    pub bytes: u64,
}

impl Default for EventHistoryConfig {
    fn default() -> EventHistoryConfig {
        EventHistoryConfig { count: 10_000, age: Duration::from_secs(3_600), bytes: 64 * MIB }
    }
}

/// The events that may wait for the service of another process. An empty queue accepts an event of
/// any size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EventQueueConfig {
    /// The most events, 1 to 1000000. Default 10000.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub events: u32,
    /// The most bytes of the events, 1 KiB to 1 GiB. Default `16MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1_024, "maximum" = 1u64 << 30))]
    pub bytes: u64,
}

impl Default for EventQueueConfig {
    fn default() -> EventQueueConfig {
        EventQueueConfig { events: 10_000, bytes: 16 * MIB }
    }
}
