//! Cuts and escapes texts from guests, components and clients before they reach logs, statuses,
//! problem documents, pages and terminals.

use super::bounds;

/// The longest name that a message quotes, in bytes.
pub const NAME: usize = 128;

/// The longest message of a guest, in bytes.
pub const MESSAGE: usize = 4_096;

/// The longest report on why a module is not loaded, in bytes. It has one fault per line.
pub const REPORT: usize = 32 * 1_024;

/// Whether a character could move a terminal's cursor or change the visible order of a text.
pub fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Cuts the text if it is longer than `limit` bytes.
pub fn cut(text: String, limit: usize) -> String {
    if text.len() <= limit { text } else { shortened(&text, limit, |_| false) }
}

/// Escapes dangerous characters, line breaks included. Cuts the text if it is longer than `limit`
/// bytes.
pub fn line(text: &str, limit: usize) -> String {
    shortened(text, limit, is_dangerous)
}

/// Escapes dangerous characters but keeps line breaks. Cuts the text if it is longer than `limit`
/// bytes.
pub fn lines(text: &str, limit: usize) -> String {
    shortened(text, limit, |c| c != '\n' && is_dangerous(c))
}

/// The first line of a text, which is the reason in an error with a backtrace or further faults.
pub fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// `1 call already waits`, `2 calls already wait`.
pub fn already_waiting(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what} already waits") } else { format!("{count} {what}s already wait") }
}

/// Joins the parts and escapes them like [`line()`], but keeps tabs. Marks a cut with `…` only.
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

/// Appends a character. Returns whether it fitted into `limit`.
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
    fn one_call_is_no_plural() {
        let all = [0, 1, 2].map(|count| already_waiting(count, "call"));
        assert_eq!(all, ["0 calls already wait", "1 call already waits", "2 calls already wait"]);
    }

    #[test]
    fn dangerous_characters_are_escaped() {
        assert_eq!(escaped(["a\x1b[31mb\r\nc\td"], 100), "a\\u{1b}[31mb\\r\\nc\td");
        assert_eq!(line("a\u{9b}b\u{202e}c\u{2066}\nd", 100), "a\\u{9b}b\\u{202e}c\\u{2066}\\nd");
        assert_eq!(lines("a\u{1b}\nb\u{2028}", 100), "a\\u{1b}\nb\\u{2028}");
        assert_eq!(cut("a\u{1b}\n".into(), 100), "a\u{1b}\n");
        assert_eq!(line("grüße, שלום, 你好", 100), "grüße, שלום, 你好");
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_counts_the_missing_bytes() {
        assert_eq!(line("abcd", 4), "abcd");
        assert_eq!(line("abcde", 4), "abcd… (1 more bytes)");
        assert_eq!(line("abcäx", 4), "abc… (3 more bytes)");
        assert_eq!(line("abc\r", 4), "abc… (1 more bytes)");
        assert_eq!(cut("ä".repeat(10), 3), "ä… (18 more bytes)");
        assert!(line(&"\u{202e}".repeat(1_000_000), MESSAGE).len() < MESSAGE + 40);
    }

    #[test]
    fn the_limit_applies_to_all_parts_together() {
        assert_eq!(escaped(["abcd"], 4), "abcd");
        assert_eq!(escaped(["abcde"], 4), "abcd…");
        assert_eq!(escaped(["ab", " ", "k", "=", "v"], 4), "ab k…");
        assert_eq!(escaped(["abc", "ä"], 4), "abc…");
        assert_eq!(escaped(["abc", "\r"], 4), "abc…");
    }
}
