//! Compiled functions on disk, so that a component of which some functions changed compiles only
//! those.
//!
//! Cranelift asks [`Functions`] for the machine code of each function, by a hash of all that the
//! code depends on. Each compilation writes the functions that it compiled to one file, a pack. A
//! later one reads the packs of the same compiler, and marks those that it used; [`trim`] removes
//! the packs that were not used for the longest time.
//!
//! A pack is machine code that the host runs, like an artefact. So it lies in the same folder, and
//! a function is used only when its bytes match the digest beside them. Otherwise it is compiled
//! again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::files::{PRIVATE, hex, write_whole};

/// The extension of packs.
const EXTENSION: &str = "functions";

/// The most packs in a folder. The least recently used are removed.
pub const PACKS: usize = 64;

/// The first bytes of a pack. The last one is the version of the format.
const MAGIC: &[u8; 8] = b"ffpack\0\x01";

/// The bytes before the rows: the magic, the number of rows, and the digest of the rows.
const HEAD: usize = 8 + 8 + SUM;

/// The bytes of a SHA-256.
const SUM: usize = 32;

/// The bytes of a row: key, offset, length and digest of a function.
const ROW: usize = SUM + 8 + 8 + SUM;

type Key = [u8; SUM];

/// How many functions of a component were compiled, and how many were reused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FunctionCounts {
    pub compiled: u64,
    pub reused: u64,
}

impl fmt::Display for FunctionCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} compiled, {} reused", self.compiled, self.reused)
    }
}

impl FunctionCounts {
    /// Reads the text of its `Display`.
    pub fn parse(text: &str) -> Option<FunctionCounts> {
        let (compiled, rest) = text.split_once(" compiled, ")?;
        let reused = rest.strip_suffix(" reused")?;
        Some(FunctionCounts { compiled: compiled.parse().ok()?, reused: reused.parse().ok()? })
    }
}

/// The functions of one compilation: those of the packs, and those that it compiles.
#[derive(Debug)]
pub struct Functions {
    dir: PathBuf,
    /// What a function depends on besides its code.
    compatibility: u64,
    /// The most bytes of all packs together.
    size: u64,
    /// The newest first, because an older one may have a damaged copy of a function.
    packs: Vec<Pack>,
    added: Mutex<Added>,
    compiled: AtomicU64,
    reused: AtomicU64,
}

#[derive(Debug, Default)]
struct Added {
    functions: HashMap<Key, Vec<u8>>,
    bytes: u64,
}

#[derive(Debug)]
struct Pack {
    file: File,
    rows: HashMap<Key, Row>,
    used: AtomicBool,
}

/// Where a function is in its pack, and its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    offset: u64,
    length: u64,
    sum: Key,
}

impl Functions {
    /// Opens the packs of a folder that belong to this compiler. All packs together may have `size`
    /// bytes.
    pub fn open(dir: &Path, compatibility: u64, size: u64) -> Functions {
        let name = prefix(compatibility);
        let found = packs_in(dir).unwrap_or_default();
        let ours = found.iter().filter(|found| found.path.file_name().is_some_and(|file| starts(file, &name)));
        // A pack that cannot be read is as good as none: its functions are compiled again.
        let packs = ours.rev().take(PACKS).filter_map(|found| Pack::open(&found.path, size)).collect();
        Functions {
            dir: dir.to_owned(),
            compatibility,
            size,
            packs,
            added: Mutex::default(),
            compiled: AtomicU64::new(0),
            reused: AtomicU64::new(0),
        }
    }

    pub fn counts(&self) -> FunctionCounts {
        FunctionCounts { compiled: self.compiled.load(Relaxed), reused: self.reused.load(Relaxed) }
    }

    /// Marks the packs that were used, and writes the functions that were compiled to a new one.
    pub fn save(&self) -> io::Result<()> {
        for pack in self.packs.iter().filter(|pack| pack.used.load(Relaxed)) {
            // If that fails, the only effect is that the pack is removed earlier.
            let _ = pack.file.set_modified(SystemTime::now());
        }
        let added = std::mem::take(&mut *self.added.lock());
        let bytes = (added.functions.len() as u64).saturating_mul(ROW as u64).saturating_add(added.bytes);
        if added.functions.is_empty() || bytes.saturating_add(HEAD as u64) > self.size {
            return Ok(());
        }
        let (name, bytes) = packed(&added.functions);
        let file = format!("{}{name}.{EXTENSION}", prefix(self.compatibility));
        write_whole(&self.dir.join(file), &bytes, PRIVATE)
    }
}

