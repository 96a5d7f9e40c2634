//! Telling that a module is still being compiled.

use std::time::{Duration, Instant};

/// Who is told while modules are compiled.
pub trait Progress: Send + Sync {
    /// How often.
    fn every(&self) -> Duration;

    fn tell(&self, compiling: &Compiling<'_>);

    /// That one has ended that was told of.
    fn ended(&self) {}
}

/// A module that is being compiled.
#[derive(Debug)]
pub struct Compiling<'a> {
    pub module: &'a str,
    pub so_far: Duration,
    /// Which one it is, from 1.
    pub place: usize,
    /// How many there are.
    pub of: usize,
}

/// Tells the log.
#[derive(Debug)]
pub struct Logged;

impl Progress for Logged {
    fn every(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn tell(&self, compiling: &Compiling<'_>) {
        let Compiling { module, so_far, place, of } = compiling;
        tracing::info!(module, "compiling module {place} of {of}, {} s so far", so_far.as_secs());
    }
}

/// One module's turn.
pub struct Turn<'a> {
    pub progress: &'a dyn Progress,
    pub place: usize,
    pub of: usize,
}

impl Turn<'_> {
    /// Tells now and then that the work, which is compiling when it takes long, goes on.
    pub async fn during<T>(&self, module: &str, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let mut work = std::pin::pin!(work);
        let mut told = Told { progress: self.progress, any: false };
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(self.progress.every()) => {
                    told.any = true;
                    let (place, of) = (self.place, self.of);
                    self.progress.tell(&Compiling { module, so_far: begun.elapsed(), place, of });
                }
            }
        }
    }
}

/// Says that it has ended, however it does.
struct Told<'a> {
    progress: &'a dyn Progress,
    any: bool,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if self.any {
            self.progress.ended();
        }
    }
}
