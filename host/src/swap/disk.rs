//! Reading a module's folder: whether it exists, whether it is still being written, and its
//! contents.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::embedded::Embedded;
use super::error::SwapError;
use super::module_error::ModuleError;
use super::swapper::{POLL, Swapper};
use crate::blocking::run_blocking;
use crate::config::Config;
use crate::document::source;
use crate::registry::manifest::{self, FILE_NAME, FolderState, Manifest, MissingComponent};
use crate::registry::{Candidate, ModuleState, component};

/// The metadata of a module's files. It differs whenever a file was written or replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint {
    manifest: PathState,
    /// The path of the component, from `module.json`.
    pub component: Option<PathBuf>,
    component_state: PathState,
}

impl Fingerprint {
    /// Whether only `module.json` was written since `previous`.
    pub fn is_new_manifest(&self, previous: &Fingerprint) -> bool {
        self.manifest != previous.manifest
            && (&self.component, self.component_state) == (&previous.component, previous.component_state)
    }
}

/// Whether a path exists. Only [`PathState::Missing`] means that the file was removed: with any
/// other error it may still exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PathState {
    #[default]
    Missing,
    Present(Stat),
    Unreadable(io::ErrorKind),
}

impl PathState {
    pub fn of(path: &Path) -> PathState {
        match fs::metadata(path) {
            Ok(meta) => PathState::Present(Stat::of(&meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => PathState::Missing,
            Err(error) => PathState::Unreadable(error.kind()),
        }
    }

    pub fn stat(self) -> Option<Stat> {
        match self {
            PathState::Present(stat) => Some(stat),
            PathState::Missing | PathState::Unreadable(_) => None,
        }
    }
}

/// The metadata that identifies the contents of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    device: u64,
    inode: u64,
    size: u64,
    /// `ctime` in seconds and nanoseconds. Unlike `mtime`, no program can set it.
    changed: (i64, i64),
}

impl Stat {
    fn of(meta: &fs::Metadata) -> Stat {
        let changed = (meta.ctime(), meta.ctime_nsec());
        Stat { device: meta.dev(), inode: meta.ino(), size: meta.size(), changed }
    }

    /// The time since the last change.
    pub fn age(&self) -> Duration {
        let (seconds, nanos) = self.changed;
        let changed = Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0));
        // The clock of a file server may be ahead: a change in the future counts as old.
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + changed).unwrap_or(Duration::MAX)
    }
}

impl Fingerprint {
    /// The fingerprint of a folder. Parses the manifest only if it differs from the one in `known`.
    pub fn of(dir: &Path, known: Option<&Fingerprint>) -> Fingerprint {
        let manifest = PathState::of(&dir.join(FILE_NAME));
        let component = match known.filter(|known| manifest.stat().is_some() && known.manifest == manifest) {
            Some(known) => known.component.clone(),
            None => manifest.stat().and_then(|_| Manifest::load(dir).ok()).map(|manifest| manifest.component),
        };
        let component_state = component.as_deref().map(PathState::of).unwrap_or_default();
        Fingerprint { manifest, component_state, component }
    }

    /// Whether `module.json` does not exist.
    pub fn is_missing(&self) -> bool {
        self.manifest == PathState::Missing
    }

    /// Whether the manifest exists, and the component that it names does not.
    fn lacks_component(&self) -> bool {
        self.component.is_some() && self.component_state == PathState::Missing
    }

    /// Whether a file is missing. It may return in a moment, because some programs delete a file
    /// before they write it.
    fn may_return(&self) -> bool {
        self.is_missing() || self.lacks_component()
    }

    /// The time since the last change of either file.
    pub fn age(&self) -> Duration {
        let files = [self.manifest, self.component_state];
        let ages = files.into_iter().filter_map(PathState::stat).map(|stat| stat.age());
        ages.min().unwrap_or(Duration::MAX)
    }
}

/// The candidate that a module should run.
pub struct Selection {
    pub candidate: Candidate,
    /// Whether a rollback pinned it, so that it is not read from the module's folder.
    pub pinned: bool,
}

