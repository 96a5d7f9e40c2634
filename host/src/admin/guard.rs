//! Keeps web pages from using the operator's browser to reach the admin listener.

use http::{HeaderMap, Uri, header};

/// Refuses what a browser sends on behalf of another site, and names that resolve here by DNS rebinding.
pub fn check(headers: &HeaderMap, uri: &Uri) -> Result<(), String> {
    let host = match headers.get(header::HOST) {
        Some(host) => host.to_str().map_err(|_| "the Host header is no host".to_owned())?,
        None => uri.authority().map(|authority| authority.as_str()).unwrap_or_default(),
    };
    if !is_own(host) {
        return Err(format!("the Host header names `{host}`: only localhost and IP addresses are served here"));
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let own = origin.to_str().is_ok_and(|origin| origin.strip_prefix("http://") == Some(host));
        if !own {
            return Err("the request comes from another origin".to_owned());
        }
    }
    match headers.get("sec-fetch-site").map(|site| site.as_bytes()) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err("the request comes from another site".to_owned()),
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

    fn checked(pairs: &[(&'static str, &'static str)]) -> Result<(), String> {
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
            assert!(checked(&[("host", host)]).is_err(), "{host}");
        }
        assert!(checked(&[]).is_err());
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
