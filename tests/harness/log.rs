//! The log of all hosts, as text. All tests of the process share it, so a test must look for names
//! that no other test uses.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};

use tracing_subscriber::fmt::MakeWriter;

static LINES: LazyLock<Arc<Mutex<Vec<u8>>>> = LazyLock::new(|| {
    let lines = Arc::<Mutex<Vec<u8>>>::default();
    let writer = Writer(lines.clone());
    tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::DEBUG).with_writer(writer).init();
    lines
});

#[derive(Clone)]
struct Writer(Arc<Mutex<Vec<u8>>>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Writer {
    type Writer = Writer;

    fn make_writer(&self) -> Writer {
        self.clone()
    }
}

pub struct Log;

impl Log {
    pub fn capture() -> Log {
        LazyLock::force(&LINES);
        Log
    }

    /// Returns the lines that contain all of `words`.
    pub fn lines(&self, words: &[&str]) -> Vec<String> {
        let text = LINES.lock().unwrap();
        let text = String::from_utf8_lossy(&text);
        text.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned).collect()
    }

    /// Returns up to 40 lines that follow the first line with all of `words`.
    pub fn following(&self, words: &[&str]) -> Vec<String> {
        let text = LINES.lock().unwrap();
        let text = String::from_utf8_lossy(&text);
        let from = text.lines().skip_while(|line| !words.iter().all(|word| line.contains(word)));
        from.skip(1).take(40).map(str::to_owned).collect()
    }

    pub fn contains(&self, words: &[&str]) -> bool {
        !self.lines(words).is_empty()
    }
}
