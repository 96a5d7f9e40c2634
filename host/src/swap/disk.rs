//! A module's folder as it is just now: whether it is there, still being written, and what is in it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::error::{ModuleError, SwapError};
use super::swapper::{LOOK, Swapper};
use crate::config::Config;
use crate::document::source;
use crate::files::aside;
use crate::registry::manifest::{self, FILE_NAME, Found, Manifest};
use crate::registry::{Candidate, ModuleState, component, folder_digest};

/// What a module's files look like from outside: enough to tell that one was written or replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Print {
    manifest: Seen,
    /// Where `module.json` says the component is.
    pub component: Option<PathBuf>,
    bytes: Seen,
}

/// What is under a path. Only [`Seen::Nothing`] means that a file was removed: with any other error
/// it may well exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Seen {
    #[default]
    Nothing,
    Something(Stat),
    Unreadable(io::ErrorKind),
}

impl Seen {
    pub fn at(path: &Path) -> Seen {
        match fs::metadata(path) {
            Ok(meta) => Seen::Something(Stat::of(&meta)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Seen::Nothing,
            Err(error) => Seen::Unreadable(error.kind()),
        }
    }

    pub fn stat(self) -> Option<Stat> {
        match self {
            Seen::Something(stat) => Some(stat),
            Seen::Nothing | Seen::Unreadable(_) => None,
        }
    }
}

/// What one file looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    device: u64,
    inode: u64,
    size: u64,
    /// When the file, or its name, was last changed: no writer can set it.
    changed: (i64, i64),
}

impl Stat {
    fn of(meta: &fs::Metadata) -> Stat {
        let changed = (meta.ctime(), meta.ctime_nsec());
        Stat { device: meta.dev(), inode: meta.ino(), size: meta.size(), changed }
    }

    /// How long it has been like this.
    pub fn age(&self) -> Duration {
        let (seconds, nanos) = self.changed;
        let changed = Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0));
        // One from the future, on another machine's clock, is old enough.
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + changed).unwrap_or(Duration::MAX)
    }
}

impl Print {
    /// Of a folder, whose manifest is read only when it differs from the one in `known`.
    pub fn of(dir: &Path, known: Option<&Print>) -> Print {
        let manifest = Seen::at(&dir.join(FILE_NAME));
        let component = match known.filter(|known| manifest.stat().is_some() && known.manifest == manifest) {
            Some(known) => known.component.clone(),
            None => manifest.stat().and_then(|_| Manifest::load(dir).ok()).map(|manifest| manifest.component),
        };
        Print { manifest, bytes: component.as_deref().map(Seen::at).unwrap_or_default(), component }
    }

    /// Whether there is no module here.
    pub fn is_missing(&self) -> bool {
        self.manifest == Seen::Nothing
    }

    /// Whether there is a module whose component does not exist.
    fn lacks_component(&self) -> bool {
        self.component.is_some() && self.bytes == Seen::Nothing
    }

    /// Whether a file does not exist that may come back in a moment: some writers delete first.
    fn is_away(&self) -> bool {
        self.is_missing() || self.lacks_component()
    }

    /// How long nothing has been written.
    pub fn age(&self) -> Duration {
        let ages = [self.manifest, self.bytes].into_iter().filter_map(Seen::stat).map(|stat| stat.age());
        ages.min().unwrap_or(Duration::MAX)
    }
}

/// What a module is to be served from.
pub struct Choice {
    pub candidate: Candidate,
    /// It is what a rollback pinned, and not what is in the folder.
    pub pinned: bool,
}

