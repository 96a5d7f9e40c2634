//! The check of a text that arrives in parts.

/// How much of a text is valid UTF-8 so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Utf8Check {
    /// The bytes that are valid. At most three bytes of an unfinished character follow.
    valid: usize,
}

impl Utf8Check {
    /// Checks the bytes that are new. Returns false if no further bytes make the text valid.
    pub(super) fn advance(&mut self, text: &[u8]) -> bool {
        match std::str::from_utf8(text.get(self.valid..).unwrap_or_default()) {
            Ok(_) => {
                self.valid = text.len();
                true
            }
            Err(error) => {
                self.valid = self.valid.saturating_add(error.valid_up_to());
                error.error_len().is_none()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_may_be_cut_between_parts() {
        let text = "a\u{e4}\u{20ac}\u{1f600}".as_bytes();
        let mut check = Utf8Check::default();
        for end in 0..=text.len() {
            assert!(check.advance(&text[..end]), "{end}");
        }
    }

    #[test]
    fn an_invalid_byte_is_found_at_once() {
        for text in [&b"a\xff"[..], b"\xc3(", b"\xed\xa0\x80", b"\xf4\x90"] {
            let mut check = Utf8Check::default();
            let results: Vec<bool> = (1..=text.len()).map(|end| check.advance(&text[..end])).collect();
            assert!(results.contains(&false), "{text:?} {results:?}");
        }
    }
}
