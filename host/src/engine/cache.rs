//! Compiled components on disk, keyed by the digest of the component and what the engine can load.
//!
//! An artefact is machine code that we run, so it is loaded only from a folder that no one else can write, and
//! only when it still is what was written: its digest stands in a file beside it. What does not fit is compiled anew.

use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use super::{CompileError, Compiler, Engine};

/// The age at which a file that is not whole belongs to no compiler any more: the most that `engine.compileTimeout` allows, twice.
const ABANDONED: Duration = Duration::from_secs(2 * 3600);

/// The folder of artefacts.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
    /// Bytes all artefacts may have together; the least recently used go first.
    size: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error(
        "{path}: others can write this folder, and machine code is loaded from it: run `chmod go-w` and `chown` on it, or set stateDir"
    )]
    Shared { path: PathBuf },
    #[error("the compiled artefact does not load: {0:#}")]
    Load(wasmtime::Error),
}

/// A component that can be instantiated, and whether it had to be compiled first.
pub struct Loaded {
    pub component: Component,
    pub compiled: bool,
}

impl Cache {
    /// Opens the folder, making it (mode 0700) when it is not there. One that others can write is refused.
    pub fn open(dir: &Path, size: u64) -> Result<Cache, CacheError> {
        let file = |source| CacheError::File { path: dir.to_owned(), source };
        make_private(dir).map_err(file)?;
        let meta = fs::metadata(dir).map_err(file)?;
        if meta.mode() & 0o022 != 0 || meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(CacheError::Shared { path: dir.to_owned() });
        }
        Ok(Cache { dir: dir.to_owned(), size })
    }

    fn artefact(&self, engine: &Engine, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}-{:016x}.cwasm", compatibility(engine)))
    }

    /// Whether the compiled form of a component is there.
    pub fn holds(&self, engine: &Engine, digest: &str) -> bool {
        self.artefact(engine, digest).exists()
    }

    /// The compiled form of a component whose bytes have this digest, compiling it when needed.
    pub async fn load(
        &self,
        engine: &Engine,
        compiler: &Compiler,
        component: &Path,
        digest: &str,
        threads: usize,
    ) -> Result<Loaded, CacheError> {
        let artefact = self.artefact(engine, digest);
        if let Some(component) = self.open_artefact(engine, &artefact) {
            return Ok(Loaded { component, compiled: false });
        }
        compiler.run(component, digest, &artefact, threads).await?;
        let file = |source| CacheError::File { path: artefact.clone(), source };
        let sum = digest_of(&mut File::open(&artefact).map_err(file)?).map_err(file)?;
        write_whole(&sum_path(&artefact), sum.as_bytes(), PRIVATE).map_err(file)?;
        let component = deserialize(engine, &artefact).map_err(CacheError::Load)?;
        self.trim(&artefact).map_err(|source| CacheError::File { path: self.dir.clone(), source })?;
        Ok(Loaded { component, compiled: true })
    }

    fn open_artefact(&self, engine: &Engine, artefact: &Path) -> Option<Component> {
        let mut file = File::open(artefact).ok()?;
        let written = fs::read_to_string(sum_path(artefact)).unwrap_or_default();
        if digest_of(&mut file).ok()? != written {
            tracing::warn!(artefact = %artefact.display(), "the artefact is not what was written; compiling anew");
            return None;
        }
        let component = deserialize(engine, artefact)
            .inspect_err(|error| tracing::warn!(artefact = %artefact.display(), %error, "compiling anew"))
            .ok()?;
        // Marks it as used; when that fails it is only thrown out earlier.
        let _ = file.set_modified(SystemTime::now());
        Some(component)
    }

    /// Whether an artefact with these bytes loads, beside a digest with those.
    #[cfg(any(test, fuzzing))]
    pub fn loads(&self, engine: &Engine, artefact: &[u8], digest: &[u8]) -> io::Result<bool> {
        let path = self.dir.join("fuzzed.cwasm");
        write_whole(&path, artefact, PRIVATE)?;
        write_whole(&sum_path(&path), digest, PRIVATE)?;
        Ok(self.open_artefact(engine, &path).is_some())
    }

    /// Removes the least recently used artefacts until the rest fits, but never `keep`, and what killed compilers left.
    fn trim(&self, keep: &Path) -> io::Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "cwasm") {
                // Another compiler's end may have removed it.
                if let Some(meta) = absent(entry.metadata())? {
                    files.push((meta.modified()?, meta.len(), entry.path()));
                }
            } else if entry.path().extension().is_some_and(|extension| extension == "tmp") {
                let Some(meta) = absent(entry.metadata())? else { continue };
                if meta.modified()?.elapsed().unwrap_or_default() > ABANDONED {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files {
            if total <= self.size {
                break;
            }
            if path != keep {
                absent(fs::remove_file(&path))?;
                let _ = fs::remove_file(sum_path(&path));
                total -= size;
            }
        }
        Ok(())
    }
}

/// `None` for a file that is not there.
fn absent<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Loads an artefact that [`digest_of`] has just found to be ours.
#[allow(unsafe_code)]
fn deserialize(engine: &Engine, artefact: &Path) -> wasmtime::Result<Component> {
    // SAFETY: written by our own compiler into a folder only we can write, by rename, and never changed in place.
    unsafe { Component::deserialize_file(engine.wasmtime(), artefact) }
}

/// What an artefact depends on besides the component: wasmtime's version, the machine and the settings.
fn compatibility(engine: &Engine) -> u64 {
    // Not `RandomState`: the same in every process.
    #[allow(deprecated)]
    let mut hasher = std::hash::SipHasher::new();
    engine.wasmtime().precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

fn sum_path(artefact: &Path) -> PathBuf {
    artefact.with_extension("sha256")
}

/// The digest of all that is left in a reader, in hexadecimal.
pub fn digest_of(reader: &mut impl Read) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            n => hasher.update(buffer.get(..n).unwrap_or_default()),
        }
    }
    Ok(hex(&hasher.finalize()))
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Makes a folder, and those above it, that only we can read when it is not there.
pub fn make_private(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Only we can read it.
pub const PRIVATE: u32 = 0o600;

/// As the process's mask has it.
pub const PUBLIC: u32 = 0o666;

/// Writes a file that appears whole or not at all, with this mode.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let (mut file, temporary) = loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_extension(format!("{}-{number}.tmp", std::process::id()));
        match fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary) {
            // Of a process that was killed and had the same number, as in containers.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => break (opened?, temporary),
        }
    };
    let written = file.write_all(bytes).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_of_the_same_number_left_is_in_nobodys_way() {
        let dir = std::env::temp_dir().join(format!("fanfare-write-whole-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for number in 0..200 {
            fs::write(dir.join(format!("file.{}-{number}.tmp", std::process::id())), "half").unwrap();
        }
        let written = write_whole(&dir.join("file.wasm"), b"whole", PRIVATE);
        let found = fs::read(dir.join("file.wasm"));
        fs::remove_dir_all(&dir).unwrap();
        written.unwrap();
        assert_eq!(found.unwrap(), b"whole");
    }
}
