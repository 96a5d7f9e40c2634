//! Reads the whole body of a request, and decides whether it is text or bytes.

use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::buffer_lease::BufferLease;
use super::problem_response::ProblemResponse;
use crate::call::Payload;
use crate::net::BudgetExceeded;

/// The maximum size of the buffer that the host allocates before bytes of the body arrive.
const FIRST_BUFFER: u64 = 64 * 1024;

/// How much and how long the host reads from a rejected body, so that the client can read the
/// response.
const MAX_DISCARDED: u64 = 8 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// The maximum size of a body, and the key in the configuration that sets it.
#[derive(Clone, Copy)]
pub(super) struct MaxBody {
    bytes: u64,
    key: &'static str,
}

impl MaxBody {
    /// The limit that a key of the settings sets.
    pub(super) fn of_setting(bytes: u64, key: &'static str) -> MaxBody {
        MaxBody { bytes, key }
    }

    /// The limit for bodies that no instance has in memory at once.
    pub(super) fn of_server(bytes: u64) -> MaxBody {
        MaxBody { bytes, key: "http.maxBody" }
    }

    /// The response to a larger body.
    pub(super) fn exceeded(self) -> ProblemResponse {
        ProblemResponse::too_large(self.bytes, self.key)
    }

    /// Returns the smaller of the limits of the server and of the module.
    pub(super) fn of(server: u64, module: u64) -> MaxBody {
        match module < server {
            true => MaxBody { bytes: module, key: "limits.payload" },
            false => MaxBody::of_server(server),
        }
    }
}

/// Reads the payload of a request. `lease` counts its bytes. `drain` is passed to [`discard`] if
/// the host rejects the body.
pub(super) async fn payload(
    body: Incoming,
    headers: &HeaderMap,
    max: MaxBody,
    within: Duration,
    drain: bool,
    lease: &mut BufferLease,
) -> Result<Payload, ProblemResponse> {
    if body.is_end_stream() {
        return Ok(Payload::None);
    }
    into_payload(bytes(body, max, within, drain, lease).await?, headers)
}

/// Reads the bytes of a body.
pub(super) async fn bytes(
    mut body: Incoming,
    max: MaxBody,
    within: Duration,
    drain: bool,
    lease: &mut BufferLease,
) -> Result<Vec<u8>, ProblemResponse> {
    // The value of `Content-Length`, else 0.
    let announced = body.size_hint().lower();
    if announced > max.bytes {
        discard(body, drain);
        return Err(max.exceeded());
    }
    let first_buffer = announced.clamp(1, FIRST_BUFFER);
    let reading = read(&mut body, first_buffer, max.bytes, lease);
    match timeout(within, reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(BodyError::BudgetExceeded(error))) => {
            discard(body, drain);
            Err(ProblemResponse::budget_exceeded(error))
        }
        Ok(Err(BodyError::TooLarge)) => {
            discard(body, drain);
            Err(max.exceeded())
        }
        Ok(Err(BodyError::Broken(error))) => {
            Err(ProblemResponse::bad_request(format!("the request body is incomplete: {error}")))
        }
        Err(_) => Err(ProblemResponse::slow_body(within)),
    }
}

enum BodyError {
    TooLarge,
    BudgetExceeded(BudgetExceeded),
    Broken(hyper::Error),
}

/// Reads into a buffer that starts with the capacity `first_buffer` and doubles, so that a client
/// that only announces a large body costs little memory. The lease counts the whole capacity.
async fn read(body: &mut Incoming, first_buffer: u64, max: u64, lease: &mut BufferLease) -> Result<Vec<u8>, BodyError> {
    let size = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    let mut into = Vec::new();
    let mut capacity = first_buffer;
    while let Some(frame) = body.frame().await {
        // Trailers are ignored.
        let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() else { continue };
        let total = size(into.len().saturating_add(data.len()));
        if total > max {
            return Err(BodyError::TooLarge);
        }
        if total > size(into.capacity()) {
            capacity = if total > capacity { total.max(capacity.saturating_mul(2)).min(max) } else { capacity };
            let more = capacity.saturating_sub(size(into.capacity()));
            lease.grow(more).map_err(BodyError::BudgetExceeded)?;
            into.reserve_exact(usize::try_from(capacity).unwrap_or(usize::MAX).saturating_sub(into.len()));
        }
        into.extend_from_slice(&data);
    }
    Ok(into)
}

/// Discards a body that the host does not need. With `drain`, a task first reads it for a short
/// time, because over HTTP/1.1 closing at once would reset the connection, and a client that is
/// still sending would not see the response.
pub(super) fn discard(mut body: Incoming, drain: bool) {
    if !drain || body.is_end_stream() {
        return;
    }
    // A body that streams may be dropped while the thread of its instance ends.
    let Ok(runtime) = Handle::try_current() else { return };
    runtime.spawn(timeout(DISCARD_TIMEOUT, async move {
        let mut left = MAX_DISCARDED;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, |data| data.len());
            match left.checked_sub(u64::try_from(length).unwrap_or(u64::MAX)) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }));
}

