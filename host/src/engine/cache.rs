//! Compiled components on disk, keyed by the component's digest and the engine's compatibility
//! hash.
//!
//! An artefact is machine code that the host runs. So the host loads it only from a folder that no
//! other user can write, and only when its bytes still match the digest in the file beside it. The
//! host compiles a component anew when its artefact does not match or does not load.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tempfile::{Builder, NamedTempFile};
use wasmtime::component::Component;

use super::compile::STATE_DIR;
use super::functions::{self, FunctionCounts};
use super::{CompileError, Compiler, Engine, compatibility};
use crate::blocking::run_blocking;
use crate::files::{PRIVATE, digest_of, make_private, write_whole};

/// The age at which a temporary file cannot belong to a running compiler: twice the largest
/// `engine.compileTimeout`.
const ABANDONED: Duration = Duration::from_secs(2 * 3600);

/// The folder of artefacts.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
    /// The most bytes of all artefacts together. Beyond it the least recently used are removed.
    size: u64,
    /// The same of all compiled functions together.
    functions_size: u64,
    pub counters: Arc<FunctionCounters>,
}

/// What happened to functions that the host keeps, since it started.
#[derive(Debug, Default)]
pub struct FunctionCounters {
    pub compiled: AtomicU64,
    pub reused: AtomicU64,
    /// Files with functions that were removed because there were too many.
    pub removed: AtomicU64,
}

#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("{path}: cannot use this file or folder of stateDir: {source}; {STATE_DIR}")]
    File { path: PathBuf, source: io::Error },
    #[error(
        "{path}: other users can write this folder, from which the host loads machine code: run `chmod go-w` and `chown` on it, or set stateDir"
    )]
    Shared { path: PathBuf },
    #[error("the compiled artefact does not load: {0:#}")]
    Load(wasmtime::Error),
}

/// A component to compile.
#[derive(Debug, Clone, Copy)]
pub struct ComponentSource<'a> {
    /// Its file, or its name in messages.
    pub path: &'a Path,
    /// Its bytes if it has no file.
    pub bytes: Option<&'a Bytes>,
}

/// A component that can be instantiated.
pub struct LoadedComponent {
    pub component: Component,
    /// How it was compiled. `None` if the cache had it.
    pub compiled: Option<Compiled>,
}

/// A component that had to be compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compiled {
    /// `None` if the component is too small for its functions to be kept.
    pub functions: Option<FunctionCounts>,
}

impl Cache {
    /// Opens the folder and creates it (mode 0700) when it does not exist. Fails when other users
    /// can write it.
    pub fn open(dir: &Path, size: u64, functions_size: u64) -> Result<Cache, CacheError> {
        let cache = Cache { dir: dir.to_owned(), size, functions_size, counters: Arc::default() };
        cache.make_folder()?;
        Ok(cache)
    }

    /// Creates the folder unless it exists. Also called before each compilation, because the folder
    /// may have been removed while the host serves.
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
        self.dir.join(format!("{digest}-{:016x}.cwasm", compatibility(engine.wasmtime())))
    }

    /// Whether the cache has an artefact of a component.
    pub fn contains(&self, engine: &Engine, digest: &str) -> bool {
        self.artefact(engine, digest).exists()
    }

    /// Loads the component whose bytes have this digest, and compiles it first when needed.
    pub async fn load(
        &self,
        engine: &Engine,
        compiler: &Compiler,
        source: ComponentSource<'_>,
        digest: &str,
        threads: usize,
    ) -> Result<LoadedComponent, CacheError> {
        let artefact = self.artefact(engine, digest);
        // On another thread, because hashing a large artefact would block this thread's
        // connections.
        let (opened, with) = (artefact.clone(), engine.clone());
        if let Some(component) = run_blocking(move || open_artefact(&with, &opened)).await {
            return Ok(LoadedComponent { component, compiled: None });
        }
        self.make_folder()?;
        let spilled = match source.bytes.cloned() {
            Some(bytes) => {
                let (cache, digest) = (self.clone(), digest.to_owned());
                Some(run_blocking(move || cache.spill(&bytes, &digest)).await?)
            }
            None => None,
        };
        let file = spilled.as_ref().map_or(source.path, NamedTempFile::path);
        let functions = compiler.run(file, digest, &artefact, threads).await.map_err(|error| match error {
            CompileError::Refused { why, .. } => CompileError::Refused { path: source.path.to_owned(), why },
            error => error,
        })?;
        if let Some(counts) = functions {
            self.counters.compiled.fetch_add(counts.compiled, Relaxed);
            self.counters.reused.fetch_add(counts.reused, Relaxed);
        }
        let (cache, engine) = (self.clone(), engine.clone());
        let component = run_blocking(move || cache.add(&engine, &artefact)).await?;
        Ok(LoadedComponent { component, compiled: Some(Compiled { functions }) })
    }

    /// Loads a component that [`Cache::load`] has loaded once more, for the pool. `None` if it does
    /// not fit into a place.
    pub async fn load_pooled(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let (artefact, engine) = (self.artefact(engine, digest), engine.clone());
        run_blocking(move || open_pooled(&engine, &artefact)).await
    }

    /// Writes a component that is in memory to a file, for the child process that compiles it. The
    /// file is removed when the result is dropped.
    fn spill(&self, component: &[u8], digest: &str) -> Result<NamedTempFile<()>, CacheError> {
        let file = |source| CacheError::File { path: self.dir.clone(), source };
        let mut name = Builder::new();
        let name = name.prefix(digest).suffix(".tmp");
        name.make_in(&self.dir, |path| write_whole(path, component, PRIVATE)).map_err(file)
    }

    /// Records the digest of an artefact that the compiler has written, and loads it.
    fn add(&self, engine: &Engine, artefact: &Path) -> Result<Component, CacheError> {
        let file = |source| CacheError::File { path: artefact.to_owned(), source };
        let sum = digest_of(&mut File::open(artefact).map_err(file)?).map_err(file)?;
        write_whole(&sum_path(artefact), sum.as_bytes(), PRIVATE).map_err(file)?;
        let component = deserialize(engine.wasmtime(), artefact).map_err(CacheError::Load)?;
        self.trim(artefact).map_err(|source| CacheError::File { path: self.dir.clone(), source })?;
        Ok(component)
    }

    /// Whether an artefact with these bytes loads when its digest file has those bytes.
    #[cfg(any(test, fuzzing))]
    pub fn loads(&self, engine: &Engine, artefact: &[u8], digest: &[u8]) -> io::Result<bool> {
        let path = self.dir.join("fuzzed.cwasm");
        write_whole(&path, artefact, PRIVATE)?;
        write_whole(&sum_path(&path), digest, PRIVATE)?;
        Ok(open_artefact(engine, &path).is_some())
    }

    /// Removes the least recently used artefacts until the rest fits into the cache, but never
    /// `keep`. Also removes the temporary files of killed compilers.
    fn trim(&self, keep: &Path) -> io::Result<()> {
        let removed = functions::trim(&self.dir, self.functions_size)?;
        self.counters.removed.fetch_add(removed, Relaxed);
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "cwasm") {
                // The end of another compilation may have removed the file meanwhile.
                if let Some(meta) = if_found(entry.metadata())? {
                    files.push((meta.modified()?, meta.len(), entry.path()));
                }
            } else if entry.path().extension().is_some_and(|extension| extension == "tmp") {
                let Some(meta) = if_found(entry.metadata())? else { continue };
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
                if_found(fs::remove_file(&path))?;
                let _ = fs::remove_file(sum_path(&path));
                total -= size;
            }
        }
        Ok(())
    }
}

