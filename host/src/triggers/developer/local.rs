//! Who may act as the operator on the page for developers: a browser on this machine. The rules are
//! those of the admin listener, and, because other machines may reach the HTTP listener, the client
//! and the name that it uses must be of this machine.

use std::net::{IpAddr, SocketAddr};

use http::uri::Authority;
use http::{HeaderMap, HeaderName, Uri, header};

use crate::triggers::http::{ForeignRequest, HostRequest};

/// The header fields with which proxies and tunnels say that they forward a request.
const FORWARDED: [HeaderName; 4] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
];

/// Why a request does not act as the operator. This is always the client's fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotLocal {
    #[error("only a browser on this machine emits broadcasts here; use `fanfare emit` instead")]
    Peer,
    #[error("only a request for localhost or a loopback address emits broadcasts here; use `fanfare emit` instead")]
    Name,
    #[error("a forwarded request emits no broadcasts: the header `{0}` names a proxy; use `fanfare emit` instead")]
    Forwarded(HeaderName),
    #[error(transparent)]
    Foreign(#[from] ForeignRequest),
}

pub(super) fn check(request: &HostRequest) -> Result<(), NotLocal> {
    check_parts(request.peer, &request.authority, &request.headers, &request.uri)
}

fn check_parts(peer: SocketAddr, authority: &str, headers: &HeaderMap, uri: &Uri) -> Result<(), NotLocal> {
    if !peer.ip().to_canonical().is_loopback() {
        return Err(NotLocal::Peer);
    }
    if let Some(name) = FORWARDED.iter().find(|name| headers.contains_key(*name)) {
        return Err(NotLocal::Forwarded(name.clone()));
    }
    ForeignRequest::check(headers, uri)?;
    if is_loopback(authority) { Ok(()) } else { Err(NotLocal::Name) }
}

fn is_loopback(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(peer: &str, host: &'static str, more: &[(&'static str, &'static str)]) -> Result<(), NotLocal> {
        let headers = [("host", host)].into_iter().chain(more.iter().copied());
        let headers = headers.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        check_parts(peer.parse().unwrap(), host, &headers.collect(), &Uri::from_static("/"))
    }

    #[test]
    fn a_browser_on_this_machine_acts_as_the_operator() {
        for (peer, host) in [
            ("127.0.0.1:5000", "127.0.0.1:8080"),
            ("127.0.0.1:5000", "localhost:8080"),
            ("[::1]:5000", "[::1]:8080"),
            ("[::ffff:127.0.0.1]:5000", "LOCALHOST"),
        ] {
            assert_eq!(checked(peer, host, &[]), Ok(()), "{peer} {host}");
        }
        let own = [("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")];
        assert_eq!(checked("127.0.0.1:5000", "localhost:8080", &own), Ok(()));
    }

    #[test]
    fn other_machines_other_names_and_forwarded_requests_do_not() {
        let local = "127.0.0.1:5000";
        assert_eq!(checked("10.0.0.7:5000", "127.0.0.1:8080", &[]), Err(NotLocal::Peer));
        assert_eq!(checked(local, "10.0.0.7:8080", &[]), Err(NotLocal::Name));
        for host in ["rebound.test:8080", "localhost.example.test", "acme.localhost"] {
            assert!(matches!(checked(local, host, &[]), Err(NotLocal::Foreign(_))), "{host}");
        }
        for name in ["forwarded", "via", "x-forwarded-for", "x-forwarded-host"] {
            let why = checked(local, "localhost", &[(name, "x")]).unwrap_err();
            assert!(why.to_string().contains(&format!("`{name}`")), "{why}");
        }
    }

    #[test]
    fn pages_of_other_origins_do_not() {
        for header in [
            ("origin", "https://evil.example.test"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:9999"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let checked = checked("127.0.0.1:5000", "127.0.0.1:8080", &[header]);
            assert!(matches!(checked, Err(NotLocal::Foreign(_))), "{header:?}: {checked:?}");
        }
    }
}
