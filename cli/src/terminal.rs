//! Prints all text of the program. Escapes control characters, because parts of it come from
//! components, guests and file names.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::OnceLock;

use fanfare::tooling::text::is_dangerous;

/// Prints to standard output. A reader that has closed the pipe is not an error.
pub fn print(text: &str) {
    let _ = io::stdout().lock().write_all(visible(text).as_bytes());
    let _ = io::stdout().flush();
}

/// Prints the error of a failed command, and returns the exit code.
pub fn exit_code(result: Result<ExitCode, impl Display>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprint(&format!("error: {error}\n"));
        ExitCode::FAILURE
    })
}

/// Runs before each text on standard error.
static BEFORE: OnceLock<fn()> = OnceLock::new();

/// Sets what runs before each text on standard error: it erases the progress line.
pub fn set_before(before: fn()) {
    _ = BEFORE.set(before);
}

/// Prints to standard error.
pub fn eprint(text: &str) {
    if let Some(before) = BEFORE.get() {
        before();
    }
    let _ = io::stderr().lock().write_all(visible(text).as_bytes());
}

/// Escapes characters that could move the cursor or reorder the text. Escapes them as JSON does, so
/// that JSON keeps its meaning.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut utf16 = [0; 2];
    for (at, c) in text.char_indices() {
        let ends_line = c == '\r' && text.get(at + 1..).is_some_and(|rest| rest.starts_with('\n'));
        if is_dangerous(c) && !matches!(c, '\n' | '\t') && !ends_line {
            c.encode_utf16(&mut utf16).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(visible("a\tb\r\nc grüße 你好\n"), "a\tb\r\nc grüße 你好\n");
        assert_eq!(visible("\u{1b}[2J\r\u{7f}\u{9b}\u{202e}x"), "\\u001b[2J\\u000d\\u007f\\u009b\\u202ex");
        let json = serde_json::json!({ "name": "a\u{9b}\u{202e}b" }).to_string();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&visible(&json)).unwrap()["name"], "a\u{9b}\u{202e}b");
    }
}
