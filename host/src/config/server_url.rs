//! The addresses of servers of other systems, as URLs without a user and a path.

use std::fmt;
use std::net::Ipv6Addr;

/// The URLs of a system.
pub(super) struct Scheme {
    pub(super) plain: &'static str,
    pub(super) tls: &'static str,
    /// The port if a URL has none.
    pub(super) port: u16,
}

/// The parts of a URL.
pub(super) struct ServerUrl {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl Scheme {
    /// Parses `<scheme>://<host>[:<port>][/]`.
    pub(super) fn parse(&self, url: &str) -> Option<ServerUrl> {
        let (scheme, rest) = url.split_once("://")?;
        let tls = scheme == self.tls;
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
            None if port.is_empty() => self.port,
            None => return None,
        };
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b".-_:".contains(&b);
        let valid = (tls || scheme == self.plain) && !host.is_empty() && host.bytes().all(is_plain);
        valid.then(|| ServerUrl { host: host.to_owned(), port, tls })
    }

    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, host: &str, port: u16, tls: bool) -> fmt::Result {
        let scheme = if tls { self.tls } else { self.plain };
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}"),
            false => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}
