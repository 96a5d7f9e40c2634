//! The addresses of NATS servers.

use std::fmt;

use super::server_url::{Scheme, ServerUrl};

const SCHEME: Scheme = Scheme { plain: "nats", tls: "tls", port: 4_222 };

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
        let ServerUrl { host, port, tls } = SCHEME.parse(url)?;
        Some(NatsAddress { host, port, tls })
    }
}

impl fmt::Display for NatsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SCHEME.write(f, &self.host, self.port, self.tls)
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
