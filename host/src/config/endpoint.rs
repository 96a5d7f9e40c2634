//! Endpoints that modules may open sockets to, such as `tcp://db.example.com:5432`.

use super::origin::{Origin, covers_host};

/// The rule for an entry of the capability `sockets`.
pub const RULE: &str = "\"tcp://\" or \"udp://\" with a host and a port in lower case, such as \
    \"tcp://db.example.com:5432\", \"udp://10.0.0.1:53\" or \"tcp://*.example.com:*\"";

/// A protocol, a host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether the protocol is UDP and not TCP.
    pub udp: bool,
    /// A name, `*.` with a name, or an address. An IPv6 address is in brackets.
    pub host: String,
    /// `None` for every port.
    pub port: Option<u16>,
}

impl Endpoint {
    pub fn parse(text: &str) -> Option<Endpoint> {
        let (protocol, rest) = text.split_once("://")?;
        let udp = match protocol {
            "tcp" => false,
            "udp" => true,
            _ => return None,
        };
        let (host, port) = rest.rsplit_once(':')?;
        // A port that is no default one, so that it stays in the text.
        let port = if port == "*" { None } else { Some(port) };
        let parsed = Origin::parse(&format!("http://{host}:{}", port.unwrap_or("1")))?;
        Some(Endpoint { udp, host: parsed.host, port: port.map(|_| parsed.port) })
    }

    /// The entry as an origin, which has the rules about names and addresses.
    pub fn origin(&self) -> Origin {
        Origin { tls: false, host: self.host.clone(), port: self.port.unwrap_or(1) }
    }
}

/// Whether an entry of the capability `sockets` covers another entry.
pub fn covers(entry: &str, wanted: &str) -> bool {
    let (Some(entry), Some(wanted)) = (Endpoint::parse(entry), Endpoint::parse(wanted)) else { return false };
    let port = entry.port.is_none() || entry.port == wanted.port;
    entry.udp == wanted.udp && port && covers_host(&entry.host, &wanted.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_needs_a_protocol_a_host_and_a_port() {
        for text in ["tcp://a.test:1", "udp://10.0.0.1:53", "tcp://[::1]:*", "tcp://*.a.test:443"] {
            assert!(Endpoint::parse(text).is_some(), "{text}");
        }
        for text in
            ["a.test:1", "tcp://a.test", "tcp://:1", "http://a:1", "tcp://a:0", "tcp://a:65536", "tcp://A:1", "*"]
        {
            assert_eq!(Endpoint::parse(text), None, "{text}");
        }
        assert!(covers("tcp://*.a.test:*", "tcp://b.a.test:1") && covers("tcp://a:1", "tcp://a:1"));
        assert!(!covers("tcp://a:1", "tcp://a:*") && !covers("tcp://a:1", "udp://a:1"));
    }
}