impl wasmtime::CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let key = key.try_into().ok()?;
        let code = self.packs.iter().find_map(|pack| pack.get(key))?;
        self.reused.fetch_add(1, Relaxed);
        Some(Cow::Owned(code))
    }

    fn insert(&self, key: &[u8], code: Vec<u8>) -> bool {
        self.compiled.fetch_add(1, Relaxed);
        let Ok(key) = key.try_into() else { return false };
        let mut added = self.added.lock();
        let bytes = added.bytes.saturating_add(code.len() as u64);
        if bytes > self.size {
            return false;
        }
        if added.functions.insert(key, code).is_none() {
            added.bytes = bytes;
        }
        true
    }
}

impl Pack {
    fn open(path: &Path, most: u64) -> Option<Pack> {
        let file = File::open(path).ok()?;
        let length = file.metadata().ok()?.len();
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0).ok()?;
        let (magic, rest) = head.split_first_chunk::<8>()?;
        let (count, sum) = rest.split_first_chunk::<8>()?;
        let table = u64::from_le_bytes(*count).checked_mul(ROW as u64)?;
        if magic != MAGIC || length > most || table > length {
            return None;
        }
        let mut rows = vec![0; usize::try_from(table).ok()?];
        file.read_exact_at(&mut rows, HEAD as u64).ok()?;
        if Sha256::digest(&rows).as_slice() != sum {
            return None;
        }
        let rows = rows.chunks_exact(ROW).filter_map(Row::read).collect();
        Some(Pack { file, rows, used: AtomicBool::new(false) })
    }

    fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let row = self.rows.get(key)?;
        let mut code = Vec::new();
        // A row has the digest of the table, so that its length is that of a function.
        code.try_reserve_exact(usize::try_from(row.length).ok()?).ok()?;
        code.resize(usize::try_from(row.length).ok()?, 0);
        self.file.read_exact_at(&mut code, row.offset).ok()?;
        if Sha256::digest(&code).as_slice() != row.sum {
            return None;
        }
        self.used.store(true, Relaxed);
        Some(code)
    }
}

impl Row {
    fn read(bytes: &[u8]) -> Option<(Key, Row)> {
        let (key, rest) = bytes.split_first_chunk::<SUM>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let (length, sum) = rest.split_first_chunk::<8>()?;
        let row =
            Row { offset: u64::from_le_bytes(*offset), length: u64::from_le_bytes(*length), sum: sum.try_into().ok()? };
        Some((*key, row))
    }
}

/// Returns a pack with these functions, and a name for it that depends on its content.
fn packed(functions: &HashMap<Key, Vec<u8>>) -> (String, Vec<u8>) {
    let mut sorted: Vec<_> = functions.iter().collect();
    sorted.sort();
    let mut rows = Vec::with_capacity(sorted.len() * ROW);
    let mut offset = (HEAD + sorted.len() * ROW) as u64;
    for (key, code) in &sorted {
        rows.extend_from_slice(*key);
        rows.extend_from_slice(&offset.to_le_bytes());
        rows.extend_from_slice(&(code.len() as u64).to_le_bytes());
        rows.extend_from_slice(&Sha256::digest(code));
        offset = offset.saturating_add(code.len() as u64);
    }
    let sum = Sha256::digest(&rows);
    let mut bytes = Vec::with_capacity(usize::try_from(offset).unwrap_or_default());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(sorted.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&sum);
    bytes.extend_from_slice(&rows);
    for (_, code) in sorted {
        bytes.extend_from_slice(code);
    }
    let mut name = hex(&sum);
    name.truncate(16);
    (name, bytes)
}

/// The beginning of the names of the packs of one compiler.
fn prefix(compatibility: u64) -> String {
    format!("{compatibility:016x}-")
}

fn starts(file: &std::ffi::OsStr, prefix: &str) -> bool {
    file.to_str().is_some_and(|file| file.starts_with(prefix))
}

/// A pack in a folder.
struct Found {
    used: SystemTime,
    bytes: u64,
    path: PathBuf,
}

/// The packs of a folder, the least recently used first.
fn packs_in(dir: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION)
            // Another compilation may have removed the file meanwhile.
            && let Ok(meta) = fs::metadata(&path)
        {
            found.push(Found { used: meta.modified()?, bytes: meta.len(), path });
        }
    }
    found.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
    Ok(found)
}

/// Removes the least recently used packs until at most [`PACKS`] with together `size` bytes remain.
/// Returns how many it removed.
pub fn trim(dir: &Path, size: u64) -> io::Result<u64> {
    let found = packs_in(dir)?;
    let mut total: u64 = found.iter().map(|pack| pack.bytes).sum();
    let mut left = found.len();
    let mut removed = 0;
    for pack in found {
        if left <= PACKS && total <= size {
            break;
        }
        match fs::remove_file(&pack.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => removed += 1,
        }
        total = total.saturating_sub(pack.bytes);
        left -= 1;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests;
