//! Origins of web servers that modules may send requests to, such as `https://api.example.com`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::domain::is_domain;

/// The longest origin, in bytes.
pub const MAX: usize = 512;

/// The rule for an entry of the capability `http`.
pub const RULE: &str = "\"*\", or an origin in lower case without a path, such as \"https://api.example.com\", \
    \"https://*.example.com\" or \"http://127.0.0.1:8080\"";

/// A scheme, a host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Whether the scheme is `https` and not `http`.
    pub tls: bool,
    /// A name, `*.` with a name, or an address. An IPv6 address is in brackets.
    pub host: String,
    pub port: u16,
}

/// As users write it: without the port that the scheme has anyway.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match self.port == default_port(self.tls) {
            true => write!(f, "{scheme}://{}", self.host),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

impl Origin {
    /// Parses an origin, or an entry with `*.` in front of the name. The host is in lower case.
    pub fn parse(text: &str) -> Option<Origin> {
        let (scheme, authority) = text.split_once("://").filter(|_| text.len() <= MAX)?;
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (host, port) = split_port(authority, default_port(tls))?;
        Origin { tls, host: host.to_owned(), port }.checked()
    }

    /// The origin of a request. `None` if a guest may not use its address, for example
    /// because it has a user.
    pub fn of(uri: &http::Uri) -> Option<Origin> {
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let (host, port) = split_port(authority.as_str(), default_port(tls))?;
        Origin { tls, host: host.to_ascii_lowercase(), port }.checked().filter(|origin| !origin.host.starts_with('*'))
    }

    /// With the one text of an IPv6 address.
    fn checked(self) -> Option<Origin> {
        if let Some(address) = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            let host = format!("[{}]", address.parse::<Ipv6Addr>().ok()?);
            return Some(Origin { host, ..self });
        }
        is_domain(self.host.strip_prefix("*.").unwrap_or(&self.host)).then_some(self)
    }

    /// The address, if the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }
}

/// Splits an authority into the host and its port.
fn split_port(authority: &str, default: u16) -> Option<(&str, u16)> {
    let after_brackets = authority.rfind(']').map_or(0, |end| end + 1);
    let Some(colon) = authority.get(after_brackets..)?.find(':') else { return Some((authority, default)) };
    let (host, port) = authority.split_at_checked(after_brackets + colon)?;
    let digits = port.strip_prefix(':').filter(|port| port.bytes().all(|digit| digit.is_ascii_digit()))?;
    Some((host, digits.parse().ok().filter(|port| *port > 0)?))
}

/// Whether `entry` covers another name: they are equal, or `entry` has `*.` and the other name is
/// below it.
pub fn covers_host(entry: &str, wanted: &str) -> bool {
    let below = |suffix: &str| wanted.strip_suffix(suffix).is_some_and(|label| label.len() > 1 && label.ends_with('.'));
    entry == wanted || entry.strip_prefix("*.").is_some_and(below)
}

/// Whether an entry of the capability `http` covers an origin or another entry.
pub fn covers(entry: &str, wanted: &str) -> bool {
    let (Some(entry), Some(wanted)) = (Origin::parse(entry), Origin::parse(wanted)) else { return false };
    (entry.tls, entry.port) == (wanted.tls, wanted.port) && covers_host(&entry.host, &wanted.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_form() {
        for (text, shown) in [
            ("https://a.test", "https://a.test"),
            ("https://a.test:443", "https://a.test"),
            ("http://a.test:443", "http://a.test:443"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
            ("http://[0:0::1]:81", "http://[::1]:81"),
            ("https://*.a.test", "https://*.a.test"),
        ] {
            assert_eq!(Origin::parse(text).unwrap().to_string(), shown);
        }
        for text in [
            "a.test",
            "https://",
            "ftp://a",
            "https://a/",
            "https://a/b",
            "https://A.test",
            "https://u@a.test",
            "https://a:",
            "https://a:+1",
            "https://a:0",
            "https://a:65536",
            "https://*",
            "https://a.*.test",
            "https://[::1",
            "https://::1",
            "https://a..b",
            "https://a b",
            "https://[fe80::1%1]",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_address_of_a_request_names_one_origin() {
        let of = |text: &str| Origin::of(&text.parse().unwrap()).map(|origin| origin.to_string());
        assert_eq!(of("https://API.test/a?b").as_deref(), Some("https://api.test"));
        assert_eq!(of("http://[::0001]:8080/").as_deref(), Some("http://[::1]:8080"));
        for text in ["/a", "https://user@a.test/", "https://api.test@evil.test/", "https://*.a.test/", "ws://a.test/"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn an_entry_covers_equal_origins_and_names_below_its_star() {
        for (entry, wanted) in [
            ("https://a.test", "https://a.test:443"),
            ("https://*.a.test", "https://b.a.test"),
            ("https://*.a.test", "https://c.b.a.test"),
            ("https://*.a.test", "https://*.b.a.test"),
            ("http://*.a.test:81", "http://b.a.test:81"),
        ] {
            assert!(covers(entry, wanted), "{entry} {wanted}");
        }
        for (entry, wanted) in [
            ("https://a.test", "http://a.test"),
            ("https://a.test", "https://a.test:444"),
            ("https://a.test", "https://b.a.test"),
            ("https://*.a.test", "https://a.test"),
            ("https://*.a.test", "https://ba.test"),
            ("https://*.a.test", "https://cba.test"),
            ("https://*.a.test", "https://a.test.evil"),
            ("https://b.a.test", "https://*.a.test"),
        ] {
            assert!(!covers(entry, wanted), "{entry} {wanted}");
        }
    }
}
