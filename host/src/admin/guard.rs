//! Keeps web pages from using the operator's browser to reach the admin listener.

use http::{HeaderMap, HeaderName, Uri, header};

/// Why a request is refused. It is always the client's fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    #[error("the {part} names `{name}`: only localhost and IP addresses are served here")]
    Name { part: &'static str, name: String },
    #[error("the request has no Host header: send one with localhost or an IP address")]
    NoHost,
    #[error("the request comes from another origin")]
    Origin,
    #[error("the request comes from another site")]
    Site,
    #[error("the header `{0}` is not text")]
    NotText(HeaderName),
    #[error("the request has several `{0}` headers: send one")]
    Repeated(HeaderName),
}

/// Refuses what a browser sends on behalf of another site, and names that resolve here by DNS
/// rebinding. A header that is there twice is refused, because each reader might believe another
/// one.
pub fn check(headers: &HeaderMap, uri: &Uri) -> Result<(), Foreign> {
    // An absolute target (`GET http://host/path`) names the host as well.
    let target = uri.authority().map(|authority| authority.as_str());
    let host = only(headers, &header::HOST)?;
    for (name, part) in [(host, "Host header"), (target, "request target")] {
        if let Some(name) = name.filter(|name| !is_own(name)) {
            return Err(Foreign::Name { part, name: name.to_owned() });
        }
    }
    let host = host.or(target).ok_or(Foreign::NoHost)?;
    if let Some(origin) = only(headers, &header::ORIGIN)?
        && origin.strip_prefix("http://") != Some(host)
    {
        return Err(Foreign::Origin);
    }
    match only(headers, &SEC_FETCH_SITE)? {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => Err(Foreign::Site),
    }
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The value of a header that may be there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Foreign> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Foreign::NotText(name.clone())),
        (Some(_), Some(_)) => Err(Foreign::Repeated(name.clone())),
    }
}

/// `localhost` or an address, with or without a port: what no foreign name can resolve to.
fn is_own(host: &str) -> bool {
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(pairs: &[(&'static str, &'static str)]) -> Result<(), Foreign> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), header::HeaderValue::from_static(value)));
        check(&headers.collect(), &Uri::from_static("/v1/status"))
    }

    #[test]
    fn addresses_and_localhost_are_served() {
        for host in ["127.0.0.1:8081", "localhost:8081", "localhost", "[::1]:8081", "10.0.0.7:8081"] {
            assert_eq!(checked(&[("host", host)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn other_names_are_not() {
        for host in ["example.test:8081", "", "localhost.example.test", "127.0.0.1.example.test"] {
            let name = Foreign::Name { part: "Host header", name: host.to_owned() };
            assert_eq!(checked(&[("host", host)]), Err(name));
        }
        assert_eq!(checked(&[]), Err(Foreign::NoHost));
    }

    #[test]
    fn an_absolute_target_is_checked_like_host() {
        let checked = |host: &'static str, target: &'static str| {
            let headers = [(header::HOST, header::HeaderValue::from_static(host))].into_iter().collect();
            check(&headers, &Uri::from_static(target))
        };
        assert_eq!(checked("127.0.0.1:8081", "http://127.0.0.1:8081/v1/status"), Ok(()));
        let why = checked("127.0.0.1:8081", "http://rebound.example.test/v1/status").unwrap_err().to_string();
        assert!(why.contains("request target names `rebound.example.test`"), "{why}");
        assert!(checked("rebound.example.test", "http://127.0.0.1:8081/v1/status").is_err());
        assert_eq!(check(&HeaderMap::new(), &Uri::from_static("http://127.0.0.1:8081/v1/status")), Ok(()));
    }

    #[test]
    fn a_header_that_is_there_twice_is_refused() {
        let host = ("host", "127.0.0.1:8081");
        for (name, value) in [host, ("origin", "http://127.0.0.1:8081"), ("sec-fetch-site", "none")] {
            let headers = [("host", host.1), (name, value), (name, value)];
            let mut map = HeaderMap::new();
            for (name, value) in &headers[usize::from(name == "host")..] {
                map.append(HeaderName::from_static(name), header::HeaderValue::from_static(value));
            }
            let why = check(&map, &Uri::from_static("/v1/status")).unwrap_err();
            assert_eq!(why, Foreign::Repeated(HeaderName::from_static(name)));
            assert!(why.to_string().contains(&format!("several `{name}` headers")), "{why}");
        }
    }

    #[test]
    fn other_origins_and_sites_are_refused() {
        let host = ("host", "127.0.0.1:8081");
        assert_eq!(checked(&[host, ("origin", "http://127.0.0.1:8081")]), Ok(()));
        assert!(checked(&[host, ("origin", "http://example.test")]).is_err());
        assert!(checked(&[host, ("origin", "null")]).is_err());
        assert_eq!(checked(&[host, ("sec-fetch-site", "same-origin")]), Ok(()));
        assert_eq!(checked(&[host, ("sec-fetch-site", "none")]), Ok(()));
        assert!(checked(&[host, ("sec-fetch-site", "cross-site")]).is_err());
        assert!(checked(&[host, ("sec-fetch-site", "same-site")]).is_err());
    }
}
