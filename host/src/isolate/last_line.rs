//! In development, the last line that an instance wrote to standard error, which is the best
//! explanation of its crash.

use crate::call::text::{MESSAGE, cut};

/// A panic in Rust begins with such a line, which ends with the position in the source.
const PANIC: (&str, &str) = ("thread '", " panicked at ");

/// The advice below the panic. The host gives guests no such variable.
const ADVICE: &str = "note: run with `RUST_BACKTRACE=1`";

/// The most lines of a panic's message.
const PANIC_LINES: usize = 32;

/// The last line of an output. The lines of a panic count as one.
#[derive(Debug, Default)]
pub struct LastLine {
    line: String,
    /// The number of lines of the panic that `line` is, until the panic is complete.
    panic_lines: usize,
}

impl LastLine {
    /// Adds a line. Returns the text to log now: nothing for an empty line, and the whole panic
    /// when it is complete.
    pub fn add(&mut self, line: &str) -> Option<String> {
        let line = line.trim_end();
        if line.is_empty() {
            return None;
        }
        if line.starts_with(ADVICE) {
            return self.complete_panic();
        }
        if let Some(at) = line.find(PANIC.1).filter(|_| line.starts_with(PANIC.0)) {
            let earlier = self.complete_panic();
            // Without the name of the thread: every instance has only one.
            self.line = cut(line.get(at + 1..).unwrap_or(line).to_owned(), MESSAGE);
            self.panic_lines = 1;
            return earlier;
        }
        if self.panic_lines == 0 {
            self.line = cut(line.to_owned(), MESSAGE);
            return Some(line.to_owned());
        }
        self.line = cut(format!("{} {}", self.line, line.trim_start()), MESSAGE);
        self.panic_lines += 1;
        if self.panic_lines > PANIC_LINES { self.complete_panic() } else { None }
    }

    /// Returns the panic whose lines were not logged yet.
    pub fn complete_panic(&mut self) -> Option<String> {
        (std::mem::take(&mut self.panic_lines) > 0).then(|| self.line.clone())
    }

    /// The last line, if there is one.
    pub fn get(&self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.line.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds lines, and returns what is logged.
    fn logged(last: &mut LastLine, text: &str) -> Vec<String> {
        text.lines().filter_map(|line| last.add(line)).collect()
    }

    #[test]
    fn a_panic_is_one_line_without_advice() {
        let mut last = LastLine::default();
        let panic = "\nthread '<unnamed>' (1) panicked at src/lib.rs:9:5:\nassertion `left == right` failed\n  left: 1\n \
                     right: 2\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
        let line = "panicked at src/lib.rs:9:5: assertion `left == right` failed left: 1 right: 2";
        assert_eq!(logged(&mut last, &format!("before\n{panic}after\n")), ["before", line, "after"]);
        assert_eq!(last.get(), Some("after".to_owned()));
        assert!(logged(&mut last, "thread 'x' panicked at a.rs:1:1:\nboom\n").is_empty(), "it is not complete");
        assert_eq!(last.get(), Some("panicked at a.rs:1:1: boom".to_owned()));
        assert_eq!((last.complete_panic(), last.complete_panic()), (last.get(), None));
    }

    #[test]
    fn a_panic_without_an_end_is_bounded() {
        let mut last = LastLine::default();
        last.add("thread 'x' panicked at a.rs:1:1:");
        let long = "x".repeat(MESSAGE);
        let logged: Vec<String> = (0..2 * PANIC_LINES).filter_map(|_| last.add(&long)).collect();
        assert!(logged[0].len() < MESSAGE + 40, "{}", logged[0].len());
        assert_eq!(logged.len(), PANIC_LINES + 1, "later lines are logged at once");
        assert!(LastLine::default().get().is_none());
    }
}