/// Turns the error of a file that does not exist into `None`.
fn if_found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Opens an artefact if its bytes still match its digest file. Otherwise warns, with what the host
/// does `instead`.
fn checked(artefact: &Path, instead: &str) -> Option<File> {
    let mut file = File::open(artefact).ok()?;
    let written = fs::read_to_string(sum_path(artefact)).unwrap_or_default();
    if digest_of(&mut file).ok()? != written {
        tracing::warn!(artefact = %artefact.display(), "the artefact does not match its digest; {instead}");
        return None;
    }
    Some(file)
}

/// Loads an artefact if its bytes still match its digest file.
fn open_artefact(engine: &Engine, artefact: &Path) -> Option<Component> {
    let file = checked(artefact, "compiling anew")?;
    let component = deserialize(engine.wasmtime(), artefact)
        .inspect_err(|error| {
            tracing::warn!(artefact = %artefact.display(), %error, "the artefact does not load; compiling anew");
        })
        .ok()?;
    // Marks the artefact as used. If that fails, the only effect is that it is removed earlier.
    let _ = file.set_modified(SystemTime::now());
    Some(component)
}

/// Loads an artefact for the pool if its bytes still match its digest file.
fn open_pooled(engine: &Engine, artefact: &Path) -> Option<Component> {
    let pooled = engine.pooled()?;
    checked(artefact, "calls take longer without the pool until the module is loaded again")?;
    deserialize(pooled, artefact)
        .inspect_err(|why| tracing::debug!(artefact = %artefact.display(), "not for the pool: {why:#}"))
        .ok()
}

/// Loads an artefact whose digest the caller has just checked.
#[allow(unsafe_code)]
fn deserialize(engine: &wasmtime::Engine, artefact: &Path) -> wasmtime::Result<Component> {
    // SAFETY: our own compiler has written the file, by rename and into a folder that only this
    // user can write, and nothing changes it in place.
    unsafe { Component::deserialize_file(engine, artefact) }
}

fn sum_path(artefact: &Path) -> PathBuf {
    artefact.with_extension("sha256")
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Write as _};

    use parking_lot::Mutex;

    use super::*;

    /// The log lines of a test.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<String>>);

    impl tracing::Subscriber for Lines {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::Id {
            tracing::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::Id, _: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            let mut lines = self.0.lock();
            event.record(&mut |_: &tracing::field::Field, value: &dyn Debug| write!(lines, "{value:?} ").unwrap());
        }

        fn enter(&self, _: &tracing::Id) {}

        fn exit(&self, _: &tracing::Id) {}
    }

    #[test]
    fn a_damaged_artefact_says_whether_it_is_compiled_anew_or_only_not_in_the_pool() {
        let folder = tempfile::tempdir().unwrap();
        let artefact = folder.path().join("a.cwasm");
        write_whole(&artefact, b"code", PRIVATE).unwrap();
        write_whole(&sum_path(&artefact), b"another digest", PRIVATE).unwrap();
        let engine = Engine::start(Duration::from_millis(10), 1 << 40, 1).unwrap();
        for (open, instead) in [
            (open_artefact as fn(&Engine, &Path) -> Option<Component>, "compiling anew"),
            (open_pooled, "calls take longer without the pool until the module is loaded again"),
        ] {
            let log = Lines::default();
            let _logs = tracing::subscriber::set_default(log.clone());
            assert!(open(&engine, &artefact).is_none());
            let line = log.0.lock().clone();
            assert!(line.contains(&format!("does not match its digest; {instead} ")), "{line}");
        }
    }
}
