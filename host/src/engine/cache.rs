//! Compiled components on disk, keyed by the digest of the component and what the engine can load.
//!
//! An artefact is machine code that we run, so it is loaded only from a folder that no one else can write, and
//! only when it still is what was written: its digest stands in a file beside it. What does not fit is compiled anew.

use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use wasmtime::component::Component;

use super::compile::STATE_DIR;
use super::{CompileError, Compiler, Engine};
use crate::files::{PRIVATE, aside, digest_of, make_private, write_whole};

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
    #[error("{path}: this file or folder of stateDir cannot be used: {source}; {STATE_DIR}")]
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
    /// Opens the folder, spec it (mode 0700) when it is not there. One that others can write is refused.
    pub fn open(dir: &Path, size: u64) -> Result<Cache, CacheError> {
        let cache = Cache { dir: dir.to_owned(), size };
        cache.make_folder()?;
        Ok(cache)
    }

    /// Makes the folder unless it exists. Somebody may have removed it while the host serves.
    fn make_folder(&self) -> Result<(), CacheError> {
        let file = |source| CacheError::File { path: self.dir.clone(), source };
        make_private(&self.dir).map_err(file)?;
        let meta = fs::metadata(&self.dir).map_err(file)?;
        if meta.mode() & 0o022 != 0 || meta.uid() != rustix::process::geteuid().as_raw() {
            return Err(CacheError::Shared { path: self.dir.clone() });
        }
        Ok(())
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
        // A large artefact takes longer to hash than this thread may be kept from its connections.
        let (opened, with) = (artefact.clone(), engine.clone());
        if let Some(component) = aside(move || open_artefact(&with, &opened)).await {
            return Ok(Loaded { component, compiled: false });
        }
        self.make_folder()?;
        compiler.run(component, digest, &artefact, threads).await?;
        let (cache, engine) = (self.clone(), engine.clone());
        let component = aside(move || cache.adopt(&engine, &artefact)).await?;
        Ok(Loaded { component, compiled: true })
    }

    /// Notes what the compiler has written, and loads it.
    fn adopt(&self, engine: &Engine, artefact: &Path) -> Result<Component, CacheError> {
        let file = |source| CacheError::File { path: artefact.to_owned(), source };
        let sum = digest_of(&mut File::open(artefact).map_err(file)?).map_err(file)?;
        write_whole(&sum_path(artefact), sum.as_bytes(), PRIVATE).map_err(file)?;
        let component = deserialize(engine, artefact).map_err(CacheError::Load)?;
        self.trim(artefact).map_err(|source| CacheError::File { path: self.dir.clone(), source })?;
        Ok(component)
    }

    /// Whether an artefact with these bytes loads, beside a digest with those.
    #[cfg(any(test, fuzzing))]
    pub fn loads(&self, engine: &Engine, artefact: &[u8], digest: &[u8]) -> io::Result<bool> {
        let path = self.dir.join("fuzzed.cwasm");
        write_whole(&path, artefact, PRIVATE)?;
        write_whole(&sum_path(&path), digest, PRIVATE)?;
        Ok(open_artefact(engine, &path).is_some())
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

/// An artefact that still is what was written.
fn open_artefact(engine: &Engine, artefact: &Path) -> Option<Component> {
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