impl Swapper {
    /// Selects the candidate that a module should run: the one in memory, its folder, or the
    /// generation that a rollback pinned. The pin holds until the folder changes or `force` is set,
    /// and is removed once the folder is loaded. With `unsettled_too`, reads a folder even while it
    /// is being written.
    pub(super) fn select(
        &self,
        module: &str,
        config: &Config,
        force: bool,
        unsettled_too: bool,
    ) -> Result<Selection, SwapError> {
        let read = match self.embedded.get(module) {
            Some(Embedded::Module(embedded)) => self.read_embedded(&embedded, config).map_err(SwapError::from),
            Some(Embedded::Removed) | None => {
                let dir = config.modules_dir.join(module);
                let file = dir.join(FILE_NAME);
                match fs::metadata(&file) {
                    Ok(_) => self.read(module, &dir, config, unsettled_too),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SwapError::NoManifest),
                    // The file may still exist, so the module was not removed.
                    Err(error) => return Err(ModuleError::unreadable(file, error).into()),
                }
            }
        };
        let unsettled = matches!(read, Err(SwapError::Unsettled));
        let pin = self
            .kept
            .pin(module)
            .filter(|pin| !force && !unsettled && self.source_digest(module, config) == pin.folder);
        let Some(pin) = pin else { return read.map(|candidate| Selection { candidate, pinned: false }) };
        match self.read_retained(module, &pin.generation, config) {
            Ok(candidate) => Ok(Selection { candidate, pinned: true }),
            Err(error) => Err(SwapError::Pinned { module: module.to_owned(), error: Arc::new(error) }),
        }
    }

    /// [`Swapper::select`] on a blocking thread, because reading and hashing a large component
    /// would delay connections.
    pub(super) async fn select_aside(
        self: &Arc<Swapper>,
        module: &str,
        config: Arc<Config>,
        force: bool,
        unsettled_too: bool,
    ) -> Result<Selection, SwapError> {
        let (swapper, module) = (self.clone(), module.to_owned());
        run_blocking(move || swapper.select(&module, &config, force, unsettled_too)).await
    }

    /// Reads a retained generation.
    fn read_retained(&self, module: &str, generation: &str, config: &Config) -> Result<Candidate, ModuleError> {
        let (dir, max) = (config.modules_dir.join(module), config.engine.max_component);
        let manifest = self.kept.manifest(&dir, module, generation, max)?;
        Ok(self.loader.read(manifest, config)?)
    }

    /// [`Swapper::read_retained`] on a blocking thread.
    pub(super) async fn read_retained_aside(
        self: &Arc<Swapper>,
        module: &str,
        generation: &str,
        config: Arc<Config>,
    ) -> Result<Candidate, ModuleError> {
        let (swapper, module, generation) = (self.clone(), module.to_owned(), generation.to_owned());
        run_blocking(move || swapper.read_retained(&module, &generation, &config)).await
    }

    /// [`Swapper::source_digest`] on a blocking thread.
    pub(super) async fn source_digest_aside(self: &Arc<Swapper>, module: &str) -> String {
        let (swapper, module) = (self.clone(), module.to_owned());
        run_blocking(move || swapper.source_digest(&module, &swapper.config)).await
    }

    /// Reads a module's folder. Fails with [`SwapError::Unsettled`] while the folder is being
    /// written, unless `unsettled_too`.
    fn read(&self, module: &str, dir: &Path, config: &Config, unsettled_too: bool) -> Result<Candidate, SwapError> {
        let before = Fingerprint::of(dir, None);
        let read = match manifest::read_folder(dir).state {
            FolderState::Refused(error) => Err(ModuleError::from(error).into()),
            FolderState::Waiting(manifest) => Err(SwapError::Waiting(MissingComponent::of(&manifest).to_string())),
            FolderState::Ready(manifest) => {
                self.loader.read(*manifest, config).map_err(|error| ModuleError::from(error).into())
            }
        };
        let written = Fingerprint::of(dir, Some(&before)) != before;
        // A truncated file is probably still being written, unless it has not changed for long.
        let truncated = before.age() < config.swap.removal
            && match &read {
                Ok(candidate) => !component::is_whole(&candidate.component),
                Err(SwapError::Waiting(_)) => self.is_installed(module),
                Err(_) => source::is_cut_off(&dir.join(FILE_NAME)),
            };
        if !unsettled_too && (written || truncated) { Err(SwapError::Unsettled) } else { read }
    }

    /// Waits until no file of a module has changed for `swap.settle`. Waits up to `swap.removal`
    /// for a missing file to return. Returns whether the files exist. Does not wait for a module
    /// that is or was in memory.
    pub(super) async fn settle(&self, module: &str) -> bool {
        let removal = match self.embedded.get(module) {
            Some(Embedded::Module(_)) => return true,
            Some(Embedded::Removed) => Duration::ZERO,
            None => self.config.swap.removal,
        };
        let removed_at = Instant::now() + removal;
        let installed = self.is_installed(module);
        let mut fingerprint = self.fingerprint(module, None).await;
        loop {
            // An installed module keeps running its component while the file may return. One that
            // is not installed is reported as waiting for its component at once.
            let waiting = !installed && fingerprint.lacks_component();
            let rest = match fingerprint.may_return() && !waiting {
                true if Instant::now() < removed_at => POLL,
                true => Duration::ZERO,
                false => self.config.swap.settle.saturating_sub(fingerprint.age()),
            };
            if rest.is_zero() {
                return !fingerprint.may_return();
            }
            tokio::time::sleep(rest).await;
            fingerprint = self.fingerprint(module, Some(fingerprint)).await;
        }
    }

    fn is_installed(&self, module: &str) -> bool {
        matches!(self.roster.state(module), Some(ModuleState::Installed(_)))
    }

    /// Reads the fingerprint on a blocking thread, so that a disk that hangs does not keep the
    /// caller from cancelling.
    async fn fingerprint(&self, module: &str, known: Option<Fingerprint>) -> Fingerprint {
        let dir = self.config.modules_dir.join(module);
        run_blocking(move || Fingerprint::of(&dir, known.as_ref())).await
    }
}
