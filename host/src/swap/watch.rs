//! Notices what changes in `modulesDir` and `fanfare.json`, and asks for reloads.
//!
//! Watched are folders, never what is below them: `modulesDir`, each one in it, those that components are in, and that of
//! `fanfare.json`. What has happened is not taken from the events, which tell only that it is time to look: files that
//! are written in place, renamed, linked anew or deleted and made again all look different
//! afterwards. Where the system does not tell, a look every `swap.poll` finds the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::disk::{Print, Seen};
use super::request::Want;
use super::swapper::Swapper;
use crate::config::FILE_NAME;
use crate::document::source;
use crate::files::aside;
use crate::files::watch::{is_gone, settled, watcher};
use crate::registry::manifest::{self, is_candidate};
use crate::registry::{ModuleState, Note};

/// Events that come within it are looked into once.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// How many times as long as a look took the next one waits, up to `swap.poll`: with very many
/// folders, and events without end, looking takes a fifth of one core at most.
const PAUSE: u32 = 4;

/// How old a folder's time of change must be to tell that nothing was put into it since: clocks of
/// file systems are coarse.
const CERTAIN: Duration = Duration::from_secs(3);

/// Looks when something happens, and every `swap.poll`.
pub struct Watcher {
    swapper: Arc<Swapper>,
    happened: mpsc::Receiver<()>,
    eyes: Eyes,
    settings: SettingsFile,
}

/// `fanfare.json`.
struct SettingsFile {
    path: PathBuf,
    seen: Seen,
    /// Whether it has changed and was not read yet.
    is_due: bool,
    /// Since when it does not exist, while it may come back.
    gone: Option<Instant>,
}

impl Watcher {
    /// Begins to watch; what changes from now on is noticed.
    pub async fn start(swapper: &Arc<Swapper>) -> Watcher {
        let (tell, happened) = mpsc::channel(1);
        let path = swapper.config.file.clone().unwrap_or_else(|| swapper.config.root.join(FILE_NAME));
        let settings = SettingsFile { seen: Seen::at(&path), path, is_due: false, gone: None };
        let (watched, beside) = (swapper.clone(), settings.path.parent().map(Path::to_owned));
        let eyes = aside(move || {
            let mut eyes = Eyes::open(watched, tell, beside);
            eyes.look_around();
            eyes
        });
        Watcher { swapper: swapper.clone(), happened, eyes: eyes.await, settings }
    }

    /// Asks for reloads as things change, for ever.
    pub async fn run(mut self) {
        let poll = self.swapper.config.swap.poll;
        let mut rest = poll;
        loop {
            tokio::select! {
                Some(()) = settled(&mut self.happened, DEBOUNCE) => {}
                () = tokio::time::sleep(rest) => {}
            }
            let mut eyes = self.eyes;
            // With many folders it takes long, and this thread has others to serve.
            let (eyes, changed, took) = aside(move || {
                let begun = Instant::now();
                let changed = eyes.look_around();
                (eyes, changed, begun.elapsed())
            })
            .await;
            self.eyes = eyes;
            for module in changed {
                // It logs what it comes to.
                drop(self.swapper.reload(&module, Want::CHANGE));
            }
            rest = self.settings.look(&self.swapper).unwrap_or(poll);
            tokio::time::sleep((took * PAUSE).min(poll)).await;
        }
    }
}

impl SettingsFile {
    /// Reads it when it has changed and is whole, or stays away. Returns when to look again.
    fn look(&mut self, swapper: &Arc<Swapper>) -> Option<Duration> {
        let seen = Seen::at(&self.path);
        self.is_due |= seen != self.seen;
        self.seen = seen;
        if !self.is_due {
            return None;
        }
        let settings = &swapper.config.swap;
        if let Some(stat) = seen.stat() {
            self.gone = None;
            let rest = settings.settle.saturating_sub(stat.age());
            if !rest.is_zero() {
                return Some(rest);
            }
            if stat.age() < settings.removal && source::is_cut_off(&self.path) {
                return Some(DEBOUNCE);
            }
        } else {
            let gone = self.gone.get_or_insert_with(Instant::now).elapsed();
            let rest = settings.removal.saturating_sub(gone);
            if !rest.is_zero() {
                return Some(rest);
            }
        }
        self.is_due = false;
        // It logs why it is not read.
        if swapper.reconfigure().is_ok() {
            let swapper = swapper.clone();
            // Each logs what it comes to.
            tokio::spawn(async move { swapper.reload_all(Want::CHANGE).await });
        }
        None
    }
}

