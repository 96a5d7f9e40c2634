//! The bytes and the files that a module has in the folders that it may write to.
//!
//! The host counts what a guest writes, and every file that it may create, as if nothing existed
//! before and nothing was removed. When that reaches a limit, the host measures the folders, and
//! adds what is being written meanwhile.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
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

/// The folders of all modules, so that the generations of a module share what was counted.
#[derive(Debug, Default)]
pub struct Disks(Mutex<HashMap<Vec<PathBuf>, Weak<Folders>>>);

impl Disks {
    /// The usage of a generation, with its limits.
    pub fn usage(&self, outside: &Outside, limits: &Limits) -> DiskUsage {
        let paths = outside.folders.iter().filter(|folder| folder.write).map(|folder| folder.host.clone());
        self.of(paths.collect(), limits.disk, limits.files)
    }

    /// Of these folders, with `limits.disk` and `limits.files`.
    fn of(&self, paths: Vec<PathBuf>, bytes: u64, files: u32) -> DiskUsage {
        let mut all = self.0.lock();
        all.retain(|_, folders| folders.strong_count() > 0);
        let folders = all.get(&paths).and_then(Weak::upgrade).unwrap_or_else(|| {
            let folders = Arc::new(Folders { paths: paths.clone(), ..Folders::default() });
            all.insert(paths, Arc::downgrade(&folders));
            folders
        });
        let most = Counted { bytes, files: files.into() };
        let mut state = folders.state.lock();
        state.most_files = state.most_files.max(most.files);
        drop(state);
        DiskUsage { folders, most }
    }
}

/// The bytes and files of one generation.
#[derive(Debug)]
pub struct DiskUsage {
    folders: Arc<Folders>,
    most: Counted,
}

