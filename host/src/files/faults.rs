//! Failures of a disk on demand, for the tests of whatever writes files. Each thread has its own
//! disk.

use std::cell::RefCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::step::Step;

/// What is to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full at this step, and has room again at the next.
    Full { at: usize },
    /// The power goes at this step: nothing is written any more, and what was not synced is lost.
    PowerCut { at: usize },
}

#[derive(Default)]
struct Disk {
    fault: Option<Fault>,
    steps: usize,
    /// The file that is being written.
    current: PathBuf,
    /// Files whose contents are in memory only.
    unsynced: Vec<PathBuf>,
    /// Names that are in memory only, with what the disk still has under them.
    renamed: Vec<(PathBuf, Option<Vec<u8>>)>,
    /// Folders that are in memory only.
    made: Vec<PathBuf>,
}

thread_local! {
    static DISK: RefCell<Option<Disk>> = const { RefCell::new(None) };
}

/// Does something on a disk with a fault. Returns what it returned, and whether the fault came to
/// pass.
pub fn with<T>(fault: Fault, work: impl FnOnce() -> T) -> (T, bool) {
    DISK.set(Some(Disk { fault: Some(fault), ..Disk::default() }));
    let done = work();
    let disk = DISK.take().unwrap();
    let (Fault::Full { at } | Fault::PowerCut { at }) = fault;
    let happened = disk.steps > at;
    // At the latest it goes when everything is done.
    if let Fault::PowerCut { .. } = fault {
        disk.lose();
    }
    (done, happened)
}

impl Disk {
    /// What the next start finds. Removals count as done: they are the worst for what was not
    /// synced.
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
                return Err(io::Error::other("the power is gone"));
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
                // The contents go with the name.
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

/// Fails when it is to.
pub fn step(step: Step, path: &Path) -> io::Result<()> {
    DISK.with_borrow_mut(|disk| disk.as_mut().map_or(Ok(()), |disk| disk.step(step, path)))
}
