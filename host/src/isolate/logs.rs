//! Writes the output and the log of a guest to the host's log. Lines are cut at `limits.logLine`,
//! escaped, and limited to `limits.logRate` a second.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use super::last_line::LastLine;
use super::running_calls::RunningCalls;
use crate::call::text::escaped;
use crate::call::{IsolateId, Trace};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// The log of a module in one isolate.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    module: Arc<str>,
    generation: String,
    isolate: IsolateId,
    /// The most bytes of a line.
    line: usize,
    /// The most lines a second.
    rate: u32,
    window: Mutex<Window>,
    dropped: prometheus_client::metrics::counter::Counter,
}

struct Window {
    started: Instant,
    lines: u32,
    dropped: u64,
}

impl Log {
    pub fn new(
        module: Arc<str>,
        generation: &str,
        isolate: IsolateId,
        line: u32,
        rate: u32,
        dropped: prometheus_client::metrics::counter::Counter,
    ) -> Log {
        let window = Mutex::new(Window { started: Instant::now(), lines: 0, dropped: 0 });
        let generation = generation.chars().take(12).collect();
        Log { inner: Arc::new(Inner { module, generation, isolate, line: line as usize, rate, window, dropped }) }
    }

    /// Counts one more line and returns whether it is within the rate. A line over the rate counts
    /// as dropped.
    pub fn admits(&self) -> bool {
        matches!(self.inner.admit(), Admitted::Yes { .. })
    }

    /// Writes a line. Over the rate the line is dropped and counted, and the first line of the next
    /// second reports the number.
    pub fn line(&self, level: Level, stream: &str, trace: Option<Trace>, message: &str, fields: &[(String, String)]) {
        let Inner { module, generation, isolate, .. } = &*self.inner;
        let missed = match self.inner.admit() {
            Admitted::No => return,
            Admitted::Yes { missed } => missed,
        };
        if missed > 0 {
            tracing::warn!(target: "guest", %module, %generation, %isolate, dropped = missed, "dropped lines over limits.logRate");
        }
        let fields = fields.iter().flat_map(|(name, value)| [" ", name, "=", value]);
        let text = escaped(std::iter::once(message).chain(fields), self.inner.line);
        let trace = trace.map(|trace| trace.to_string()).unwrap_or_default();
        macro_rules! event {
            ($level:ident) => {
                tracing::$level!(target: "guest", %module, %generation, %isolate, %trace, stream, "{text}")
            };
        }
        match level {
            Level::Trace => event!(trace),
            Level::Debug => event!(debug),
            Level::Info => event!(info),
            Level::Warn => event!(warn),
            Level::Error => event!(error),
        }
    }
}

enum Admitted {
    No,
    Yes { missed: u64 },
}

impl Inner {
    fn admit(&self) -> Admitted {
        let mut window = self.window.lock();
        let mut missed = 0;
        if window.started.elapsed() >= Duration::from_secs(1) {
            missed = std::mem::take(&mut window.dropped);
            window.started = Instant::now();
            window.lines = 0;
        }
        if window.lines >= self.rate {
            window.dropped += 1;
            self.dropped.inc();
            return Admitted::No;
        }
        window.lines += 1;
        Admitted::Yes { missed }
    }
}

/// A guest's standard output or error, cut into lines.
#[derive(Clone)]
pub struct Output {
    log: Log,
    running: Arc<RunningCalls>,
    level: Level,
    stream: &'static str,
    partial: Arc<Mutex<Vec<u8>>>,
    /// Only for standard error in development.
    last: Option<Arc<Mutex<LastLine>>>,
}

impl Output {
    pub fn new(log: Log, running: Arc<RunningCalls>, level: Level, stream: &'static str) -> Output {
        Output { log, running, level, stream, partial: Arc::default(), last: None }
    }

    /// Lets [`Output::last_line`] return the last line. The lines of a panic become one.
    #[must_use]
    pub fn keeping_last_line(mut self) -> Output {
        self.last = Some(Arc::default());
        self
    }

    /// The last line, if the output keeps it and there is one. Logs what is not logged yet.
    pub fn last_line(&self) -> Option<String> {
        self.finish();
        self.last.as_ref()?.lock().get()
    }

    fn write(&self, bytes: &[u8]) {
        let mut partial = self.partial.lock();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let ends = piece.ends_with(b"\n");
            // One byte more than a line, so that the cut is marked.
            let room = (self.log.inner.line + 1).saturating_sub(partial.len());
            let piece = piece.strip_suffix(b"\n").unwrap_or(piece);
            partial.extend(piece.iter().take(room));
            if ends {
                self.flush(&mut partial);
            }
        }
    }

    fn flush(&self, partial: &mut Vec<u8>) {
        let line = String::from_utf8_lossy(partial);
        match &self.last {
            None => self.log(&line),
            Some(last) => last.lock().add(&line).iter().for_each(|text| self.log(text)),
        }
        partial.clear();
    }

    fn log(&self, line: &str) {
        self.log.line(self.level, self.stream, self.running.only_trace(), line, &[]);
    }

    /// Logs the text without a line break and the panic that are not logged yet.
    fn finish(&self) {
        let mut partial = self.partial.lock();
        if !partial.is_empty() {
            self.flush(&mut partial);
        }
        if let Some(panic) = self.last.as_ref().and_then(|last| last.lock().complete_panic()) {
            self.log(&panic);
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // The last clone writes the rest without a line break as a line.
        if Arc::strong_count(&self.partial) == 1 {
            self.finish();
        }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn wasmtime_wasi::p2::OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi::async_trait]
impl wasmtime_wasi::p2::Pollable for Output {
    async fn ready(&mut self) {}
}

impl wasmtime_wasi::p2::OutputStream for Output {
    fn write(&mut self, bytes: bytes::Bytes) -> wasmtime_wasi::p2::StreamResult<()> {
        Output::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> wasmtime_wasi::p2::StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> wasmtime_wasi::p2::StreamResult<usize> {
        Ok(64 * 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::super::stats::Stats;
    use super::*;

    #[test]
    fn text_without_a_line_break_uses_no_more_memory_than_a_line() {
        let log = Log::new("m".into(), "g", IsolateId::Master, 4, 1, Default::default());
        let output = Output::new(
            log,
            Arc::new(RunningCalls::new(Arc::new(Stats::new("m".into(), IsolateId::Master)), Arc::default())),
            Level::Info,
            "stdout",
        );
        for _ in 0..100 {
            output.write(b"x");
        }
        assert_eq!(output.partial.lock().len(), 5);
    }
}
