//! The request that opens a WebSocket (RFC 6455, 4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::SEC_WEBSOCKET_VERSION;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use ring::digest;

use crate::triggers::http::{Content, HttpResponse, ProblemResponse, SocketHandler, asks_for_websocket, has_token};

/// The version of the protocol.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// Is added to the key of a client, so that no other server answers the same.
const MAGIC: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Checks a request for a WebSocket. Returns the answer to its key.
pub(super) fn check(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
    has_body: bool,
) -> Result<HeaderValue, ProblemResponse> {
    if *method != Method::GET || version != Version::HTTP_11 || !asks_for_websocket(headers) {
        return Err(upgrade_required());
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(ProblemResponse::bad_request("a request for a WebSocket has the field `Connection: Upgrade`"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        return Err(upgrade_required());
    }
    if has_body {
        return Err(ProblemResponse::bad_request("a request for a WebSocket has no body"));
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key.as_bytes()) => Ok(accept(key.as_bytes())),
        _ => Err(ProblemResponse::bad_request(
            "a request for a WebSocket has one field `Sec-WebSocket-Key`, with 16 bytes in Base64",
        )),
    }
}

/// Returns the first sub-protocol of the client that the socket accepts.
pub(super) fn sub_protocol(headers: &HeaderMap, accepted: &[String]) -> Option<HeaderValue> {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offered = offered.flat_map(|value| value.to_str().unwrap_or_default().split(',').map(str::trim));
    let chosen = offered.find(|name| accepted.iter().any(|accepted| accepted == name))?;
    HeaderValue::try_from(chosen).ok()
}

/// The response after which the handler gets the socket.
pub(super) fn switch(accept: HeaderValue, protocol: Option<HeaderValue>, handler: SocketHandler) -> HttpResponse {
    let mut response = Response::new(Content::Socket(handler));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

fn upgrade_required() -> ProblemResponse {
    ProblemResponse::upgrade_required(
        "this path is a WebSocket: open it over HTTP/1.1 with `Upgrade: websocket` and `Sec-WebSocket-Version: 13`",
        &[(UPGRADE, HeaderValue::from_static("websocket")), (SEC_WEBSOCKET_VERSION, VERSION)],
    )
}

/// Whether a key is 16 bytes in Base64.
fn is_key(key: &[u8]) -> bool {
    let (digits, end) = key.split_at(key.len().saturating_sub(2));
    digits.len() == 22
        && end == b"=="
        && digits.iter().all(|digit| digit.is_ascii_alphanumeric() || matches!(digit, b'+' | b'/'))
}

/// The answer to a key: the Base64 of its SHA-1.
fn accept(key: &[u8]) -> HeaderValue {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(MAGIC);
    HeaderValue::try_from(STANDARD.encode(context.finish())).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn headers(changes: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        }
        for (name, value) in changes {
            headers.insert(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        headers
    }

    fn status(method: Method, version: Version, headers: &HeaderMap) -> Result<HeaderValue, u16> {
        check(&method, version, headers, false).map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn the_answer_to_the_key_is_that_of_the_rfc() {
        let accept = status(Method::GET, Version::HTTP_11, &headers(&[])).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_request_that_cannot_open_a_websocket_is_rejected() {
        for (changes, expected) in [
            (&[("upgrade", "h2c")][..], 426),
            (&[("sec-websocket-version", "8")], 426),
            (&[("connection", "close")], 400),
            (&[("sec-websocket-key", "")], 400),
            (&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=")], 400),
            (&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ-=")], 400),
            (&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQAA")], 400),
        ] {
            assert_eq!(status(Method::GET, Version::HTTP_11, &headers(changes)), Err(expected), "{changes:?}");
        }
        assert_eq!(status(Method::POST, Version::HTTP_11, &headers(&[])), Err(426));
        assert_eq!(status(Method::GET, Version::HTTP_10, &headers(&[])), Err(426));
        assert_eq!(status(Method::GET, Version::HTTP_2, &headers(&[])), Err(426));
        let mut two = headers(&[]);
        two.append(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        assert_eq!(status(Method::GET, Version::HTTP_11, &two), Err(400));
        assert_eq!(status(Method::GET, Version::HTTP_11, &HeaderMap::new()), Err(426));
        let with_body = check(&Method::GET, Version::HTTP_11, &headers(&[]), true);
        assert_eq!(with_body.map_err(|problem| problem.status().as_u16()), Err(400));
    }

    #[test]
    fn the_first_sub_protocol_of_the_client_that_the_socket_accepts_is_chosen() {
        let accepted = ["v1".to_owned(), "v2".to_owned()];
        let chosen = |value: &str| sub_protocol(&headers(&[("sec-websocket-protocol", value)]), &accepted);
        assert_eq!(chosen("v3, v2,v1").unwrap(), "v2");
        assert_eq!(chosen("V1"), None);
        assert_eq!(sub_protocol(&headers(&[]), &accepted), None);
    }
}
