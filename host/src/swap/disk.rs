//! A module's folder as it is just now: whether it is there, still being written, and what is in it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::{LOOK, Swapper};
use crate::config::{Config, source};
use crate::registry::manifest::{self, FILE_NAME, Found, Manifest};
use crate::registry::{Candidate, Pin, component, folder_digest};

/// What a module's files look like from outside: enough to tell that one was written or replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Print {
    manifest: Option<Stat>,
    /// Where `module.json` says the component is.
    pub component: Option<PathBuf>,
    bytes: Option<Stat>,
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
    pub fn of(path: &Path) -> Option<Stat> {
        let meta = fs::metadata(path).ok()?;
        let changed = (meta.ctime(), meta.ctime_nsec());
        Some(Stat { device: meta.dev(), inode: meta.ino(), size: meta.size(), changed })
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
        let manifest = Stat::of(&dir.join(FILE_NAME));
        let component = match known.filter(|known| manifest.is_some() && known.manifest == manifest) {
            Some(known) => known.component.clone(),
            None => manifest.and_then(|_| Manifest::load(dir).ok()).map(|manifest| manifest.component),
        };
        Print { manifest, bytes: component.as_deref().and_then(Stat::of), component }
    }

    /// Whether there is no module here.
    pub fn is_missing(&self) -> bool {
        self.manifest.is_none()
    }

    /// Whether a file is not there that may come back in a moment: some writers delete first.
    fn is_away(&self) -> bool {
        self.is_missing() || (self.component.is_some() && self.bytes.is_none())
    }

    /// How long nothing has been written.
    pub fn age(&self) -> Duration {
        let ages = [self.manifest, self.bytes].into_iter().flatten().map(|stat| stat.age());
        ages.min().unwrap_or(Duration::MAX)
    }
}

/// What a module is to be served from.
pub struct Choice {
    pub candidate: Candidate,
    /// It is what a rollback pinned, and not what is in the folder.
    pub pinned: bool,
}

/// Why there is nothing to serve.
pub enum Unread {
    /// There is no `module.json`.
    Missing,
    /// It is still being written.
    Unsettled,
    /// The component is not there.
    Waiting(PathBuf),
    Refused(String),
}

impl Unread {
    /// For the operator.
    pub fn why(&self) -> String {
        match self {
            Unread::Missing => "there is no module.json".to_owned(),
            Unread::Unsettled => "its files are being written".to_owned(),
            Unread::Waiting(component) => format!("{}: the component is not there", component.display()),
            Unread::Refused(why) => why.clone(),
        }
    }
}

impl Swapper {
    /// What a module is to be served from now: its folder, or what a rollback has pinned until that changes or `force` undoes
    /// it. The pin goes when what is in the folder has been taken. `as_it_is`: even a folder that is being written to.
    pub(super) fn choose(&self, module: &str, config: &Config, force: bool, as_it_is: bool) -> Result<Choice, Unread> {
        let dir = config.modules_dir.join(module);
        if !dir.join(FILE_NAME).exists() {
            return Err(Unread::Missing);
        }
        let read = self.read(&dir, config, as_it_is);
        let unsettled = matches!(read, Err(Unread::Unsettled));
        let pin = self.kept.pin(module).filter(|pin| !force && !unsettled && folder_digest(&dir) == pin.folder);
        let Some(pin) = pin else { return read.map(|candidate| Choice { candidate, pinned: false }) };
        match self.kept(module, &pin.generation, config) {
            Ok(candidate) => Ok(Choice { candidate, pinned: true }),
            Err(why) => Err(Unread::Refused(format!(
                "{why}: a rollback has pinned this generation, `fanfare reload --force` takes what is in the folder"
            ))),
        }
    }

    /// The same on another thread: to read and hash a large component takes longer than connections should wait.
    pub(super) async fn choose_aside(
        self: &Arc<Swapper>,
        module: &str,
        config: Arc<Config>,
        force: bool,
        as_it_is: bool,
    ) -> Result<Choice, Unread> {
        let (swapper, module) = (self.clone(), module.to_owned());
        let reading = tokio::task::spawn_blocking(move || swapper.choose(&module, &config, force, as_it_is));
        reading.await.unwrap_or_else(|error| Err(Unread::Refused(format!("the host panicked: {error}"))))
    }

    /// A generation that was kept.
    pub(super) fn kept(&self, module: &str, generation: &str, config: &Config) -> Result<Candidate, String> {
        let manifest = self.kept.manifest(&config.modules_dir.join(module), module, generation)?;
        self.loader.read(manifest, config).map_err(|error| error.to_string())
    }

    /// What is in a folder. Not while it is being written to, unless `as_it_is`.
    fn read(&self, dir: &Path, config: &Config, as_it_is: bool) -> Result<Candidate, Unread> {
        let before = Print::of(dir, None);
        let read = match manifest::look(dir).found {
            Found::Refused(error) => Err(Unread::Refused(error.to_string())),
            Found::Waiting(manifest) => Err(Unread::Waiting(manifest.component)),
            Found::Ready(manifest) => {
                self.loader.read(*manifest, config).map_err(|error| Unread::Refused(error.to_string()))
            }
        };
        let written = Print::of(dir, Some(&before)) != before;
        // Half of a file is not taken for the whole of it, unless it stays so.
        let half = before.age() < config.swap.removal
            && match &read {
                Ok(candidate) => !component::is_whole(&candidate.component),
                Err(Unread::Refused(_)) => !source::is_whole(&dir.join(FILE_NAME)),
                Err(_) => true,
            };
        if !as_it_is && (written || half) { Err(Unread::Unsettled) } else { read }
    }

    /// Waits until a module's files are there, or stay away, and nobody has written to them for a moment. Answers whether
    /// they are there.
    pub(super) async fn settle(&self, module: &str) -> bool {
        let dir = self.config.modules_dir.join(module);
        let gone = Instant::now() + self.config.swap.removal;
        let mut print = Print::of(&dir, None);
        loop {
            let rest = match print.is_away() {
                true if Instant::now() < gone => LOOK,
                true => Duration::ZERO,
                false => self.config.swap.settle.saturating_sub(print.age()),
            };
            if rest.is_zero() {
                return !print.is_away();
            }
            tokio::time::sleep(rest).await;
            print = Print::of(&dir, Some(&print));
        }
    }

    pub(super) fn set_pin(&self, module: &str, pin: Option<Pin>) {
        if let Err(error) = self.kept.set_pin(module, pin) {
            tracing::error!(%module, %error, "what a rollback pins cannot be written to stateDir: it does not outlive this process");
        }
    }
}
