//! The lines of several processes in one terminal. A thread writes them, so that a terminal that
//! does not keep up delays no process: then lines are lost, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

use crate::terminal::print;

/// The most lines that wait for the terminal.
const QUEUE: usize = 4_096;

/// The most bytes of a line. A longer one is written as several.
const MAX_LINE: u64 = 64 << 10;

/// How long the end waits for a terminal that does not keep up.
const LAST_LINES: Duration = Duration::from_secs(2);

/// Where processes write their lines.
#[derive(Clone)]
pub struct Lines {
    queue: SyncSender<String>,
    lost: Arc<AtomicUsize>,
    width: usize,
}

/// The thread that writes.
pub struct Writer(JoinHandle<()>);

impl Lines {
    /// `width` is that of the longest name.
    pub fn start(width: usize) -> std::io::Result<(Lines, Writer)> {
        let (all, lines) = Lines::new(width);
        let counted = all.lost.clone();
        let thread = std::thread::Builder::new().name("lines".to_owned()).spawn(move || {
            while let Ok(line) = lines.recv() {
                print(&line);
                match counted.swap(0, Relaxed) {
                    0 => {}
                    lost => print(&format!("{lost} lines were lost, because this terminal did not keep up\n")),
                }
            }
        })?;
        Ok((all, Writer(thread)))
    }

    /// The second value receives the lines.
    fn new(width: usize) -> (Lines, Receiver<String>) {
        let (queue, lines) = sync_channel(QUEUE);
        (Lines { queue, lost: Arc::default(), width }, lines)
    }

    /// Writes a line of a process.
    pub fn say(&self, name: &str, text: &str) {
        let line = format!("{name:<width$} | {text}\n", width = self.width);
        if let Err(TrySendError::Full(_)) = self.queue.try_send(line) {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Writes what a process writes, until it closes the pipe.
    pub async fn copy(self, name: String, from: impl AsyncRead + Unpin) {
        let mut reader = BufReader::new(from);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).await;
            if !read.is_ok_and(|size| size > 0) {
                return;
            }
            self.say(&name, String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        }
    }
}

impl Writer {
    /// Waits until the terminal has every line, or for two seconds. Drop all [`Lines`] first.
    pub fn finish(self) {
        let end = Instant::now() + LAST_LINES;
        while !self.0.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_that_is_too_long_becomes_several() {
        let (lines, written) = Lines::new(5);
        let most = usize::try_from(MAX_LINE).unwrap();
        let text = format!("{}\n{}\nend", "a".repeat(most - 1), "b".repeat(most + 1));
        lines.copy("id".to_owned(), text.as_bytes()).await;
        let sizes: Vec<usize> = written.iter().map(|line| line.len() - "id    | \n".len()).collect();
        assert_eq!(sizes, [most - 1, most, 1, 3]);
    }

    #[test]
    fn lines_beyond_the_queue_are_lost_and_counted() {
        let (lines, written) = Lines::new(0);
        (0..QUEUE).for_each(|number| lines.say("id", &number.to_string()));
        assert_eq!(lines.lost.load(Relaxed), 0);
        lines.say("id", "one too many");
        assert_eq!(lines.lost.load(Relaxed), 1);
        assert_eq!(written.try_iter().count(), QUEUE);
    }
}
