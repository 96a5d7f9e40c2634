//! Decodes the frames of a client (RFC 6455, 5) into messages. It does no input itself: it takes
//! bytes as they arrive, and keeps only those of an incomplete frame or message.
//!
//! It is not a library, because of the memory of an idle client. Measured with 9,500 clients: 0.6
//! KiB with a decoder of this form, whose read buffer belongs to the thread, 7 KiB with
//! tokio-websockets 0.13 (1.5 KiB if it is built anew for each burst), 6 KiB with tungstenite 0.30.
//! Neither library bounds the answers to pings that a client does not read.

use super::close_codes::{NOT_UTF8, PROTOCOL, TOO_LARGE};
use super::frames::{BINARY, CLOSE, MAX_CONTROL, PING, PONG, TEXT};
use super::utf8::Utf8Check;
use crate::call::{Payload, bounds};

/// The most frames of one message.
const MAX_FRAGMENTS: u32 = 65_536;

/// The longest head of a frame.
const MAX_HEAD: usize = 14;

/// Decodes the frames of one client.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The largest message.
    max: u64,
    /// The beginning of a head.
    head: [u8; MAX_HEAD],
    head_length: usize,
    frame: Option<Frame>,
    /// The data frames of an incomplete message.
    message: Option<Box<Fragments>>,
    /// The payload of an incomplete control frame.
    control: Vec<u8>,
    /// The number of messages, and of control frames between them, that are complete.
    complete: u32,
}

/// The frame whose payload arrives.
#[derive(Debug, Clone, Copy)]
struct Frame {
    is_final: bool,
    opcode: u8,
    /// The mask of the next byte first.
    mask: [u8; 4],
    /// The bytes that have not arrived.
    left: u64,
}

#[derive(Debug)]
struct Fragments {
    is_text: bool,
    bytes: Vec<u8>,
    check: Utf8Check,
    count: u32,
}

/// What a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Message(Payload),
    Ping(Vec<u8>),
    Pong,
    /// `None` for a frame without a code.
    Close(Option<(u16, String)>),
}

/// A client breaks the rules. Its connection ends with this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) code: u16,
    pub(super) reason: &'static str,
}

fn protocol<T>(reason: &'static str) -> Result<T, Violation> {
    Err(Violation { code: PROTOCOL, reason })
}

fn not_utf8<T>() -> Result<T, Violation> {
    Err(Violation { code: NOT_UTF8, reason: "the text is not UTF-8" })
}

impl Decoder {
    pub(super) fn new(max: u64) -> Decoder {
        let head = [0; MAX_HEAD];
        Decoder { max, head, head_length: 0, frame: None, message: None, control: Vec::new(), complete: 0 }
    }

    /// The number of the message of which a part has arrived. Control frames in it do not count.
    pub(super) fn partial(&self) -> Option<u32> {
        let is_partial = self.head_length > 0 || self.frame.is_some() || self.message.is_some();
        is_partial.then_some(self.complete)
    }

    /// The bytes that it keeps.
    pub(super) fn buffered(&self) -> u64 {
        self.message.as_ref().map_or(0, |message| message.bytes.len() as u64)
    }

    /// Decodes from the front of `input`, and removes what it has used. `None` if all of it is used
    /// and more must arrive.
    pub(super) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, Violation> {
        loop {
            let frame = match self.frame {
                Some(frame) => frame,
                None => match self.read_head(input)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            if let Some(incoming) = self.read_payload(frame, input)? {
                if self.message.is_none() {
                    self.complete = self.complete.wrapping_add(1);
                }
                return Ok(Some(incoming));
            }
            if self.frame.is_some() {
                return Ok(None);
            }
        }
    }

    /// Reads the head of a frame, and checks it as soon as it is known.
    fn read_head(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, Violation> {
        loop {
            let known = self.head.get(..self.head_length).unwrap_or_default();
            let missing = head_size(known).saturating_sub(known.len());
            if missing == 0 {
                break;
            }
            let taken = take(input, missing);
            if taken.is_empty() {
                return Ok(None);
            }
            if let Some(place) = self.head.get_mut(self.head_length..self.head_length.saturating_add(taken.len())) {
                place.copy_from_slice(taken);
            }
            self.head_length = self.head_length.saturating_add(taken.len());
        }
        let frame = self.check_head()?;
        (self.frame, self.head_length) = (Some(frame), 0);
        Ok(Some(frame))
    }

    fn check_head(&mut self) -> Result<Frame, Violation> {
        let [first, second, extended @ ..] = self.head;
        let (is_final, opcode) = (first & 0x80 != 0, first & 0x0f);
        if first & 0x70 != 0 {
            return protocol("the frame has reserved bits, but no extension was agreed on");
        }
        if second & 0x80 == 0 {
            return protocol("the frame is not masked");
        }
        let (left, mask) = match (second & 0x7f, extended) {
            (126, [a, b, c, d, e, f, ..]) => (u64::from(u16::from_be_bytes([a, b])), [c, d, e, f]),
            (127, [a, b, c, d, e, f, g, h, mask @ ..]) => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), mask),
            (short, [a, b, c, d, ..]) => (u64::from(short), [a, b, c, d]),
        };
        let least = match second & 0x7f {
            126 => 126,
            127 => 65_536,
            _ => 0,
        };
        if left < least || left > i64::MAX as u64 {
            return protocol("the length of the frame is not in its shortest form");
        }
        match opcode {
            0 | TEXT | BINARY => self.check_data(opcode, left)?,
            CLOSE | PING | PONG if !is_final => return protocol("the control frame is fragmented"),
            CLOSE | PING | PONG if left > MAX_CONTROL as u64 => return protocol("the control frame is too long"),
            CLOSE | PING | PONG => {}
            _ => return protocol("the frame has an unknown opcode"),
        }
        Ok(Frame { is_final, opcode, mask, left })
    }

