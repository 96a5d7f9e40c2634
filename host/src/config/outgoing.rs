//! The section `outgoing` of `fanfare.json`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::formats::{FilePath, NetworkName};
use super::network::Network;
use crate::document::units::{MIB, Size, Time};

/// What modules with the capability `http` or `sockets` may use to reach other servers. Each number
/// is for one module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct OutgoingConfig {
    /// The hosts that modules may reach although their addresses are not public: addresses,
    /// networks such as `10.0.0.0/8`, names, and `*.` with a name. An address that a grant names
    /// itself, and `localhost` in a grant, need no entry here. Default none.
    #[schemars(with = "Vec<NetworkName>")]
    pub private: Vec<String>,
    /// The file with the certificates (PEM) of authorities that the host trusts besides those of
    /// the system, relative to the folder of this file. Default null: none.
    #[schemars(with = "Option<FilePath>")]
    pub ca: Option<String>,
    /// The most requests under way, 1 to 100000. One is under way until its response has been read.
    /// The host rejects further ones. Default 128.
    #[schemars(extend("minimum" = 1, "maximum" = 100_000))]
    pub requests: u32,
    /// The most connections that are open, 1 to 100000, those without a request included. The host
    /// rejects requests that need a further one. Default 128.
    #[schemars(extend("minimum" = 1, "maximum" = 100_000))]
    pub connections: u32,
    /// How long a connection without a request stays open, 0 ms to 1 h. Default `30s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 3_600_000))]
    pub idle_timeout: Duration,
    /// How long finding the address, connecting and the handshake of TLS may take together, 10 ms
    /// to 10 m. Default `5s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 10, "maximum" = 600_000))]
    pub connect_timeout: Duration,
    /// How long a request may take until its response has been read, 10 ms to 24 h. Default `1m`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 10, "maximum" = 86_400_000))]
    pub timeout: Duration,
    /// The largest body of a request, 1 KiB to 1 TiB. Default `16MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1_024, "maximum" = 1u64 << 40))]
    pub max_request: u64,
    /// The largest body of a response, 1 KiB to 1 TiB. Default `16MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1_024, "maximum" = 1u64 << 40))]
    pub max_response: u64,
}

impl Default for OutgoingConfig {
    fn default() -> OutgoingConfig {
        OutgoingConfig {
            private: Vec::new(),
            ca: None,
            requests: 128,
            connections: 128,
            idle_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(60),
            max_request: 16 * MIB,
            max_response: 16 * MIB,
        }
    }
}

impl OutgoingConfig {
    /// The entries of `private`. Each is valid, because the settings are checked.
    pub fn networks(&self) -> Vec<Network> {
        self.private.iter().filter_map(|entry| Network::parse(entry)).collect()
    }

    /// The file with the certificates of further authorities.
    pub fn ca_file(&self, root: &Path) -> Option<PathBuf> {
        self.ca.as_ref().map(|file| root.join(file))
    }
}
