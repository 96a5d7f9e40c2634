//! The segments of a route's path.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The decoded text between two slashes of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    Literal(String),
    /// A parameter, which matches any whole segment.
    Param(String),
}

/// Decodes the percent escapes of a segment. `None` when an escape is not `%` and two hexadecimal
/// digits, or when the result is not UTF-8.
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
