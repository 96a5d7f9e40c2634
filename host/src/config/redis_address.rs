//! The address of a Redis server.

use std::fmt;

use super::server_url::{Scheme, ServerUrl};

const SCHEME: Scheme = Scheme { plain: "redis", tls: "rediss", port: 6_379 };

/// The address of a Redis server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisAddress {
    pub host: String,
    pub port: u16,
    pub tls: bool,
}

impl RedisAddress {
    /// Parses `redis://<host>[:<port>]` or `rediss://..`.
    pub fn of(url: &str) -> Option<RedisAddress> {
        let ServerUrl { host, port, tls } = SCHEME.parse(url)?;
        Some(RedisAddress { host, port, tls })
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SCHEME.write(f, &self.host, self.port, self.tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port_and_says_whether_it_is_encrypted() {
        let of = |url| RedisAddress::of(url).unwrap().to_string();
        assert_eq!(of("redis://h"), "redis://h:6379");
        assert_eq!(of("rediss://h:1/"), "rediss://h:1");
        assert_eq!(of("redis://[::1]:7"), "redis://[::1]:7");
    }
}
