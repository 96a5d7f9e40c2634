//! The progress line: shows at the bottom of the terminal what is being compiled. The log and the
//! other texts of the program scroll above it.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::terminal::{eprint, set_before};
use fanfare::{Compiling, LogProgress, Progress};

/// Erases the line of the cursor.
const ERASE: &str = "\r\x1b[K";

/// The progress line. The log must be written through it too.
#[derive(Clone)]
pub struct Line(Arc<Mutex<Terminal>>);

struct Terminal {
    out: Box<dyn Write + Send>,
    is_drawn: bool,
    /// How many programs write to the terminal, so that the line is not drawn.
    pauses: usize,
}

/// The line on standard error.
static ON_TERMINAL: OnceLock<Line> = OnceLock::new();

/// Hides the line until it is dropped.
pub struct Pause(Line);

/// Hides the line on standard error, if there is one, while another program may write there.
pub fn pause() -> Option<Pause> {
    ON_TERMINAL.get().map(Line::pause)
}

fn erase() {
    if let Some(line) = ON_TERMINAL.get() {
        line.0.lock().erase();
    }
}

impl Line {
    /// A line on standard error. `None` if that is no terminal.
    pub fn on_terminal() -> Option<Line> {
        io::stderr().is_terminal().then(|| {
            set_before(erase);
            ON_TERMINAL.get_or_init(|| Line::on(io::stderr())).clone()
        })
    }

    fn pause(&self) -> Pause {
        let mut terminal = self.0.lock();
        terminal.erase();
        terminal.pauses += 1;
        Pause(self.clone())
    }

    fn on(out: impl Write + Send + 'static) -> Line {
        Line(Arc::new(Mutex::new(Terminal { out: Box::new(out), is_drawn: false, pauses: 0 })))
    }
}

/// Reports progress in the line, or in the log if there is no terminal.
pub fn progress(line: Option<Line>) -> Arc<dyn Progress> {
    match line {
        Some(line) => Arc::new(line),
        None => Arc::new(LogProgress),
    }
}

/// Reports progress of a command that writes no log: in the line, or in lines of standard error if
/// that is no terminal.
pub fn without_log() -> Arc<dyn Progress> {
    match Line::on_terminal() {
        Some(line) => Arc::new(line),
        None => Arc::new(Lines),
    }
}

struct Lines;

impl Progress for Lines {
    fn interval(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn report(&self, compiling: &Compiling<'_>) {
        eprint(&format!("{}: compiling, {} s so far\n", compiling.module, compiling.elapsed.as_secs()));
    }
}

impl Progress for Line {
    fn interval(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn report(&self, compiling: &Compiling<'_>) {
        let Compiling { module, elapsed, index, total } = compiling;
        let text = format!("compiling {module}, module {index} of {total}: {:.1} s", elapsed.as_secs_f64());
        let mut terminal = self.0.lock();
        if terminal.pauses > 0 {
            return;
        }
        terminal.is_drawn = true;
        // Turns off wrapping, so that the text stays in one line and can be erased. An error means
        // that the terminal is closed.
        _ = write!(terminal.out, "{ERASE}\x1b[?7l{text}\x1b[?7h").and_then(|()| terminal.out.flush());
    }

    fn finished(&self) {
        self.0.lock().erase();
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.0.0.lock().pauses -= 1;
    }
}

impl Terminal {
    fn erase(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            _ = self.out.write_all(ERASE.as_bytes()).and_then(|()| self.out.flush());
        }
    }
}

/// Writes the log: erases the progress line first. The next report draws it again.
impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut terminal = self.0.lock();
        terminal.erase();
        terminal.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A terminal that records everything written to it.
    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<u8>>>);

    impl Write for Recorder {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_line_is_hidden_while_another_program_writes() {
        let recorder = Recorder::default();
        let line = Line::on(recorder.clone());
        let compiling = Compiling { module: "flags", elapsed: Duration::from_secs(1), index: 1, total: 1 };
        let (first, second) = (line.pause(), line.pause());
        line.report(&compiling);
        drop(first);
        line.report(&compiling);
        assert!(recorder.0.lock().is_empty(), "one of two programs still writes");
        drop(second);
        line.report(&compiling);
        let drawn = recorder.0.lock().clone();
        assert!(String::from_utf8_lossy(&drawn).contains("compiling flags"));
        let pause = line.pause();
        assert_eq!(recorder.0.lock().strip_prefix(&drawn[..]), Some(ERASE.as_bytes()), "the line is erased");
        drop(pause);
    }

    #[test]
    fn the_line_is_redrawn_in_place_below_the_log() {
        let recorder = Recorder::default();
        let mut line = Line::on(recorder.clone());
        let tell = |line: &Line, tenths: u64| {
            let elapsed = Duration::from_millis(tenths * 100);
            line.report(&Compiling { module: "flags", elapsed, index: 2, total: 5 });
        };
        line.write_all(b"before\n").unwrap();
        tell(&line, 1);
        tell(&line, 12);
        line.write_all(b"log\n").unwrap();
        line.write_all(b"more\n").unwrap();
        tell(&line, 13);
        line.finished();
        line.finished();
        let drawn = |time| format!("{ERASE}\x1b[?7lcompiling flags, module 2 of 5: {time} s\x1b[?7h");
        let expected = format!("before\n{}{}{ERASE}log\nmore\n{}{ERASE}", drawn("0.1"), drawn("1.2"), drawn("1.3"));
        assert_eq!(String::from_utf8(recorder.0.lock().clone()).unwrap(), expected);
    }
}
