//! Reads the query and the header fields of a request for a stream.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};

use super::event::MAX_FIELD;
use crate::call::stream_key;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StreamQuery {
    /// The key. Empty for a client that sends none.
    pub(super) key: String,
    /// The id of the last event that the client has received.
    pub(super) last_event_id: Option<String>,
}

impl StreamQuery {
    /// Reads the parameters `connectKey` and `lastEventId`, and the header `Last-Event-ID`, which
    /// comes before the parameter. Other parameters are ignored. The error is a sentence for the
    /// client.
    pub(super) fn of(query: Option<&str>, headers: &HeaderMap) -> Result<StreamQuery, String> {
        let [key, last_event_id] = parameters(query, ["connectKey", "lastEventId"])?;
        let key = key.unwrap_or_default();
        check_key(&key)?;
        // Browsers send the header in UTF-8.
        let header = headers.get(LAST_EVENT_ID).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let last_event_id = header.or(last_event_id).filter(|id| !id.is_empty()).map(shorten);
        Ok(StreamQuery { key, last_event_id })
    }
}

/// The id that a client sends. No longer than any id by more than a character.
#[cfg(any(test, fuzzing))]
pub(crate) fn last_event_id(query: Option<&str>, headers: &HeaderMap) -> Result<Option<String>, String> {
    let StreamQuery { key, last_event_id } = StreamQuery::of(query, headers)?;
    assert!(stream_key::is_key(&key) && last_event_id.as_ref().is_none_or(|id| id.len() < MAX_FIELD + 4));
    assert_ne!(last_event_id.as_deref(), Some(""));
    Ok(last_event_id)
}

/// Checks a key. The error is a sentence for the client or the guest.
pub(super) fn check_key(key: &str) -> Result<(), String> {
    match stream_key::accepts(key) {
        true => Ok(()),
        false => {
            let (most, size) = (stream_key::MAX, key.len());
            Err(format!("a stream key has at most {most} bytes and no control characters, found {size} bytes"))
        }
    }
}

/// Cuts an id that is longer than any id of an event. What remains is still longer, so that it is
/// the id of no event.
fn shorten(mut id: String) -> String {
    if id.len() > MAX_FIELD {
        let end = (MAX_FIELD + 1..id.len()).find(|end| id.is_char_boundary(*end));
        id.truncate(end.unwrap_or(id.len()));
        id.shrink_to_fit();
    }
    id
}

/// Reads the parameters with these names from a query. Other parameters are ignored. The error is a
/// sentence for the client.
pub(in crate::triggers) fn parameters<const N: usize>(
    query: Option<&str>,
    names: [&str; N],
) -> Result<[Option<String>; N], String> {
    let mut values = [const { None }; N];
    for pair in query.unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(name) = decode(name) else { continue };
        let Some((name, place)) = names.iter().zip(&mut values).find(|(wanted, _)| ***wanted == *name) else {
            continue;
        };
        let Some(value) = decode(value) else {
            return Err(format!(
                "cannot decode the parameter `{name}`: write `%` only before two hexadecimal digits, and encode text \
                 as UTF-8"
            ));
        };
        if place.replace(value.into_owned()).is_some() {
            return Err(format!("the query has the parameter `{name}` twice: send it once"));
        }
    }
    Ok(values)
}

/// Decodes a name or a value of a query, in which `+` is a space. Returns `None` for a malformed
/// escape, and for bytes that are not UTF-8.
pub(in crate::triggers) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => digit(bytes.next()?)? * 16 + digit(bytes.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(query: &str) -> Result<String, String> {
        StreamQuery::of(Some(query), &HeaderMap::new()).map(|request| request.key)
    }

    fn id(query: &str, header: Option<&[u8]>) -> Option<String> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(LAST_EVENT_ID, http::HeaderValue::from_bytes(header).unwrap());
        }
        StreamQuery::of(Some(query), &headers).unwrap().last_event_id
    }

    #[test]
    fn the_key_is_decoded() {
        for (query, expected) in [
            ("", ""),
            ("connectKey", ""),
            ("connectKey=", ""),
            ("connectKey=news", "news"),
            ("t=1&connectKey=a%2Fb&u", "a/b"),
            ("connectKey=a+b%2b%2B", "a b++"),
            ("connectKey=%C3%A4=%3d", "ä=="),
            ("connect%4Bey=x", "x"),
            ("ConnectKey=x&%zz=1&x=%zz", ""),
        ] {
            assert_eq!(key(query).as_deref(), Ok(expected), "{query}");
        }
        assert_eq!(StreamQuery::of(None, &HeaderMap::new()).unwrap().key, "");
    }

    #[test]
    fn a_key_that_cannot_be_one_is_rejected_with_the_reason() {
        for (query, reason) in [
            ("connectKey=%", "cannot decode"),
            ("connectKey=%4", "cannot decode"),
            ("connectKey=%+1", "cannot decode"),
            ("connectKey=%ff", "cannot decode"),
            ("connectKey=a&connectKey=a", "twice"),
            ("connectKey&connectKey", "twice"),
            ("lastEventId=1&lastEventId=2", "twice"),
            ("connectKey=a%0Ab", "control characters"),
            ("connectKey=%00", "control characters"),
            ("connectKey=%C2%85", "control characters"),
        ] {
            let error = key(query).unwrap_err();
            assert!(error.contains(reason), "{query}: {error}");
        }
        assert_eq!(key(&format!("connectKey={}", "k".repeat(256))).unwrap().len(), 256);
        assert!(key(&format!("connectKey={}", "k".repeat(257))).unwrap_err().contains("257 bytes"));
    }

    #[test]
    fn the_last_event_id_is_that_of_the_header_else_of_the_query() {
        assert_eq!(id("", None), None);
        assert_eq!(id("lastEventId=a-1%2b", None).as_deref(), Some("a-1+"));
        assert_eq!(id("lastEventId=a", Some(b"b")).as_deref(), Some("b"));
        assert_eq!(id("lastEventId=", Some(b"")), None);
        assert_eq!(id("", Some("ä".as_bytes())).as_deref(), Some("ä"));
        assert_eq!(id("", Some(b"\xff")).as_deref(), Some("\u{fffd}"));
    }

    #[test]
    fn an_id_longer_than_any_is_cut_and_stays_longer() {
        let longest = "x".repeat(MAX_FIELD);
        assert_eq!(id("", Some(longest.as_bytes())).as_deref(), Some(longest.as_str()));
        let huge = "x".repeat(60_000);
        assert_eq!(id("", Some(huge.as_bytes())).map(|id| id.len()), Some(MAX_FIELD + 1));
        let wide = "ä".repeat(30_000);
        let cut = id("", Some(wide.as_bytes())).map(|id| id.len()).unwrap();
        assert!(cut > MAX_FIELD && cut < MAX_FIELD + 4);
        let just = format!("{}ä", "x".repeat(MAX_FIELD - 1));
        assert_eq!(id("", Some(just.as_bytes())).as_deref(), Some(just.as_str()));
    }
}
