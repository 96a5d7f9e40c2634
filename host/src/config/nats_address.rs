//! The addresses of NATS servers.

use std::fmt;
use std::net::Ipv6Addr;

/// The port of NATS.
const PORT: u16 = 4_222;

/// The most servers of a list.
pub const MOST: usize = 64;

/// The address of a NATS server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsAddress {
    pub host: String,
    pub port: u16,
    pub tls: bool,
}

impl NatsAddress {
    /// Parses addresses with commas between them. They are all with TLS, or all without.
    pub fn list(text: &str) -> Option<Vec<NatsAddress>> {
        let servers: Vec<NatsAddress> =
            text.split(',').map(|one| NatsAddress::of(one.trim())).collect::<Option<_>>()?;
        let alike = servers.windows(2).all(|pair| matches!(pair, [one, other] if one.tls == other.tls));
        (alike && servers.len() <= MOST).then_some(servers)
    }

    /// Parses `nats://<host>[:<port>]` or `tls://..`.
    fn of(url: &str) -> Option<NatsAddress> {
        let (scheme, rest) = url.split_once("://")?;
        let tls = match scheme {
            "nats" => false,
            "tls" => true,
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
        valid.then(|| NatsAddress { host: host.to_owned(), port, tls })
    }
}

impl fmt::Display for NatsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "tls" } else { "nats" };
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
    fn a_list_has_addresses_of_one_kind() {
        let list = |text| Some(NatsAddress::list(text)?.iter().map(NatsAddress::to_string).collect::<Vec<_>>());
        let expected = |all: &[&str]| Some(all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
        assert_eq!(list("nats://h"), expected(&["nats://h:4222"]));
        assert_eq!(list("tls://[::1]:1/, tls://b"), expected(&["tls://[::1]:1", "tls://b:4222"]));
        for bad in ["", "h:4222", "nats://", "nats://a,", "nats://u:p@h", "nats://a,tls://b", "ws://a", "nats://a:x"] {
            assert_eq!(list(bad), None, "{bad}");
        }
        assert_eq!(list(&vec!["nats://a"; MOST + 1].join(",")), None);
    }
}
