//! Frames of clients: whole, in parts, and wrong ones.

use super::*;

/// A frame of a client, with a mask.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    let mask = [0x12, 0x34, 0xab, 0xcd];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn text(text: &str) -> Incoming {
    Incoming::Message(Payload::Text(text.to_owned()))
}

/// Decodes all bytes, which arrive in parts of this size.
fn decode(bytes: &[u8], part: usize, max: u64) -> Result<Vec<Incoming>, Violation> {
    let mut decoder = Decoder::new(max);
    let mut found = Vec::new();
    for mut input in bytes.chunks(part) {
        while let Some(incoming) = decoder.next(&mut input)? {
            found.push(incoming);
        }
        assert!(input.is_empty());
    }
    Ok(found)
}

#[track_caller]
fn assert_violation(bytes: &[u8], code: u16) {
    for part in [1, 7, 1 << 20] {
        let error = decode(bytes, part, 100).unwrap_err();
        assert_eq!(error.code, code, "{part} {}", error.reason);
    }
}

#[test]
fn messages_of_every_length_arrive_in_parts_of_any_size() {
    for length in [0, 1, 3, 4, 5, 125, 126, 127, 65_535, 65_536, 70_001] {
        let bytes: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
        let sent = [frame(0x82, &bytes), frame(0x81, "\u{e4}x".as_bytes())].concat();
        for part in [1, 2, 3, 13, 14, 1_000, 1 << 20] {
            let found = decode(&sent, part, 1 << 20).unwrap();
            assert_eq!(found, [Incoming::Message(Payload::Bytes(bytes.clone())), text("\u{e4}x")], "{length} {part}");
        }
    }
}

#[test]
fn fragments_are_one_message_and_control_frames_may_come_between_them() {
    let sent = [
        frame(0x01, "\u{20ac}".as_bytes().split_at(1).0),
        frame(0x89, b"p"),
        frame(0x00, &"\u{20ac}".as_bytes()[1..]),
        frame(0x00, b""),
        frame(0x8a, b"pong"),
        frame(0x80, b"end"),
        frame(0x88, b"\x03\xe8bye"),
    ];
    for part in [1, 5, 1_000] {
        assert_eq!(
            decode(&sent.concat(), part, 100).unwrap(),
            [
                Incoming::Ping(b"p".to_vec()),
                Incoming::Pong,
                text("\u{20ac}end"),
                Incoming::Close(Some((1000, "bye".to_owned())))
            ]
        );
    }
    assert_eq!(decode(&frame(0x88, b""), 1, 1).unwrap(), [Incoming::Close(None)]);
}

#[test]
fn frames_that_break_the_protocol_are_rejected_with_1002() {
    for bytes in [
        // Reserved bits, and reserved opcodes.
        frame(0xc1, b"a"),
        frame(0xa1, b"a"),
        frame(0x91, b"a"),
        frame(0x83, b"a"),
        frame(0x8b, b"a"),
        frame(0x8f, b""),
        // Not masked.
        vec![0x81, 1, b'a'],
        vec![0x89, 0],
        // Control frames that are fragmented or too long.
        frame(0x09, b"a"),
        frame(0x08, b""),
        frame(0x89, &[0; 126]),
        // Fragments in the wrong order.
        frame(0x80, b"a"),
        [frame(0x01, b"a"), frame(0x81, b"b")].concat(),
        [frame(0x01, b"a"), frame(0x80, b"b"), frame(0x80, b"c")].concat(),
        // Lengths that are not in their shortest form, or negative.
        vec![0x81, 0x80 | 126, 0, 125, 0, 0, 0, 0],
        vec![0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0],
        vec![0x81, 0x80 | 127, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        // Codes that nobody may send.
        frame(0x88, b"\x03"),
    ] {
        assert_violation(&bytes, 1002);
    }
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535] {
        assert_violation(&frame(0x88, &code.to_be_bytes()), 1002);
    }
    for code in [1000u16, 1003, 1007, 1014, 3000, 4999] {
        assert!(decode(&frame(0x88, &code.to_be_bytes()), 1, 1).is_ok(), "{code}");
    }
}

#[test]
fn a_text_that_is_not_utf8_is_rejected_with_1007_before_it_is_complete() {
    assert_violation(&frame(0x81, b"\xff"), 1007);
    assert_violation(&frame(0x81, b"a\xc3"), 1007);
    assert_violation(&frame(0x01, b"\xed\xa0\x80"), 1007);
    assert_violation(&[frame(0x01, b"\xc3"), frame(0x80, b"(")].concat(), 1007);
    assert_violation(&frame(0x88, b"\x03\xe8\xff"), 1007);
    // The rest of the frame never comes.
    let sent = frame(0x81, &[b"ab\xff".as_slice(), &[b'x'; 90]].concat());
    assert_eq!(decode(&sent[..10], 10, 100).unwrap_err().code, 1007);
}

#[test]
fn a_message_that_is_too_large_is_rejected_with_1009_by_its_head() {
    assert!(decode(&frame(0x82, &[0; 100]), 1, 100).is_ok());
    assert_eq!(decode(&frame(0x82, &[0; 101])[..6], 1, 100).unwrap_err().code, 1009);
    let parts = [frame(0x02, &[0; 60]), frame(0x00, &[0; 40]), frame(0x80, &[0])];
    assert_eq!(decode(&parts.concat(), 7, 100).unwrap_err().code, 1009);
    let huge = [0x82, 0x80 | 127, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0];
    assert_eq!(decode(&huge, 14, u64::MAX / 4).unwrap_err().code, 1009);
}

#[test]
fn empty_fragments_come_to_an_end() {
    let mut sent = frame(0x02, b"");
    (0..MAX_FRAGMENTS - 1).for_each(|_| sent.extend(frame(0x00, b"")));
    assert!(decode(&sent, 1 << 20, 100).is_ok());
    sent.extend(frame(0x00, b""));
    assert_eq!(decode(&sent, 1 << 20, 100).unwrap_err().code, 1009);
}

#[test]
fn random_bytes_never_panic_and_keep_at_most_the_largest_message() {
    let mut random = 7u64;
    for _ in 0..2_000 {
        let mut decoder = Decoder::new(64);
        let bytes: Vec<u8> = (0..200)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Heads are likely, so that many frames are whole.
                if random >> 62 == 0 { 0x81 } else { (random >> 40) as u8 }
            })
            .collect();
        let mut input = bytes.as_slice();
        while let Ok(Some(_)) = decoder.next(&mut input) {}
        assert!(decoder.buffered() <= 64);
    }
}

#[test]
fn a_message_has_one_number_from_its_first_byte_to_its_last() {
    let mut decoder = Decoder::new(100);
    let mut after = |bytes: &[u8]| {
        for mut byte in bytes.chunks(1) {
            while decoder.next(&mut byte).unwrap().is_some() {}
        }
        decoder.partial()
    };
    let (first, rest, ping) = (frame(0x01, b"a"), frame(0x80, b"b"), frame(0x89, b"?"));
    assert_eq!(after(&[]), None);
    let number = after(&first[..1]);
    assert!(number.is_some());
    assert_eq!((after(&first[1..]), after(&ping), after(&rest[..3])), (number, number, number));
    assert_eq!(after(&rest[3..]), None);
    let next = after(&first);
    assert!(next.is_some() && next != number);
    // A ping between messages has a number, too: half of one must not stay for ever.
    assert_eq!(after(&rest), None);
    let ping_number = after(&ping[..4]);
    assert!(ping_number.is_some() && ping_number != next);
    assert_eq!(after(&ping[4..]), None);
}