    fn check_data(&mut self, opcode: u8, left: u64) -> Result<(), Violation> {
        match (&mut self.message, opcode) {
            (None, 0) => return protocol("the frame continues no message"),
            (Some(_), TEXT | BINARY) => return protocol("the previous message is incomplete"),
            (Some(message), _) => message.count = message.count.saturating_add(1),
            (None, _) => {
                let (is_text, bytes, check) = (opcode == TEXT, Vec::new(), Utf8Check::default());
                self.message = Some(Box::new(Fragments { is_text, bytes, check, count: 1 }));
            }
        }
        if self.buffered().saturating_add(left) > self.max {
            return Err(Violation { code: TOO_LARGE, reason: "the message is too large" });
        }
        if self.message.as_ref().is_some_and(|message| message.count > MAX_FRAGMENTS) {
            bounds::FRAGMENTS.count();
            return Err(Violation { code: TOO_LARGE, reason: "the message has too many fragments" });
        }
        Ok(())
    }

    /// Reads the payload of a frame as far as it has arrived. Returns what is complete. The frame
    /// stays in hand while bytes are missing.
    fn read_payload(&mut self, mut frame: Frame, input: &mut &[u8]) -> Result<Option<Incoming>, Violation> {
        let taken = take(input, usize::try_from(frame.left).unwrap_or(usize::MAX));
        let is_control = frame.opcode >= CLOSE;
        let place = match &mut self.message {
            Some(message) if !is_control => &mut message.bytes,
            _ => &mut self.control,
        };
        let start = place.len();
        place.extend_from_slice(taken);
        unmask(place.get_mut(start..).unwrap_or_default(), &mut frame.mask);
        frame.left = frame.left.saturating_sub(taken.len() as u64);
        self.frame = (frame.left > 0).then_some(frame);
        if is_control {
            return if self.frame.is_some() { Ok(None) } else { self.control(frame.opcode).map(Some) };
        }
        if self.frame.is_none() && frame.is_final {
            return self.complete();
        }
        let is_valid = match self.message.as_deref_mut() {
            Some(Fragments { is_text: true, bytes, check, .. }) => check.advance(bytes),
            _ => true,
        };
        if is_valid { Ok(None) } else { not_utf8() }
    }

    fn complete(&mut self) -> Result<Option<Incoming>, Violation> {
        let Some(message) = self.message.take() else { return Ok(None) };
        let payload = match message.is_text {
            false => Payload::Bytes(message.bytes),
            true => match String::from_utf8(message.bytes) {
                Ok(text) => Payload::Text(text),
                Err(_) => return not_utf8(),
            },
        };
        Ok(Some(Incoming::Message(payload)))
    }

    fn control(&mut self, opcode: u8) -> Result<Incoming, Violation> {
        let payload = std::mem::take(&mut self.control);
        match (opcode, payload.as_slice()) {
            (PING, _) => Ok(Incoming::Ping(payload)),
            (PONG, _) => Ok(Incoming::Pong),
            (_, []) => Ok(Incoming::Close(None)),
            (_, [high, low, reason @ ..]) => {
                let code = u16::from_be_bytes([*high, *low]);
                if !may_be_sent(code) {
                    return protocol("the code of the Close frame is invalid");
                }
                match std::str::from_utf8(reason) {
                    Ok(reason) => Ok(Incoming::Close(Some((code, reason.to_owned())))),
                    Err(_) => not_utf8(),
                }
            }
            (_, [_]) => protocol("the Close frame has half a code"),
        }
    }
}

/// Removes up to `most` bytes from the front.
fn take<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    taken
}

/// How long a head is, as far as its first bytes tell.
fn head_size(known: &[u8]) -> usize {
    let Some(second) = known.get(1) else { return 2 };
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    2 + length + mask
}

/// Removes the mask, and turns it so that the mask of the next byte is first.
fn unmask(bytes: &mut [u8], mask: &mut [u8; 4]) {
    let [a, b, c, d] = *mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let turned = bytes.len() % 4;
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip([a, b, c, d, a, b, c, d]) {
        *byte ^= mask;
    }
    mask.rotate_left(turned);
}

/// Whether a client may send this code (RFC 6455, 7.4, and the registry of IANA).
pub(super) fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Decodes bytes that arrive in parts of this size. Returns what they say up to the first
/// violation, and its code.
#[cfg(any(test, fuzzing))]
pub(crate) fn decode(bytes: &[u8], part: usize) -> (Vec<String>, Option<u16>) {
    let mut decoder = Decoder::new(1_024);
    let mut found = Vec::new();
    for mut input in bytes.chunks(part) {
        loop {
            match decoder.next(&mut input) {
                Ok(Some(incoming)) => found.push(format!("{incoming:?}")),
                Ok(None) => break,
                Err(violation) => return (found, Some(violation.code)),
            }
        }
        assert!(input.is_empty() && decoder.buffered() <= 1_024);
    }
    (found, None)
}

#[cfg(test)]
mod tests;
