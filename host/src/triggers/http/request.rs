//! Reads the header fields of a request that the host itself uses.

use std::sync::Arc;

use http::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{Uri, Version};

use crate::call::Trace;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// The hop-by-hop fields (RFC 9110, 7.6.1), besides those that the field `Connection` lists.
const HOP_BY_HOP: [HeaderName; 7] = [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// Whether a field is a hop-by-hop field. The name must be in lower case.
pub(in crate::triggers) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "transfer-encoding" | "upgrade"
    )
}

/// Removes all hop-by-hop fields.
pub(in crate::triggers) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers.get_all(CONNECTION).iter().flat_map(connection_options).collect();
    for name in listed.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Returns the fields that a `Connection` field lists, except `Host`, `Origin` and the fields of
/// the body, which it must not remove.
pub(super) fn connection_options(connection: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    let is_removable = |name: &HeaderName| {
        !matches!(name.as_str(), "host" | "content-length" | "content-type" | "content-encoding" | "origin")
    };
    let text = connection.to_str().unwrap_or_default();
    text.split(',').filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok()).filter(is_removable)
}

/// Whether a request asks to change to the protocol of WebSockets.
pub(in crate::triggers) fn asks_for_websocket(headers: &HeaderMap) -> bool {
    has_token(headers, &UPGRADE, "websocket")
}

/// Whether a field whose value is a list has a token.
pub(in crate::triggers) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(token))
}

/// The header fields that the host uses, read in one pass.
#[derive(Debug)]
pub(super) struct ParsedHeaders {
    /// The trace that the client sent, or a new one.
    pub(super) trace: Trace,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
    /// Whether there are fields for [`strip_hop_by_hop`] to remove.
    pub(super) hop_by_hop: bool,
    /// The value of `Transfer-Encoding`, unless it is `chunked`, which hyper decodes.
    pub(super) coding: Option<String>,
    host: Host,
}

#[derive(Debug, Default)]
enum Host {
    #[default]
    Absent,
    One(String),
    /// Several fields, or a value that is not text.
    Bad,
}

impl ParsedHeaders {
    pub(super) fn of(headers: &HeaderMap) -> ParsedHeaders {
        let mut parsed = ParsedHeaders {
            trace: Trace::fresh(),
            expects_continue: false,
            hop_by_hop: false,
            coding: None,
            host: Host::Absent,
        };
        for (name, value) in headers {
            match name.as_str() {
                "host" => {
                    parsed.host = match (parsed.host, value.to_str()) {
                        (Host::Absent, Ok(text)) => Host::One(text.to_owned()),
                        _ => Host::Bad,
                    }
                }
                "traceparent" => {
                    let given = value.to_str().ok().and_then(Trace::from_traceparent);
                    parsed.trace = given.unwrap_or(parsed.trace);
                }
                "expect" => parsed.expects_continue = true,
                name if is_hop_by_hop(name) => parsed.hop_by_hop = true,
                _ => {}
            }
        }
        if parsed.hop_by_hop {
            parsed.coding = coding(headers);
        }
        parsed
    }

    /// Takes the authority of the request: from `:authority` or an absolute URI, else from the
    /// `Host` field. Returns `None` if the host must reject the request (RFC 9112, 3.2).
    pub(super) fn take_authority(&mut self, uri: &Uri, version: Version) -> Option<String> {
        match (std::mem::take(&mut self.host), uri.authority()) {
            (Host::Bad, _) => None,
            (_, Some(authority)) => Some(authority.as_str().to_owned()),
            (Host::One(host), None) => Some(host),
            (Host::Absent, None) => (version != Version::HTTP_11).then(String::new),
        }
    }
}

/// Returns the joined values of all `Transfer-Encoding` fields, unless the result is `chunked`.
fn coding(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(TRANSFER_ENCODING).iter();
    let all: Vec<_> = all.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    let all = all.join(", ");
    (!all.is_empty() && !all.trim().eq_ignore_ascii_case("chunked")).then_some(all)
}

/// Returns the subdomain of an authority: `acme` for `acme.example.test:8080` and the domain
/// `example.test`, which must be in lower case.
pub(super) fn subdomain(authority: &str, domain: &str) -> Option<Arc<str>> {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let (left, right) = host.split_at_checked(host.len().checked_sub(domain.len())?)?;
    let name = left.strip_suffix('.')?;
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let matches = right.eq_ignore_ascii_case(domain) && name.split('.').all(label);
    matches.then(|| name.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subdomain_is_recognised_by_the_domain_behind_it() {
        let of = |authority| subdomain(authority, "example.test").map(|name| name.to_string());
        assert_eq!(of("acme.example.test").as_deref(), Some("acme"));
        assert_eq!(of("ACME.Example.Test:8080").as_deref(), Some("acme"));
        assert_eq!(of("acme.example.test.").as_deref(), Some("acme"));
        assert_eq!(of("a.b.example.test").as_deref(), Some("a.b"));
        assert_eq!(of("user@acme.example.test").as_deref(), Some("acme"));
        for other in [
            "",
            "example.test",
            "example.test:80",
            ".example.test",
            "..example.test",
            "a..example.test",
            "acmeexample.test",
            "acme.example.test.evil",
            "a b.example.test",
            "<x>.example.test",
            "[::1]:80",
            "127.0.0.1:8080",
            "übung.example.test",
            "é",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn hop_by_hop_fields_and_those_that_connection_lists_are_removed() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-one"),
            ("connection", "X-Two,, host, content-length, bad name"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("host", "h"),
            ("content-length", "0"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        assert!(ParsedHeaders::of(&headers).hop_by_hop);
        strip_hop_by_hop(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "x-three"]);
        assert!(!ParsedHeaders::of(&headers).hop_by_hop);
    }

    #[test]
    fn transfer_codings_other_than_chunked_are_detected() {
        let coding = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRANSFER_ENCODING, HeaderValue::from_static(value));
            }
            ParsedHeaders::of(&headers).coding
        };
        for values in [&[][..], &["chunked"], &[" Chunked "]] {
            assert_eq!(coding(values), None, "{values:?}");
        }
        for values in [&["gzip, chunked"][..], &["gzip", "chunked"], &["chunked", "chunked"], &["identity, chunked"]] {
            assert_eq!(coding(values), Some(values.join(", ")), "{values:?}");
        }
    }

    #[test]
    fn the_authority_is_that_of_the_uri_else_the_only_host_field() {
        let check = |hosts: &[&'static str], uri: &str, version, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append("host", HeaderValue::from_static(host));
            }
            let found = ParsedHeaders::of(&headers).take_authority(&uri.parse().unwrap(), version);
            assert_eq!(found.as_deref(), expected, "{hosts:?} {uri}");
        };
        check(&["a"], "/", Version::HTTP_11, Some("a"));
        check(&["a"], "http://b/", Version::HTTP_11, Some("b"));
        check(&[], "http://b/", Version::HTTP_2, Some("b"));
        check(&[], "/", Version::HTTP_11, None);
        check(&[], "/", Version::HTTP_10, Some(""));
        check(&["a", "a"], "/", Version::HTTP_11, None);
        check(&["a", "a"], "http://b/", Version::HTTP_11, None);
    }
}