/// What was seen, and what is watched.
struct Eyes {
    swapper: Arc<Swapper>,
    /// `None` where the system tells nothing.
    notifier: Option<RecommendedWatcher>,
    /// The folder of `fanfare.json`.
    beside: Option<PathBuf>,
    /// The folders that are watched.
    watched: HashMap<Folder, PathBuf>,
    /// What every module looked like.
    prints: BTreeMap<String, Print>,
    /// Folders that have no `module.json`, and will not have one before they look different.
    empty: HashMap<String, (Folder, SystemTime)>,
}

/// What tells a folder from the one that takes its place: device, inode, and when it was made,
/// where that is known, for the inode may be that of one which was deleted.
type Folder = (u64, u64, Option<SystemTime>);

/// What may be a module.
struct FolderEntry {
    name: String,
    path: PathBuf,
    /// The folder, and when something was last put into it or removed from it. `None`: it cannot be
    /// looked at.
    folder: Option<(Folder, SystemTime)>,
}

/// What [`Roster::set_notice`](crate::registry::Roster::set_notice) is told about.
const FOLDER: &str = "modulesDir";
const EVENTS: &str = "swap.watch";

impl Eyes {
    fn open(swapper: Arc<Swapper>, tell: mpsc::Sender<()>, beside: Option<PathBuf>) -> Eyes {
        let mut eyes = Eyes {
            swapper,
            notifier: None,
            beside,
            watched: HashMap::new(),
            prints: BTreeMap::new(),
            empty: HashMap::new(),
        };
        match watcher(tell) {
            Ok(notifier) => eyes.notifier = Some(notifier),
            Err(error) => eyes.only_polls(&format!("{error}: raise fs.inotify.max_user_instances")),
        }
        eyes
    }

    fn only_polls(&self, why: &str) {
        let poll = self.swapper.config.swap.poll;
        let text = format!(
            "the system does not report changes of files, so they are found by a look every swap.poll ({poll:?}): {why}"
        );
        if self.swapper.roster.set_notice(EVENTS, Some(text.clone())) {
            tracing::warn!("{text}");
        }
    }

