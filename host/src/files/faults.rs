//! Simulates disk faults, for tests of code that writes files. Each thread has its own simulated
//! disk.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::step::Step;

/// A fault of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full at this step and has room again at the next one.
    Full { at: usize },
    /// The power fails before this step: neither this step nor a later one writes, and data that
    /// was not synced is lost.
    PowerCut { at: usize },
}

#[derive(Default)]
struct Disk {
    fault: Option<Fault>,
    steps: usize,
    /// The file that the current write creates.
    current: PathBuf,
    /// Files whose contents are not synced.
    unsynced: Vec<PathBuf>,
    /// Renames that are not synced, with the contents that the disk still has under each name.
    renamed: Vec<(PathBuf, Option<Vec<u8>>)>,
    /// Folders that are not synced.
    made: Vec<PathBuf>,
}

thread_local! {
    static DISK: RefCell<Option<Disk>> = const { RefCell::new(None) };
}

/// Runs `work` on a disk with a fault. Returns its result, and whether the fault occurred.
pub fn with<T>(fault: Fault, work: impl FnOnce() -> T) -> (T, bool) {
    DISK.set(Some(Disk { fault: Some(fault), ..Disk::default() }));
    let done = work();
    let disk = DISK.take().unwrap();
    let (Fault::Full { at } | Fault::PowerCut { at }) = fault;
    let happened = disk.steps > at;
    // The power fails at the latest when the work is done.
    if let Fault::PowerCut { .. } = fault {
        disk.lose();
    }
    (done, happened)
}

impl Disk {
    /// Leaves the files as the next start finds them after a power cut. Removed files stay removed,
    /// because the worst case is that no older copy of unsynced data is left.
    fn lose(self) {
        for file in self.unsynced {
            if file.exists() {
                fs::write(file, "").unwrap();
            }
        }
        for (name, before) in self.renamed.into_iter().rev() {
            match before {
                Some(bytes) => fs::write(name, bytes).unwrap(),
                None => drop(fs::remove_file(name)),
            }
        }
        for folder in self.made {
            let _ = fs::remove_dir_all(folder);
        }
    }

    fn step(&mut self, step: Step, path: &Path) -> io::Result<()> {
        let number = self.steps;
        self.steps += 1;
        match self.fault {
            Some(Fault::Full { at }) if number == at => return Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::PowerCut { at }) if number >= at => {
                return Err(io::Error::other("the power has failed"));
            }
            _ => {}
        }
        match step {
            Step::MakeFolder => self.made.push(path.to_owned()),
            Step::Create => {
                path.clone_into(&mut self.current);
                self.unsynced.push(path.to_owned());
            }
            Step::Write => {}
            Step::SyncFile => self.unsynced.retain(|file| file != path),
            Step::Rename => {
                self.renamed.push((path.to_owned(), fs::read(path).ok()));
                // The unsynced contents now have the new name.
                let contents = self.unsynced.iter_mut().filter(|file| **file == self.current);
                contents.for_each(|file| path.clone_into(file));
            }
            Step::SyncFolder => {
                self.renamed.retain(|(name, _)| name.parent() != Some(path));
                self.made.retain(|folder| folder.parent() != Some(path));
            }
        }
        Ok(())
    }
}

/// Counts a step, and fails it when the fault says so.
pub fn step(step: Step, path: &Path) -> io::Result<()> {
    DISK.with_borrow_mut(|disk| disk.as_mut().map_or(Ok(()), |disk| disk.step(step, path)))
}