/// What is counted in the folders of a module.
#[derive(Debug, Default)]
struct Folders {
    paths: Vec<PathBuf>,
    state: Mutex<State>,
    /// When the last measurement ended and how long it took. Locked while the host measures.
    measured: AsyncMutex<Option<(Instant, Duration)>>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` before the first measurement.
    counted: Option<Counted>,
    /// What was counted and may not be written yet.
    unwritten: Counted,
    /// What was ever counted. The difference of two readings is what was counted between them.
    total: Counted,
    /// The largest `limits.files` of the generations.
    most_files: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    bytes: u64,
    files: u64,
}

impl Counted {
    /// Wraps, so that sums of readings and of their differences are right.
    fn plus(self, other: Counted) -> Counted {
        Counted { bytes: self.bytes.wrapping_add(other.bytes), files: self.files.wrapping_add(other.files) }
    }

    fn minus(self, other: Counted) -> Counted {
        Counted { bytes: self.bytes.wrapping_sub(other.bytes), files: self.files.wrapping_sub(other.files) }
    }
}

/// What is counted and about to be written. Once it is dropped, it counts as written.
#[derive(Debug)]
pub struct Reserved {
    folders: Arc<Folders>,
    what: Counted,
}

impl Reserved {
    pub fn bytes(&self) -> u64 {
        self.what.bytes
    }

    /// Adds what was counted for the same folders.
    pub fn add(&mut self, mut other: Reserved) {
        self.what = self.what.plus(std::mem::take(&mut other.what));
    }

    /// Everything except the last `left` bytes is written.
    pub fn written_except(&mut self, left: u64) {
        let left = Counted { bytes: left.min(self.what.bytes), files: 0 };
        let written = self.what.minus(left);
        self.what = left;
        let mut state = self.folders.state.lock();
        state.unwritten = state.unwritten.minus(written);
    }

    /// Returns all that is left: it is not written after all.
    pub fn release(&mut self) {
        let what = std::mem::take(&mut self.what);
        let mut state = self.folders.state.lock();
        state.unwritten = state.unwritten.minus(what);
        state.total = state.total.minus(what);
        state.counted = state.counted.map(|counted| counted.minus(what));
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.written_except(0);
    }
}

impl DiskUsage {
    /// Counts bytes and files that are about to be written. Returns `None`, and counts nothing, if
    /// they do not fit.
    pub async fn reserve(&self, bytes: u64, files: u64) -> Option<Reserved> {
        self.measured_if_needed(|room| (bytes <= room.bytes && files <= room.files).then_some(Counted { bytes, files }))
            .await
    }

    /// Counts as many bytes as fit, at most this number. Returns `None` if none do.
    pub async fn reserve_some(&self, most: u64) -> Option<Reserved> {
        self.measured_if_needed(|room| {
            let bytes = room.bytes.min(most);
            (bytes > 0).then_some(Counted { bytes, files: 0 })
        })
        .await
    }

    /// Nothing, to which more can be added.
    pub fn nothing(&self) -> Reserved {
        Reserved { folders: self.folders.clone(), what: Counted::default() }
    }

    /// Takes a part of the room now, else after a measurement.
    async fn measured_if_needed(&self, part: impl Fn(Counted) -> Option<Counted>) -> Option<Reserved> {
        if let Some(taken) = self.take(&part) {
            return Some(taken);
        }
        let mut measured = self.folders.measured.lock().await;
        // Another call may have measured while this one waited.
        if let Some(taken) = self.take(&part) {
            return Some(taken);
        }
        if let Some((ended, took)) = *measured {
            sleep_until(ended + took * PAUSE).await;
        }
        let begun = Instant::now();
        let folders = self.folders.clone();
        run_blocking(move || folders.measure()).await;
        *measured = Some((Instant::now(), begun.elapsed()));
        let taken = self.take(&part);
        if taken.is_none() {
            bounds::DISK.count();
        }
        taken
    }

    fn take(&self, part: impl Fn(Counted) -> Option<Counted>) -> Option<Reserved> {
        let mut state = self.folders.state.lock();
        let now = state.counted?;
        let room = Counted {
            bytes: self.most.bytes.saturating_sub(now.bytes),
            files: self.most.files.saturating_sub(now.files),
        };
        let what = part(room)?;
        state.counted = Some(now.plus(what));
        state.unwritten = state.unwritten.plus(what);
        state.total = state.total.plus(what);
        Some(Reserved { folders: self.folders.clone(), what })
    }
}

impl Folders {
    /// Counts what exists, and what may be written meanwhile, which may be among it.
    fn measure(&self) {
        let (begun, most) = {
            let state = self.state.lock();
            (state.total.minus(state.unwritten), state.most_files)
        };
        let found = measure(self.paths.clone(), most);
        let mut state = self.state.lock();
        state.counted = Some(found.plus(state.total.minus(begun)));
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
        let usage = Disks::default().of(vec![dir.path().to_owned()], 1_001, 5);
        assert!(usage.reserve(500, 0).await.is_none(), "601 bytes exist");
        assert!(usage.reserve(300, 1).await.is_some(), "901 bytes are counted");
        assert_eq!(usage.reserve_some(1_000).await.unwrap().bytes(), 100, "what is left");
        assert_eq!(usage.reserve_some(1_000).await.unwrap().bytes(), 400, "nothing of it was written");
        fs::remove_file(file("below/old")).unwrap();
        usage.reserve(1_000, 0).await.expect("only the link is left").release();
        assert!(usage.reserve(900, 3).await.is_some(), "the folder and the link count");
        assert!(usage.reserve(0, 4).await.is_none());
    }

    #[tokio::test]
    async fn what_is_being_written_counts_although_the_host_measures() {
        let dir = tempfile::tempdir().unwrap();
        let usage = Disks::default().of(vec![dir.path().to_owned()], 1_000, 2);
        let mut first = usage.reserve(600, 1).await.unwrap();
        assert!(usage.reserve(500, 0).await.is_none(), "no file has the 600 bytes yet");
        assert!(usage.reserve(0, 2).await.is_none(), "nor is there a file");
        first.written_except(100);
        assert!(usage.reserve(950, 0).await.is_none(), "100 bytes are not written");
        first.add(usage.reserve(900, 0).await.unwrap());
        assert!(usage.reserve(1, 0).await.is_none());
        first.release();
        assert!(usage.reserve(1_000, 2).await.is_some(), "nothing was written");
    }

    #[tokio::test]
    async fn the_generations_of_a_module_share_what_was_counted() {
        let dir = tempfile::tempdir().unwrap();
        let disks = Disks::default();
        let of = |bytes| disks.of(vec![dir.path().to_owned()], bytes, 1);
        let (old, new) = (of(1_000), of(500));
        let reserved = old.reserve(600, 0).await.unwrap();
        assert!(new.reserve(1, 0).await.is_none(), "more than its limit");
        assert!(old.reserve(400, 0).await.is_some(), "the limit of the old one");
        drop(reserved);
        drop((old, new));
        of(1);
        assert_eq!(disks.0.lock().len(), 1, "those of modules that are gone are forgotten");
    }
}