    /// Looks, and watches what is new. Returns the modules that have changed since the last look.
    fn look_around(&mut self) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        let Some(mut entries) = self.entries(&mut changed) else { return changed };
        changed.extend(self.look(&entries));
        while self.watch(&entries) {
            // What was written before it was watched.
            let Some(now) = self.entries(&mut changed) else { break };
            entries = now;
            changed.extend(self.look(&entries));
        }
        changed
    }

    /// What may be a module. `None` when `modulesDir` cannot be read: then nothing is known to have
    /// changed. Once it can be, what was refused meanwhile counts as changed.
    fn entries(&self, changed: &mut BTreeSet<String>) -> Option<Vec<FolderEntry>> {
        let (roster, dir) = (&self.swapper.roster, &self.swapper.config.modules_dir);
        let entries = match entries(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let text = format!(
                    "modulesDir {} cannot be read, what is loaded keeps serving: {error}; make it readable",
                    dir.display()
                );
                if roster.set_notice(FOLDER, Some(text.clone())) {
                    tracing::error!("{text}");
                }
                return None;
            }
        };
        if roster.set_notice(FOLDER, None) {
            tracing::info!("modulesDir {} can be read again", dir.display());
            let refused = |name: &String, state: &ModuleState| {
                matches!(state, ModuleState::Refused(_)) || matches!(roster.note(name), Some(Note::Refused { .. }))
            };
            changed
                .extend(roster.states().into_iter().filter(|(name, state)| refused(name, state)).map(|(name, _)| name));
        }
        Some(entries)
    }

    /// Which modules have changed since the last look.
    fn look(&mut self, entries: &[FolderEntry]) -> Vec<String> {
        let dir = &self.swapper.config.modules_dir;
        let (mut prints, mut empty) = (BTreeMap::new(), HashMap::new());
        let mut before = std::mem::take(&mut self.prints);
        let mut changed = Vec::new();
        let mut compare = |name: &str, path: &Path, before: Option<Print>| {
            let print = Print::of(path, before.as_ref());
            let is_missing = print.is_missing();
            if before.as_ref() != (!is_missing).then_some(&print) {
                changed.push(name.to_owned());
            }
            if !is_missing {
                prints.insert(name.to_owned(), print);
            }
            is_missing
        };
        for FolderEntry { name, path, folder } in entries {
            let known = self.empty.get(name).filter(|known| Some(*known) == folder.as_ref());
            if known.is_none() && !compare(name, path, before.remove(name)) {
                continue;
            }
            if let Some((folder, changed)) = folder.filter(|folder| known.is_some() || stays_empty(path, folder.1)) {
                empty.insert(name.clone(), (folder, changed));
            }
        }
        // A removed folder, or something else in its place.
        for (name, print) in before {
            compare(&name, &dir.join(&name), Some(print));
        }
        (self.prints, self.empty) = (prints, empty);
        changed
    }

    /// Watches the folders that matter now, and no others. Returns whether there is one that was
    /// not watched before.
    fn watch(&mut self, entries: &[FolderEntry]) -> bool {
        let Some(notifier) = &mut self.notifier else { return false };
        let dir = &self.swapper.config.modules_dir;
        let mut wanted: Vec<(Folder, PathBuf)> = [Some(dir), self.beside.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|folder| nearest(folder.clone()))
            .collect();
        // One without `module.json` too: it may become a module.
        wanted.extend(entries.iter().filter_map(|entry| Some((entry.folder?.0, entry.path.clone()))));
        for (name, print) in &self.prints {
            let Some(component) = print.component.as_deref() else { continue };
            let folder = component.parent().filter(|folder| *folder != dir.join(name));
            // Where it really is, when it is a link.
            let target = component.canonicalize().ok();
            let folders = [folder, target.as_deref().and_then(Path::parent)].into_iter().flatten();
            wanted.extend(folders.filter_map(|folder| nearest(folder.to_owned())));
        }
        let folders: HashMap<Folder, ()> = wanted.iter().map(|(folder, _)| (*folder, ())).collect();
        let gone: Vec<_> = self.watched.extract_if(|folder, _| !folders.contains_key(folder)).collect();
        for (_, path) in gone {
            // It may be gone by itself.
            let _ = notifier.unwatch(&path);
        }
        let before = self.watched.len();
        let mut full = None;
        for (folder, path) in wanted {
            if self.watched.contains_key(&folder) {
                continue;
            }
            match notifier.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                Err(error) if is_gone(&error) => continue,
                Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => {
                    full = Some(error);
                    break;
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "not watched: what changes here is found by a look every swap.poll");
                }
            }
            self.watched.insert(folder, path);
        }
        match full {
            Some(error) => self.only_polls(&format!("{error} raise fs.inotify.max_user_watches")),
            None => drop(self.swapper.roster.set_notice(EVENTS, None)),
        }
        self.watched.len() > before
    }
}

/// What may be a module in this folder: folders, links to folders, and what cannot be looked at.
fn entries(dir: &Path) -> io::Result<Vec<FolderEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_candidate(&name) || entry.file_type().is_ok_and(|kind| !kind.is_dir() && !kind.is_symlink()) {
            continue;
        }
        let path = entry.path();
        let folder = match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() => {
                Some((folder_of(&meta), meta.modified().unwrap_or_else(|_| SystemTime::now())))
            }
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => None,
        };
        entries.push(FolderEntry { name, path, folder });
    }
    Ok(entries)
}

fn folder_of(meta: &fs::Metadata) -> Folder {
    (meta.dev(), meta.ino(), meta.created().ok())
}

/// Whether a folder without `module.json` gets one only in a way that changes the folder. A link
/// that leads nowhere may come to lead somewhere.
fn stays_empty(path: &Path, changed: SystemTime) -> bool {
    let is_old = SystemTime::now().duration_since(changed).is_ok_and(|age| age > CERTAIN);
    let nothing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    is_old && fs::symlink_metadata(path.join(manifest::FILE_NAME)).is_err_and(|error| nothing(&error))
}

/// The folder, or the nearest one above it that exists.
fn nearest(mut folder: PathBuf) -> Option<(Folder, PathBuf)> {
    loop {
        match fs::metadata(&folder) {
            Ok(meta) if meta.is_dir() => return Some((folder_of(&meta), folder)),
            _ if !folder.pop() => return None,
            _ => {}
        }
    }
}
