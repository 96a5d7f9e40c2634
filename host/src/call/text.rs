//! Texts of guests, components and clients where they go into logs, statuses, problems, pages and
//! terminals: one bound and one way to escape.

use super::bounds;

/// The most bytes of a name that a message repeats.
pub const NAME: usize = 128;

/// The most bytes of a guest's own message.
pub const MESSAGE: usize = 4_096;

/// The most bytes of all the reasons why a module is not loaded, a fault a line.
pub const REPORT: usize = 32 * 1_024;

/// Whether a character could move a terminal's cursor, or show text in another order than it has.
pub fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text, cut when it is longer than `limit` bytes.
pub fn cut(text: String, limit: usize) -> String {
    if text.len() <= limit { text } else { shortened(&text, limit, |_| false) }
}

/// The text in one line without dangerous characters, cut when it is longer than `limit` bytes.
pub fn line(text: &str, limit: usize) -> String {
    shortened(text, limit, is_dangerous)
}

/// The same for a text of several lines, which stay lines.
pub fn lines(text: &str, limit: usize) -> String {
    shortened(text, limit, |c| c != '\n' && is_dangerous(c))
}

/// The parts one after another as [`line()`] writes them, but tabs stay. The cut is only marked.
pub fn escaped<'a>(parts: impl IntoIterator<Item = &'a str>, limit: usize) -> String {
    let mut out = String::new();
    for c in parts.into_iter().flat_map(str::chars) {
        if !push(&mut out, c, c != '\t' && is_dangerous(c), limit) {
            out.push('…');
            bounds::TEXT.count();
            break;
        }
    }
    out
}

/// Whether there was room for one more character.
fn push(out: &mut String, c: char, escape: bool, limit: usize) -> bool {
    let width = if escape { c.escape_default().len() } else { c.len_utf8() };
    if out.len() + width > limit {
        return false;
    }
    if escape {
        out.extend(c.escape_default())
    } else {
        out.push(c)
    }
    true
}

fn shortened(text: &str, limit: usize, escape: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    for (at, c) in text.char_indices() {
        if !push(&mut out, c, escape(c), limit) {
            out.push_str(&format!("… ({} more bytes)", text.len() - at));
            bounds::TEXT.count();
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_characters_are_escaped() {
        assert_eq!(escaped(["a\x1b[31mb\r\nc\td"], 100), "a\\u{1b}[31mb\\r\\nc\td");
        assert_eq!(line("a\u{9b}b\u{202e}c\u{2066}\nd", 100), "a\\u{9b}b\\u{202e}c\\u{2066}\\nd");
        assert_eq!(lines("a\u{1b}\nb\u{2028}", 100), "a\\u{1b}\nb\\u{2028}");
        assert_eq!(cut("a\u{1b}\n".into(), 100), "a\u{1b}\n");
        assert_eq!(line("grüße, שלום, 你好", 100), "grüße, שלום, 你好");
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_how_much_is_missing() {
        assert_eq!(line("abcd", 4), "abcd");
        assert_eq!(line("abcde", 4), "abcd… (1 more bytes)");
        assert_eq!(line("abcäx", 4), "abc… (3 more bytes)");
        assert_eq!(line("abc\r", 4), "abc… (1 more bytes)");
        assert_eq!(cut("ä".repeat(10), 3), "ä… (18 more bytes)");
        assert!(line(&"\u{202e}".repeat(1_000_000), MESSAGE).len() < MESSAGE + 40);
    }

    #[test]
    fn parts_are_cut_together() {
        assert_eq!(escaped(["abcd"], 4), "abcd");
        assert_eq!(escaped(["abcde"], 4), "abcd…");
        assert_eq!(escaped(["ab", " ", "k", "=", "v"], 4), "ab k…");
        assert_eq!(escaped(["abc", "ä"], 4), "abc…");
        assert_eq!(escaped(["abc", "\r"], 4), "abc…");
    }
}
