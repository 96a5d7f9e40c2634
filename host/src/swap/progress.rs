//! Reporting that a module is still being compiled.

use std::time::{Duration, Instant};

/// Receives reports while modules are compiled.
pub trait Progress: Send + Sync {
    /// The time between two reports.
    fn interval(&self) -> Duration;

    fn report(&self, compiling: &Compiling<'_>);

    /// A module that was reported at least once is done.
    fn finished(&self) {}
}

/// A module that is being compiled.
#[derive(Debug)]
pub struct Compiling<'a> {
    pub module: &'a str,
    pub elapsed: Duration,
    /// The position of the module among those that are loaded, from 1.
    pub index: usize,
    /// How many modules are loaded.
    pub total: usize,
}

/// Writes the reports to the log.
#[derive(Debug)]
pub struct LogProgress;

impl Progress for LogProgress {
    fn interval(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn report(&self, compiling: &Compiling<'_>) {
        let Compiling { module, elapsed, index, total } = compiling;
        tracing::info!(module, "compiling module {index} of {total}, {} s so far", elapsed.as_secs());
    }
}

/// Reports the progress of one module.
pub struct CompileReporter<'a> {
    pub progress: &'a dyn Progress,
    pub index: usize,
    pub total: usize,
}

impl CompileReporter<'_> {
    /// Runs `work`, and reports at each interval that it still runs. Only compiling takes that
    /// long.
    pub async fn report_during<T>(&self, module: &str, work: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let mut work = std::pin::pin!(work);
        let mut guard = FinishedGuard { progress: self.progress, reported: false };
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(self.progress.interval()) => {
                    guard.reported = true;
                    let (index, total) = (self.index, self.total);
                    self.progress.report(&Compiling { module, elapsed: started.elapsed(), index, total });
                }
            }
        }
    }
}

/// Calls [`Progress::finished`] when the work ends or is cancelled.
struct FinishedGuard<'a> {
    progress: &'a dyn Progress,
    reported: bool,
}

impl Drop for FinishedGuard<'_> {
    fn drop(&mut self) {
        if self.reported {
            self.progress.finished();
        }
    }
}
