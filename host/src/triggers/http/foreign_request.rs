//! Rejects requests that a web page makes through the browser of someone who can reach a listener
//! without a login.

use http::{HeaderMap, HeaderName, Uri, header};

/// Why a request is rejected. This is always the client's fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignRequest {
    #[error("the {part} names `{name}`; this listener accepts only localhost and IP addresses")]
    Name { part: &'static str, name: String },
    #[error("the request has no Host header; send one with localhost or an IP address")]
    NoHost,
    #[error("the Origin header names another origin; call the listener directly, not from a web page")]
    Origin,
    #[error("the Sec-Fetch-Site header names another site; call the listener directly, not from a web page")]
    Site,
    #[error("the header `{0}` is not text")]
    NotText(HeaderName),
    #[error("the request has several `{0}` headers; send one")]
    Repeated(HeaderName),
}

impl ForeignRequest {
    /// Rejects requests that a browser sends for another site, and host names, which DNS rebinding
    /// may resolve to this address. Rejects repeated headers too, because a proxy might read
    /// another one of them.
    pub fn check(headers: &HeaderMap, uri: &Uri) -> Result<(), ForeignRequest> {
        // An absolute target (`GET http://host/path`) names the host as well.
        let target = uri.authority().map(|authority| authority.as_str());
        let host = only(headers, &header::HOST)?;
        for (name, part) in [(host, "Host header"), (target, "request target")] {
            if let Some(name) = name.filter(|name| !is_own(name)) {
                return Err(ForeignRequest::Name { part, name: name.to_owned() });
            }
        }
        let host = host.or(target).ok_or(ForeignRequest::NoHost)?;
        if let Some(origin) = only(headers, &header::ORIGIN)?
            && origin.strip_prefix("http://") != Some(host)
        {
            return Err(ForeignRequest::Origin);
        }
        match only(headers, &SEC_FETCH_SITE)? {
            None | Some("same-origin" | "none") => Ok(()),
            Some(_) => Err(ForeignRequest::Site),
        }
    }
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The value of a header that may occur only once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ForeignRequest> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| ForeignRequest::NotText(name.clone())),
        (Some(_), Some(_)) => Err(ForeignRequest::Repeated(name.clone())),
    }
}

/// Whether a host is `localhost` or an IP address, with or without a port. DNS cannot map another
/// name to these.
fn is_own(host: &str) -> bool {
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(pairs: &[(&'static str, &'static str)]) -> Result<(), ForeignRequest> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), header::HeaderValue::from_static(value)));
        ForeignRequest::check(&headers.collect(), &Uri::from_static("/v1/status"))
    }

    #[test]
    fn addresses_and_localhost_are_accepted() {
        for host in ["127.0.0.1:8081", "localhost:8081", "localhost", "[::1]:8081", "10.0.0.7:8081"] {
            assert_eq!(checked(&[("host", host)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn other_host_names_are_rejected() {
        for host in ["example.test:8081", "", "localhost.example.test", "127.0.0.1.example.test"] {
            let name = ForeignRequest::Name { part: "Host header", name: host.to_owned() };
            assert_eq!(checked(&[("host", host)]), Err(name));
        }
        assert_eq!(checked(&[]), Err(ForeignRequest::NoHost));
    }

    #[test]
    fn an_absolute_target_is_checked_like_host() {
        let checked = |host: &'static str, target: &'static str| {
            let headers = [(header::HOST, header::HeaderValue::from_static(host))].into_iter().collect();
            ForeignRequest::check(&headers, &Uri::from_static(target))
        };
        assert_eq!(checked("127.0.0.1:8081", "http://127.0.0.1:8081/v1/status"), Ok(()));
        let why = checked("127.0.0.1:8081", "http://rebound.example.test/v1/status").unwrap_err().to_string();
        assert!(why.contains("request target names `rebound.example.test`"), "{why}");
        assert!(checked("rebound.example.test", "http://127.0.0.1:8081/v1/status").is_err());
        assert_eq!(
            ForeignRequest::check(&HeaderMap::new(), &Uri::from_static("http://127.0.0.1:8081/v1/status")),
            Ok(())
        );
    }

    #[test]
    fn a_repeated_header_is_rejected() {
        let host = ("host", "127.0.0.1:8081");
        for (name, value) in [host, ("origin", "http://127.0.0.1:8081"), ("sec-fetch-site", "none")] {
            let headers = [("host", host.1), (name, value), (name, value)];
            let mut map = HeaderMap::new();
            for (name, value) in &headers[usize::from(name == "host")..] {
                map.append(HeaderName::from_static(name), header::HeaderValue::from_static(value));
            }
            let why = ForeignRequest::check(&map, &Uri::from_static("/v1/status")).unwrap_err();
            assert_eq!(why, ForeignRequest::Repeated(HeaderName::from_static(name)));
            assert!(why.to_string().contains(&format!("several `{name}` headers")), "{why}");
        }
    }

    #[test]
    fn other_origins_and_sites_are_rejected() {
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
