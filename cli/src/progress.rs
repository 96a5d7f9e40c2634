//! A line at the bottom of the terminal that says what is being compiled. The log goes above it.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use fanfare::tooling::{Compiling, Logged, Progress};

/// Erases what stands in the line of the cursor.
const ERASE: &str = "\r\x1b[K";

/// The line, and the way to the terminal for everything else.
#[derive(Clone)]
pub struct Line(Arc<Mutex<Terminal>>);

struct Terminal {
    out: Box<dyn Write + Send>,
    is_drawn: bool,
}

impl Line {
    /// On standard error, if that is a terminal.
    pub fn on_terminal() -> Option<Line> {
        io::stderr().is_terminal().then(|| Line::on(io::stderr()))
    }

    fn on(out: impl Write + Send + 'static) -> Line {
        Line(Arc::new(Mutex::new(Terminal { out: Box::new(out), is_drawn: false })))
    }
}

/// The line if there is a terminal for it, else the log.
pub fn progress(line: Option<Line>) -> Arc<dyn Progress> {
    match line {
        Some(line) => Arc::new(line),
        None => Arc::new(Logged),
    }
}

impl Progress for Line {
    fn every(&self) -> Duration {
        Duration::from_millis(100)
    }

    fn tell(&self, compiling: &Compiling<'_>) {
        let Compiling { module, so_far, place, of } = compiling;
        let text = format!("compiling {module}, module {place} of {of}: {:.1} s", so_far.as_secs_f64());
        let mut terminal = self.0.lock();
        terminal.is_drawn = true;
        // In one line, however narrow: it wraps neither now nor when it is erased. Whoever reads may have left.
        _ = write!(terminal.out, "{ERASE}\x1b[?7l{text}\x1b[?7h").and_then(|()| terminal.out.flush());
    }

    fn ended(&self) {
        self.0.lock().erase();
    }
}

impl Terminal {
    fn erase(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            _ = self.out.write_all(ERASE.as_bytes()).and_then(|()| self.out.flush());
        }
    }
}

/// For the log: the line of progress is gone until it is told next.
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

    /// A terminal that keeps what it gets.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn it_is_drawn_in_place_and_gives_way_to_the_log() {
        let kept = Kept::default();
        let mut line = Line::on(kept.clone());
        let tell = |line: &Line, tenths: u64| {
            line.tell(&Compiling { module: "flags", so_far: Duration::from_millis(tenths * 100), place: 2, of: 5 });
        };
        line.write_all(b"before\n").unwrap();
        tell(&line, 1);
        tell(&line, 12);
        line.write_all(b"log\n").unwrap();
        line.write_all(b"more\n").unwrap();
        tell(&line, 13);
        line.ended();
        line.ended();
        let drawn = |time| format!("{ERASE}\x1b[?7lcompiling flags, module 2 of 5: {time} s\x1b[?7h");
        let expected = format!("before\n{}{}{ERASE}log\nmore\n{}{ERASE}", drawn("0.1"), drawn("1.2"), drawn("1.3"));
        assert_eq!(String::from_utf8(kept.0.lock().clone()).unwrap(), expected);
    }
}
