//! Segments of a route's path.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// What stands between two slashes of a path, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    Literal(String),
    /// Takes a whole segment, whatever it is.
    Param(String),
}

/// One segment with its escapes undone. `None` when one is not two hexadecimal digits, or the result is not UTF-8.
pub fn decode_segment(segment: &str) -> Option<Cow<'_, str>> {
    let mut pieces = segment.split('%');
    pieces.next();
    let hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
    let valid = pieces.all(|piece| {
        let mut bytes = piece.bytes();
        hex(bytes.next()) && hex(bytes.next())
    });
    if !valid {
        return None;
    }
    percent_decode_str(segment).decode_utf8().ok()
}
