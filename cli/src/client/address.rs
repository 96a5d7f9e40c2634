//! The address of an admin listener or of an event service.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use http::Uri;
use http::uri::Authority;

/// The address of a listener of another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub authority: Authority,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be `host:port`, `:port` or an `http://` URL without a path, such as `http://127.0.0.1:8081`")]
pub struct EndpointError;

impl Endpoint {
    /// The address to connect to for a listener: `127.0.0.1` for one on all addresses.
    pub fn of_listener(listen: SocketAddr) -> Option<Endpoint> {
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        SocketAddr::new(ip, listen.port()).to_string().parse().ok()
    }

    /// Whether the listener is on this machine.
    pub fn is_here(&self) -> bool {
        let host = self.authority.host().trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let uri: Uri = match (text.contains("://"), text.strip_prefix(':')) {
            (true, _) => text.parse(),
            (false, Some(port)) => format!("http://127.0.0.1:{port}").parse(),
            (false, None) => format!("http://{text}").parse(),
        }
        .map_err(|_| EndpointError)?;
        let plain = uri.scheme_str() == Some("http") && uri.path() == "/" && uri.query().is_none();
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(EndpointError)?;
        // Only a URL has a default port.
        let has_port =
            authority.port_u16().is_some() || (text.contains("://") && authority.as_str() == authority.host());
        if plain && has_port && !authority.host().is_empty() {
            Ok(Endpoint { authority: authority.clone() })
        } else {
            Err(EndpointError)
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.authority.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_address_with_port_or_a_url() {
        for (text, shown) in [
            ("127.0.0.1:8081", "127.0.0.1:8081"),
            ("localhost:1", "localhost:1"),
            (":8081", "127.0.0.1:8081"),
            ("[::1]:8081", "[::1]:8081"),
            ("http://127.0.0.1:8081", "127.0.0.1:8081"),
            ("http://host.test:8081/", "host.test:8081"),
            ("http://host.test", "host.test"),
        ] {
            assert_eq!(text.parse::<Endpoint>().map(|endpoint| endpoint.to_string()).as_deref(), Ok(shown));
        }
        for text in [
            "",
            "localhost",
            ":",
            ":x",
            "host:",
            "host:99999",
            "https://h:1",
            "http://h:1/x",
            "http://h:1?x",
            "u@h:1",
            "a b:1",
            "http://",
            "http://h:",
            "http://h:99999",
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError), "{text}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_the_loopback_address() {
        for (listen, shown) in
            [("0.0.0.0:8081", "127.0.0.1:8081"), ("[::]:8081", "[::1]:8081"), ("10.0.0.7:8081", "10.0.0.7:8081")]
        {
            assert_eq!(Endpoint::of_listener(listen.parse().unwrap()).unwrap().to_string(), shown);
        }
        for (text, is_here) in
            [("127.0.0.1:1", true), ("[::1]:1", true), ("localhost:1", true), ("10.0.0.7:1", false), ("h:1", false)]
        {
            assert_eq!(text.parse::<Endpoint>().unwrap().is_here(), is_here, "{text}");
        }
    }
}
