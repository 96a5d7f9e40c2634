//! The address of a Redis server.

use std::fmt;
use std::net::Ipv6Addr;

/// The port of Redis.
const PORT: u16 = 6_379;

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
        let (scheme, rest) = url.split_once("://")?;
        let tls = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return None,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                host.parse::<Ipv6Addr>().ok()?;
                (host, port)
            }
            None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.bytes().all(|b| b.is_ascii_digit()).then_some(port)?.parse().ok()?,
            None if port.is_empty() => PORT,
            None => return None,
        };
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b".-_:".contains(&b);
        let valid = !host.is_empty() && host.bytes().all(is_plain);
        valid.then(|| RedisAddress { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
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
