//! A text as a chunk of HTTP/1.1 (RFC 9112, 7.1), so that a stream over HTTP/1.1 can send the bytes
//! as they are. The text is a part of the same bytes.

use std::io::Write;
use std::ops::Range;

use bytes::Bytes;

/// The longest beginning of a chunk: 16 hexadecimal digits and a line break.
const HEAD: usize = 18;

/// The last chunk of a body, which ends it.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Returns the text that `write` appends as a chunk. `capacity` is about the length of the text. No
/// text makes no bytes, because an empty chunk would end the body.
pub fn chunk(capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut bytes = Vec::with_capacity(HEAD + capacity + 2);
    bytes.resize(HEAD, 0);
    write(&mut bytes);
    let length = bytes.len().saturating_sub(HEAD);
    if length == 0 {
        return Bytes::new();
    }
    let mut head = [0; HEAD];
    let mut rest = head.as_mut_slice();
    // The buffer has room for the longest number.
    _ = write!(rest, "{length:x}\r\n");
    let unused = rest.len();
    if let (Some(place), Some(head)) = (bytes.get_mut(unused..HEAD), head.get(..HEAD - unused)) {
        place.copy_from_slice(head);
    }
    bytes.extend_from_slice(b"\r\n");
    Bytes::from(bytes).slice(unused..)
}

/// Returns where the text is in a chunk.
pub fn text_of(chunk: &[u8]) -> Range<usize> {
    let start = chunk.iter().take(HEAD).position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    start..chunk.len().saturating_sub(2).max(start)
}
