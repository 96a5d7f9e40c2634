//! Reads the whole body of a request, and tells text from bytes.

use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::lease::Lease;
use super::problem::Problem;
use crate::call::Payload;
use crate::net::Full;

/// The largest buffer that is allocated before bytes of the body arrive.
const FIRST_ROOM: u64 = 64 * 1024;

/// Bytes that are read of a refused body, so that the client can read the refusal.
const MOST_DISCARDED: u64 = 8 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// The largest size of a body, and the key that sets it.
#[derive(Clone, Copy)]
pub(super) struct MaxBody {
    bytes: u64,
    key: &'static str,
}

impl MaxBody {
    /// Chooses the smaller one of the server's limit and the module's.
    pub(super) fn of(server: u64, module: u64) -> MaxBody {
        match module < server {
            true => MaxBody { bytes: module, key: "limits.payload" },
            false => MaxBody { bytes: server, key: "http.maxBody" },
        }
    }
}

/// Reads the payload of a request. `lease` holds its bytes. `linger` is passed to [`discard`] when
/// the body is refused.
pub(super) async fn payload(
    mut body: Incoming,
    headers: &HeaderMap,
    max: MaxBody,
    within: Duration,
    linger: bool,
    lease: &mut Lease,
) -> Result<Payload, Problem> {
    if body.is_end_stream() {
        return Ok(Payload::None);
    }
    // The value of `Content-Length`, else 0.
    let announced = body.size_hint().lower();
    if announced > max.bytes {
        discard(body, linger);
        return Err(Problem::too_large(max.bytes, max.key));
    }
    let room = announced.clamp(1, FIRST_ROOM);
    let reading = read(&mut body, room, max.bytes, lease);
    match timeout(within, reading).await {
        Ok(Ok(bytes)) => into_payload(bytes, headers),
        Ok(Err(Unread::NoRoom(full))) => {
            discard(body, linger);
            Err(Problem::no_room(full))
        }
        Ok(Err(Unread::TooLarge)) => {
            discard(body, linger);
            Err(Problem::too_large(max.bytes, max.key))
        }
        Ok(Err(Unread::Broken(error))) => Err(Problem::bad_request(format!("the body ended early: {error}"))),
        Err(_) => Err(Problem::slow_body(within)),
    }
}

enum Unread {
    TooLarge,
    NoRoom(Full),
    Broken(hyper::Error),
}

/// Reads into a buffer that begins with `room` bytes and doubles, so that a length alone holds
/// little. The lease holds the whole buffer.
async fn read(body: &mut Incoming, room: u64, max: u64, lease: &mut Lease) -> Result<Vec<u8>, Unread> {
    let size = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    let mut into = Vec::new();
    let mut allowed = room;
    while let Some(frame) = body.frame().await {
        // Trailers are dropped.
        let Ok(data) = frame.map_err(Unread::Broken)?.into_data() else { continue };
        let total = size(into.len().saturating_add(data.len()));
        if total > max {
            return Err(Unread::TooLarge);
        }
        if total > size(into.capacity()) {
            allowed = if total > allowed { total.max(allowed.saturating_mul(2)).min(max) } else { allowed };
            let more = allowed.saturating_sub(size(into.capacity()));
            lease.grow(more).map_err(Unread::NoRoom)?;
            into.reserve_exact(usize::try_from(allowed).unwrap_or(usize::MAX).saturating_sub(into.len()));
        }
        into.extend_from_slice(&data);
    }
    Ok(into)
}

/// Drops a body that nobody reads. Over HTTP/1.1 closing at once would reset the connection, and a
/// client that is still sending would not see the answer. So with `linger` a task reads and drops
/// the body for a short time.
pub(super) fn discard(mut body: Incoming, linger: bool) {
    if !linger || body.is_end_stream() {
        return;
    }
    tokio::spawn(timeout(DISCARD_TIMEOUT, async move {
        let mut left = MOST_DISCARDED;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, |data| data.len());
            match left.checked_sub(u64::try_from(length).unwrap_or(u64::MAX)) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }));
}

fn into_payload(bytes: Vec<u8>, headers: &HeaderMap) -> Result<Payload, Problem> {
    if bytes.is_empty() {
        return Ok(Payload::None);
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(Payload::Bytes(bytes));
    }
    let content_type = headers.get(CONTENT_TYPE);
    match Kind::of(content_type) {
        Kind::Bytes => Ok(Payload::Bytes(bytes)),
        Kind::Guess => Ok(Payload::guess(bytes)),
        Kind::Text => match String::from_utf8(bytes) {
            Ok(text) => Ok(Payload::Text(text)),
            Err(error) => {
                let named = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
                let place = error.utf8_error().valid_up_to();
                let way = "send UTF-8, or another content type such as application/octet-stream";
                Err(Problem::bad_request(format!(
                    "`{named}` is text, and byte {place} of the body is not UTF-8: {way}"
                )))
            }
        },
    }
}

/// The kind of a body by its content type.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Bytes,
    /// The content type does not tell: text when the body is UTF-8.
    Guess,
}

impl Kind {
    fn of(content_type: Option<&HeaderValue>) -> Kind {
        let Some(value) = content_type else {
            return Kind::Guess;
        };
        if value.as_bytes() == b"application/json" {
            return Kind::Text;
        }
        let Ok(text) = value.to_str() else {
            return Kind::Bytes;
        };
        let mut fields = text.split(';').map(str::trim);
        let essence = fields.next().unwrap_or_default().to_ascii_lowercase();
        if essence.is_empty() {
            return Kind::Guess;
        }
        if is_text(&essence) && fields.all(|field| charset(field).is_none_or(is_utf8)) {
            Kind::Text
        } else {
            Kind::Bytes
        }
    }
}

fn is_text(essence: &str) -> bool {
    let fixed = ["application/json", "application/xml", "application/x-www-form-urlencoded", "application/javascript"];
    fixed.contains(&essence)
        || essence.strip_prefix("text/").is_some_and(|rest| !rest.is_empty())
        || (essence.contains('/') && (essence.ends_with("+json") || essence.ends_with("+xml")))
}

/// Returns the value of a parameter when it is the charset.
fn charset(field: &str) -> Option<&str> {
    let (name, value) = field.split_once('=')?;
    name.trim_end().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
}

fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].iter().any(|one| one.eq_ignore_ascii_case(charset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_decides() {
        let kind = |text: &'static str| Kind::of(Some(&HeaderValue::from_static(text)));
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
            assert_eq!(kind(text), Kind::Text, "{text}");
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
            assert_eq!(kind(text), Kind::Bytes, "{text}");
        }
        assert_eq!(kind(""), Kind::Guess);
        assert_eq!(Kind::of(None), Kind::Guess);
    }

    #[test]
    fn payloads() {
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
