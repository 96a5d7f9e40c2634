//! The frames that the host sends (RFC 6455, 5.2). They are never masked.

use bytes::Bytes;

use crate::call::Payload;

pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// The most bytes in the payload of a control frame.
pub(super) const MAX_CONTROL: usize = 125;

/// A ping without a payload.
pub(super) const PING_FRAME: Bytes = Bytes::from_static(&[0x89, 0]);

/// Returns a message as one frame. No payload is an empty text.
pub(super) fn message(payload: &Payload) -> Bytes {
    match payload {
        Payload::Text(text) => frame(TEXT, text.as_bytes()),
        Payload::Bytes(bytes) => frame(BINARY, bytes),
        Payload::None => frame(TEXT, b""),
    }
}

/// Returns one whole frame.
pub(super) fn frame(opcode: u8, payload: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(payload.len() + 10);
    bytes.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..=125), _) => bytes.push(short),
        (_, Ok(middle)) => {
            bytes.push(126);
            bytes.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(payload);
    bytes.into()
}

/// Returns a Close frame. A reason that does not fit is cut.
pub(super) fn close(code: u16, reason: &str) -> Bytes {
    let mut payload = code.to_be_bytes().to_vec();
    let end = reason.floor_char_boundary(MAX_CONTROL - payload.len());
    payload.extend_from_slice(reason.get(..end).unwrap_or_default().as_bytes());
    frame(CLOSE, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_has_the_shortest_form() {
        for (length, head) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 255, 255]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let text = "x".repeat(length);
            let frame = message(&Payload::Text(text.clone()));
            assert_eq!((&frame[..head.len()], &frame[head.len()..]), (head, text.as_bytes()));
        }
        assert_eq!(message(&Payload::Bytes(vec![7])), &[0x82, 1, 7][..]);
        assert_eq!(message(&Payload::None), &[0x81, 0][..]);
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        assert_eq!(close(1001, "bye"), &b"\x88\x05\x03\xe9bye"[..]);
        let long = format!("{}\u{20ac}", "x".repeat(122));
        let frame = close(1000, &long);
        assert_eq!((frame[1], &frame[4..]), (124, "x".repeat(122).as_bytes()));
        assert_eq!(close(1000, &"x".repeat(500)).len(), 127);
    }
}