fn into_payload(bytes: Vec<u8>, headers: &HeaderMap) -> Result<Payload, ProblemResponse> {
    if bytes.is_empty() {
        return Ok(Payload::None);
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(Payload::Bytes(bytes));
    }
    let content_type = headers.get(CONTENT_TYPE);
    match BodyKind::of(content_type) {
        BodyKind::Bytes => Ok(Payload::Bytes(bytes)),
        BodyKind::Unknown => Ok(Payload::guess(bytes)),
        BodyKind::Text => match String::from_utf8(bytes) {
            Ok(text) => Ok(Payload::Text(text)),
            Err(error) => {
                let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
                let position = error.utf8_error().valid_up_to();
                let fix = "send UTF-8, or another content type such as application/octet-stream";
                Err(ProblemResponse::bad_request(format!(
                    "the content type `{content_type}` is text, but byte {position} of the body is not UTF-8: {fix}"
                )))
            }
        },
    }
}

/// The kind of a body, according to its content type.
#[derive(Debug, PartialEq, Eq)]
enum BodyKind {
    Text,
    Bytes,
    /// There is no content type. The body is text if it is valid UTF-8.
    Unknown,
}

impl BodyKind {
    fn of(content_type: Option<&HeaderValue>) -> BodyKind {
        let Some(value) = content_type else {
            return BodyKind::Unknown;
        };
        if value.as_bytes() == b"application/json" {
            return BodyKind::Text;
        }
        let Ok(text) = value.to_str() else {
            return BodyKind::Bytes;
        };
        let mut parameters = text.split(';').map(str::trim);
        let essence = parameters.next().unwrap_or_default().to_ascii_lowercase();
        if essence.is_empty() {
            return BodyKind::Unknown;
        }
        if is_text(&essence) && parameters.all(|parameter| charset(parameter).is_none_or(is_utf8)) {
            BodyKind::Text
        } else {
            BodyKind::Bytes
        }
    }
}

fn is_text(essence: &str) -> bool {
    let fixed = ["application/json", "application/xml", "application/x-www-form-urlencoded", "application/javascript"];
    fixed.contains(&essence)
        || essence.strip_prefix("text/").is_some_and(|rest| !rest.is_empty())
        || (essence.contains('/') && (essence.ends_with("+json") || essence.ends_with("+xml")))
}

/// Returns the value of a parameter of a content type, if it is the charset.
fn charset(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=')?;
    name.trim_end().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
}

fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].iter().any(|one| one.eq_ignore_ascii_case(charset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_decides_between_text_and_bytes() {
        let kind = |text: &'static str| BodyKind::of(Some(&HeaderValue::from_static(text)));
        for text in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "text/plain",
            "text/html;charset=\"utf-8\"",
            "text/csv; charset=us-ascii; header=present",
            "application/problem+json",
            "application/xml",
            "image/svg+xml",
            "application/x-www-form-urlencoded",
            "application/javascript",
        ] {
            assert_eq!(kind(text), BodyKind::Text, "{text}");
        }
        for text in [
            "text/plain; charset=iso-8859-1",
            "application/json; charset = utf-16",
            "application/octet-stream",
            "image/png",
            "multipart/form-data; boundary=x",
            "application/jsonx",
            "text/",
            "+json",
        ] {
            assert_eq!(kind(text), BodyKind::Bytes, "{text}");
        }
        assert_eq!(kind(""), BodyKind::Unknown);
        assert_eq!(BodyKind::of(None), BodyKind::Unknown);
    }

    #[test]
    fn a_compressed_body_is_bytes_and_an_empty_one_is_no_payload() {
        let payload = |content_type: Option<&'static str>, encoding: Option<&'static str>, bytes: &[u8]| {
            let mut headers = HeaderMap::new();
            content_type.map(|value| headers.insert(CONTENT_TYPE, HeaderValue::from_static(value)));
            encoding.map(|value| headers.insert(CONTENT_ENCODING, HeaderValue::from_static(value)));
            into_payload(bytes.to_vec(), &headers).ok()
        };
        let invalid = b"\xff\x00";
        assert_eq!(payload(Some("text/plain"), None, b""), Some(Payload::None));
        assert_eq!(payload(Some("text/plain"), None, b"a"), Some(Payload::Text("a".into())));
        assert_eq!(payload(Some("text/plain"), None, invalid), None);
        assert_eq!(payload(Some("text/plain"), Some("identity"), invalid), None);
        assert_eq!(payload(Some("text/plain"), Some("gzip"), invalid), Some(Payload::Bytes(invalid.to_vec())));
        assert_eq!(payload(None, None, b"a"), Some(Payload::Text("a".into())));
        assert_eq!(payload(None, None, invalid), Some(Payload::Bytes(invalid.to_vec())));
        assert_eq!(payload(Some("image/png"), None, b"a"), Some(Payload::Bytes(b"a".to_vec())));
    }
}
