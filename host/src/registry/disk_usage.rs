//! The bytes and the files that a module has in the folders that it may write to.
//!
//! The host counts what a guest writes, and every file that it may create, as if nothing existed
//! before and nothing was removed. When that reaches a limit, the host measures the folders. So a
//! limit holds except for what is being written while the host measures.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, sleep_until};

use super::outside::Outside;
use crate::blocking::run_blocking;
use crate::call::bounds;
use crate::config::Limits;

/// How much longer than a measurement the host waits until it measures again, so that a guest at
/// its limit keeps no thread busy.
const PAUSE: u32 = 10;

/// The bytes and files of one generation.
#[derive(Debug)]
pub struct DiskUsage {
    folders: Vec<PathBuf>,
    most: Counted,
    /// `None` before the first measurement.
    counted: Mutex<Option<Counted>>,
    /// When the last measurement ended and how long it took. Locked while the host measures.
    measured: AsyncMutex<Option<(Instant, Duration)>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    bytes: u64,
    files: u64,
}

impl DiskUsage {
    pub fn of(outside: &Outside, limits: &Limits) -> DiskUsage {
        let folders = outside.folders.iter().filter(|folder| folder.write).map(|folder| folder.host.clone());
        DiskUsage::new(folders.collect(), limits.disk, limits.files)
    }

    /// Of these folders, with `limits.disk` and `limits.files`.
    fn new(folders: Vec<PathBuf>, bytes: u64, files: u32) -> DiskUsage {
        let most = Counted { bytes, files: files.into() };
        DiskUsage { folders, most, counted: Mutex::default(), measured: AsyncMutex::default() }
    }

    /// Counts bytes and files that are about to be written. Returns false, and counts nothing, if
    /// they do not fit.
    pub async fn reserve(&self, bytes: u64, files: u64) -> bool {
        self.measured_if_needed(|| self.take(bytes, files).then_some(())).await.is_some()
    }

    /// Counts as many bytes as fit, at most this number. Returns 0 if none do.
    pub async fn reserve_some(&self, most: u64) -> u64 {
        self.measured_if_needed(|| Some(self.take_some(most)).filter(|taken| *taken > 0)).await.unwrap_or(0)
    }

    /// Takes something now, else after a measurement.
    async fn measured_if_needed<T>(&self, take: impl Fn() -> Option<T>) -> Option<T> {
        if let Some(taken) = take() {
            return Some(taken);
        }
        let mut measured = self.measured.lock().await;
        // Another call may have measured while this one waited.
        if let Some(taken) = take() {
            return Some(taken);
        }
        if let Some((ended, took)) = *measured {
            sleep_until(ended + took * PAUSE).await;
        }
        let begun = Instant::now();
        let (folders, most) = (self.folders.clone(), self.most.files);
        let found = run_blocking(move || measure(folders, most)).await;
        *self.counted.lock() = Some(found);
        *measured = Some((Instant::now(), begun.elapsed()));
        let taken = take();
        if taken.is_none() {
            bounds::DISK.count();
        }
        taken
    }

    /// Returns bytes that were not written after all.
    pub fn release(&self, bytes: u64) {
        if let Some(counted) = &mut *self.counted.lock() {
            counted.bytes = counted.bytes.saturating_sub(bytes);
        }
    }

    fn take_some(&self, most: u64) -> u64 {
        let mut counted = self.counted.lock();
        let Some(counted) = &mut *counted else { return 0 };
        let taken = self.most.bytes.saturating_sub(counted.bytes).min(most);
        counted.bytes += taken;
        taken
    }

    fn take(&self, bytes: u64, files: u64) -> bool {
        let mut counted = self.counted.lock();
        let Some(now) = *counted else { return false };
        let after = Counted { bytes: now.bytes.saturating_add(bytes), files: now.files.saturating_add(files) };
        let fits = after.bytes <= self.most.bytes && after.files <= self.most.files;
        if fits {
            *counted = Some(after);
        }
        fits
    }
}

/// Counts the files below folders, without following links, and stops beyond `most` files. What
/// cannot be read does not count.
fn measure(mut folders: Vec<PathBuf>, most: u64) -> Counted {
    let mut found = Counted::default();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            found.files += 1;
            if found.files > most {
                return found;
            }
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => found.bytes = found.bytes.saturating_add(metadata.len()),
                Err(_) => {}
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_removed_counts_no_longer_once_the_limit_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        fs::create_dir(file("below")).unwrap();
        fs::write(file("below/old"), [0; 600]).unwrap();
        std::os::unix::fs::symlink("/", file("link")).unwrap();
        // The folder, the file and the link, whose size is that of its target.
        let usage = DiskUsage::new(vec![dir.path().to_owned()], 1_001, 5);
        assert!(!usage.reserve(500, 0).await, "601 bytes exist");
        assert!(usage.reserve(300, 1).await, "901 bytes are counted");
        assert_eq!(usage.reserve_some(1_000).await, 100, "what is left");
        assert_eq!(usage.reserve_some(1_000).await, 400, "nothing of it was written");
        fs::remove_file(file("below/old")).unwrap();
        assert!(usage.reserve(1_000, 0).await, "only the link is left");
        usage.release(1_000);
        assert!(usage.reserve(900, 3).await && !usage.reserve(0, 4).await, "the folder and the link count");
    }
}