impl Swapper {
    /// What a module is to be served from now: its folder, or what a rollback has pinned until that changes or `force` undoes
    /// it. The pin goes when what is in the folder has been taken. `as_it_is`: even a folder that is being written to.
    pub(super) fn choose(
        &self,
        module: &str,
        config: &Config,
        force: bool,
        as_it_is: bool,
    ) -> Result<Choice, SwapError> {
        let dir = config.modules_dir.join(module);
        let file = dir.join(FILE_NAME);
        match fs::metadata(&file) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SwapError::NoManifest),
            // It may well exist: only a file that certainly does not is a removed one.
            Err(error) => return Err(ModuleError::Unreadable { file, error }.into()),
        }
        let read = self.read(module, &dir, config, as_it_is);
        let unsettled = matches!(read, Err(SwapError::Unsettled));
        let pin = self
            .kept
            .pin(module)
            .filter(|pin| !force && !unsettled && folder_digest(&dir, config.engine.max_component) == pin.folder);
        let Some(pin) = pin else { return read.map(|candidate| Choice { candidate, pinned: false }) };
        match self.kept(module, &pin.generation, config) {
            Ok(candidate) => Ok(Choice { candidate, pinned: true }),
            Err(error) => Err(SwapError::Pinned(Arc::new(error))),
        }
    }

    /// The same on another thread: to read and hash a large component takes longer than connections should wait.
    pub(super) async fn choose_aside(
        self: &Arc<Swapper>,
        module: &str,
        config: Arc<Config>,
        force: bool,
        as_it_is: bool,
    ) -> Result<Choice, SwapError> {
        let (swapper, module) = (self.clone(), module.to_owned());
        aside(move || swapper.choose(&module, &config, force, as_it_is)).await
    }

    /// A generation that was kept.
    fn kept(&self, module: &str, generation: &str, config: &Config) -> Result<Candidate, ModuleError> {
        let (dir, most) = (config.modules_dir.join(module), config.engine.max_component);
        let manifest = self.kept.manifest(&dir, module, generation, most)?;
        Ok(self.loader.read(manifest, config)?)
    }

    /// The same on another thread.
    pub(super) async fn kept_aside(
        self: &Arc<Swapper>,
        module: &str,
        generation: &str,
        config: Arc<Config>,
    ) -> Result<Candidate, ModuleError> {
        let (swapper, module, generation) = (self.clone(), module.to_owned(), generation.to_owned());
        aside(move || swapper.kept(&module, &generation, &config)).await
    }

    /// What is in a module's folder: see [`folder_digest`].
    pub(super) async fn folder_digest(&self, module: &str) -> String {
        let (dir, most) = (self.config.modules_dir.join(module), self.config.engine.max_component);
        aside(move || folder_digest(&dir, most)).await
    }

    /// What is in a folder. Not while it is being written to, unless `as_it_is`.
    fn read(&self, module: &str, dir: &Path, config: &Config, as_it_is: bool) -> Result<Candidate, SwapError> {
        let before = Print::of(dir, None);
        let read = match manifest::look(dir).found {
            Found::Refused(error) => Err(ModuleError::from(error).into()),
            Found::Waiting(manifest) => Err(SwapError::Waiting(manifest.component)),
            Found::Ready(manifest) => {
                self.loader.read(*manifest, config).map_err(|error| ModuleError::from(error).into())
            }
        };
        let written = Print::of(dir, Some(&before)) != before;
        // Half of a file is not taken for the whole of it, unless it stays so.
        let half = before.age() < config.swap.removal
            && match &read {
                Ok(candidate) => !component::is_whole(&candidate.component),
                Err(SwapError::Waiting(_)) => self.serves(module),
                Err(_) => source::is_cut_off(&dir.join(FILE_NAME)),
            };
        if !as_it_is && (written || half) { Err(SwapError::Unsettled) } else { read }
    }

    /// Waits until a module's files exist, or stay away, and nobody has written to them for a
    /// moment. Returns whether they exist.
    pub(super) async fn settle(&self, module: &str) -> bool {
        let gone = Instant::now() + self.config.swap.removal;
        let serves = self.serves(module);
        let mut print = self.print(module, None).await;
        loop {
            // A module that serves is not refused for a file that is about to come back. One that
            // does not is told to wait.
            let waits = !serves && print.lacks_component();
            let rest = match print.is_away() && !waits {
                true if Instant::now() < gone => LOOK,
                true => Duration::ZERO,
                false => self.config.swap.settle.saturating_sub(print.age()),
            };
            if rest.is_zero() {
                return !print.is_away();
            }
            tokio::time::sleep(rest).await;
            print = self.print(module, Some(print)).await;
        }
    }

    fn serves(&self, module: &str) -> bool {
        matches!(self.roster.state(module), Some(ModuleState::Installed(_)))
    }

    /// What a module's files look like now. Read on another thread, so that a disk that does not
    /// answer keeps nobody from ending the wait.
    async fn print(&self, module: &str, known: Option<Print>) -> Print {
        let dir = self.config.modules_dir.join(module);
        aside(move || Print::of(&dir, known.as_ref())).await
    }
}
