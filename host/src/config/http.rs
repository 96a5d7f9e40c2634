//! The section `http`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::formats::{Address, CorsOrigin, Domain, HeaderName};
use crate::document::units::{KIB, MIB, Size, Time};

/// The listener that clients reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpConfig {
    /// The address to listen on: IP address and port. Port 0 takes any free one. Default `127.0.0.1:8080`.
    #[schemars(with = "Address")]
    pub listen: SocketAddr,
    /// The domain under which subdomains are told apart: with `example.test`, a request for `acme.example.test`
    /// has the subdomain `acme`. Default none: no subdomains.
    #[schemars(with = "Option<Domain>")]
    pub domain: Option<String>,
    /// What browsers on other origins may do.
    pub cors: CorsConfig,
    /// The largest request body, 1 byte to 1 GiB. Default `2MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1, "maximum" = 1u64 << 30))]
    pub max_body: u64,
    /// How long a client may take to send a body, 1 ms to 1 h. Default `30s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub body_timeout: Duration,
    /// How long a client may take to send the head of a request, 1 ms to 1 h. Default `10s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub header_timeout: Duration,
    /// How long a connection may stay open between requests, and how long a client may take nothing of an answer, 1 ms to 24 h.
    /// Default `75s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 86_400_000))]
    pub idle_timeout: Duration,
    /// The most connections at once, 1 to 1000000, or fewer where the limit of file descriptors (`ulimit -n`) is too low for them.
    /// Default 10000.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub max_connections: usize,
    /// Bytes that all connections may hold together: request bodies that are being read, answers that clients have not taken
    /// yet, and 4 KiB for each HTTP/2 stream; 8 KiB of each connection do not count. Beyond that requests are refused with 503.
    /// 64 KiB to 1 TiB; `maxBody` where that is more. Default `256MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 65_536, "maximum" = 1u64 << 40))]
    pub max_buffered: u64,
    /// The most requests at once on one HTTP/2 connection, 1 to 65536. Default 128.
    #[schemars(extend("minimum" = 1, "maximum" = 65_536))]
    pub max_streams: u32,
    /// How many requests of one HTTP/2 connection run on its own worker before others take some, 1 to 65536. Default 16.
    #[schemars(extend("minimum" = 1, "maximum" = 65_536))]
    pub local_streams: u32,
    /// The largest head of a request, 8 KiB to 1 MiB. Default `64KiB`.
    #[serde(with = "crate::document::units::size32")]
    #[schemars(with = "Size", extend("minimum" = 8_192, "maximum" = 1_048_576))]
    pub max_header_bytes: u32,
    /// The most header fields of a request, 1 to 1000. Default 100.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000))]
    pub max_headers: usize,
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        HttpConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            domain: None,
            cors: CorsConfig::default(),
            max_body: 2 * MIB,
            body_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            max_connections: 10_000,
            max_buffered: 256 * MIB,
            max_streams: 128,
            local_streams: 16,
            max_header_bytes: 64 * KIB as u32,
            max_headers: 100,
        }
    }
}

/// What browsers on other origins may do. Without origins the host says nothing about it, and they may do nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CorsConfig {
    /// Origins such as `https://app.example.test`, or `*` for all. Default none.
    #[schemars(with = "Vec<CorsOrigin>")]
    pub origins: Vec<String>,
    /// Request headers that may be sent beside the ones that always may. Default `content-type`.
    #[schemars(with = "Vec<HeaderName>")]
    pub headers: Vec<String>,
    /// Whether cookies and credentials may be sent. Not together with the origin `*`. Default false.
    pub credentials: bool,
    /// How long a browser may remember the answer, 0 to 24 h. Default `10m`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 86_400_000))]
    pub max_age: Duration,
}

impl Default for CorsConfig {
    fn default() -> CorsConfig {
        CorsConfig {
            origins: Vec::new(),
            headers: vec!["content-type".to_owned()],
            credentials: false,
            max_age: Duration::from_secs(600),
        }
    }
}
