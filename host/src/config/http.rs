//! The section `http`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::formats::{Address, CorsOrigin, Domain, HeaderName, ModuleName, read_address};
use crate::document::units::{KIB, MIB, Size, Time};

/// The listener that clients reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct HttpConfig {
    /// The IP address and port to listen on; `:8080` and `localhost:8080` mean
    /// `127.0.0.1:8080`. Port 0 picks a free one. Default `127.0.0.1:8080`.
    #[serde(deserialize_with = "read_address")]
    #[schemars(with = "Address")]
    pub listen: SocketAddr,
    /// The domain whose subdomains the host recognises. With `example.test`, a request for
    /// `acme.example.test` has the subdomain `acme`. Default none: requests have no subdomain.
    #[schemars(with = "Option<Domain>")]
    pub domain: Option<String>,
    /// The module that also answers requests outside `/api/`, through `wasi:http`. It must have
    /// `"mount": "/"` in its `module.json`. Default none.
    #[schemars(with = "Option<ModuleName>")]
    pub mount: Option<String>,
    /// Access by web pages from other origins (CORS).
    pub cors: CorsConfig,
    /// The largest request body, 1 byte to 1 GiB. Default `2MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 1, "maximum" = 1u64 << 30))]
    pub max_body: u64,
    /// How long a client may take to send a request body, 1 ms to 1 h. Default `30s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub body_timeout: Duration,
    /// How long a client may take to send a request head, 1 ms to 1 h. Default `10s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 3_600_000))]
    pub header_timeout: Duration,
    /// How long the host keeps a connection that makes no progress, 1 ms to 24 h: no request
    /// arrives, or the client does not read its response. Default `75s`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 1, "maximum" = 86_400_000))]
    pub idle_timeout: Duration,
    /// The most open connections, 1 to 1000000. The host accepts fewer when the limit on file
    /// descriptors (`ulimit -n`) is too low. Default 10000.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000_000))]
    pub max_connections: usize,
    /// Memory that all connections may use together for buffers, 64 KiB to 1 TiB, and at least
    /// `maxBody`. It covers request bodies that are still arriving, responses that clients have not
    /// read yet, and 4 KiB for each HTTP/2 stream. The first 8 KiB of each connection do not count.
    /// Beyond this size the host rejects requests with 503. Default `256MiB`.
    #[serde(with = "crate::document::units::size")]
    #[schemars(with = "Size", extend("minimum" = 65_536, "maximum" = 1u64 << 40))]
    pub max_buffered: u64,
    /// The most concurrent requests on one HTTP/2 connection, 1 to 65536. Default 128.
    #[schemars(extend("minimum" = 1, "maximum" = 65_536))]
    pub max_streams: u32,
    /// Concurrent requests of one HTTP/2 connection that its own worker runs, 1 to 65536. Further
    /// ones go to the least loaded worker. Default 16.
    #[schemars(extend("minimum" = 1, "maximum" = 65_536))]
    pub local_streams: u32,
    /// The largest request head, 8 KiB to 1 MiB. Default `64KiB`.
    #[serde(with = "crate::document::units::size32")]
    #[schemars(with = "Size", extend("minimum" = 8_192, "maximum" = 1_048_576))]
    pub max_header_bytes: u32,
    /// The most header fields in a request, 1 to 1000. Default 100.
    #[schemars(extend("minimum" = 1, "maximum" = 1_000))]
    pub max_headers: usize,
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        HttpConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            domain: None,
            mount: None,
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

/// Access by web pages from other origins (CORS). Without `origins` the host sends no CORS headers,
/// and browsers allow them nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CorsConfig {
    /// The allowed origins, such as `https://app.example.test`, or `*` for all. Default none.
    #[schemars(with = "Vec<CorsOrigin>")]
    pub origins: Vec<String>,
    /// The routes that they may call. Default `all`.
    pub routes: CorsRoutes,
    /// Request headers to allow besides those that browsers always allow. Default `content-type`.
    #[schemars(with = "Vec<HeaderName>")]
    pub headers: Vec<String>,
    /// Whether to allow cookies and other credentials. Not allowed with the origin `*`. Default
    /// false.
    pub credentials: bool,
    /// How long browsers may cache the answer to a preflight request, 0 to 24 h. Default `10m`.
    #[serde(with = "crate::document::units::duration")]
    #[schemars(with = "Time", extend("minimum" = 0, "maximum" = 86_400_000))]
    pub max_age: Duration,
}

/// The routes that scripts of other origins may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum CorsRoutes {
    /// All routes, and components that export `wasi:http`.
    All,
    /// Routes with the middleware `cors`. A component that exports `wasi:http` answers for itself.
    Named,
}

impl Default for CorsConfig {
    fn default() -> CorsConfig {
        CorsConfig {
            origins: Vec::new(),
            routes: CorsRoutes::All,
            headers: vec!["content-type".to_owned()],
            credentials: false,
            max_age: Duration::from_secs(600),
        }
    }
}
