//! Watches `modulesDir` and `fanfare.json`, and requests reloads when they change.
//!
//! Watches folders, not recursively: `modulesDir`, each folder in it, the folders of components,
//! and the folder of `fanfare.json`. An event only triggers a scan, which compares fingerprints. So
//! it does not matter whether a file was written in place, renamed, linked again, or deleted and
//! created. Where the system reports no events, a scan every `swap.poll` finds the same changes.
//!
//! After a scan, it pauses for four times the duration of the scan, so that many events cost
//! little. Only `NotFound` means that a file was removed. After any other error, `ENOTDIR`
//! included, the contents are unknown, and the previous generation keeps serving.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::disk::{Fingerprint, PathState};
use super::folders::{EmptyFolders, FolderEntry, FolderId, entries, nearest, stays_empty};
use super::pending::ReloadOptions;
use super::swapper::Swapper;
use crate::blocking::{remedy, run_blocking};
use crate::config::{FILE_NAME, SwapConfig};
use crate::document::source;
use crate::files::watch::{is_removed, next_change, watcher};
use crate::registry::manifest::{self, Stray};
use crate::registry::{ModuleState, Note};

/// Events within this time trigger one scan.
const DEBOUNCE: Duration = Duration::from_millis(20);

/// The pause after a scan as a multiple of the scan's duration, up to `swap.poll`. With very many
/// folders and a constant stream of events, scans use at most a fifth of one core.
const PAUSE_FACTOR: u32 = 4;

/// Scans after each event, and every `swap.poll`.
pub struct Watcher {
    swapper: Arc<Swapper>,
    events: mpsc::Receiver<()>,
    scanner: Scanner,
    settings: SettingsFile,
}

/// `fanfare.json`.
struct SettingsFile {
    path: PathBuf,
    state: PathState,
    /// Whether it has changed since it was last read.
    is_due: bool,
    /// When the file was found missing, while it may still return.
    missing_since: Option<Instant>,
}

impl Watcher {
    /// Starts to watch. Every later change is noticed, but nothing is reloaded before
    /// [`Watcher::run`].
    pub async fn start(swapper: &Arc<Swapper>) -> Watcher {
        let (sender, events) = mpsc::channel(1);
        let path = swapper.config.file.clone().unwrap_or_else(|| swapper.config.root.join(FILE_NAME));
        let settings = SettingsFile { state: PathState::of(&path), path, is_due: false, missing_since: None };
        let (watched, settings_dir) = (swapper.clone(), settings.path.parent().map(Path::to_owned));
        let scanner = run_blocking(move || {
            let mut scanner = Scanner::new(watched, sender, settings_dir);
            scanner.scan();
            scanner
        });
        Watcher { swapper: swapper.clone(), events, scanner: scanner.await, settings }
    }

    /// Requests a reload for each change. Never returns.
    pub async fn run(mut self) {
        let poll = self.swapper.config.swap.poll;
        let mut rest = poll;
        loop {
            tokio::select! {
                Some(()) = next_change(&mut self.events, DEBOUNCE) => {}
                () = tokio::time::sleep(rest) => {}
            }
            let (mut scanner, mut settings) = (self.scanner, self.settings);
            // Reading many folders takes long, and this thread also runs other tasks.
            let (scanner, settings, changed, state, took) = run_blocking(move || {
                let started = Instant::now();
                let changed = scanner.scan();
                let state = settings.check(&scanner.swapper.config.swap);
                (scanner, settings, changed, state, started.elapsed())
            })
            .await;
            (self.scanner, self.settings) = (scanner, settings);
            for module in changed {
                // The reload logs its result.
                drop(self.swapper.reload(&module, ReloadOptions::CHANGE));
            }
            rest = match state {
                SettingsState::Unchanged => poll,
                SettingsState::Unsettled(rest) => rest,
                SettingsState::Changed => {
                    // `reconfigure` logs the faults of the file.
                    if self.swapper.reconfigure().await.is_ok() {
                        let swapper = self.swapper.clone();
                        // Each reload logs its result.
                        tokio::spawn(async move { swapper.reload_all(ReloadOptions::CHANGE).await });
                    }
                    poll
                }
            };
            tokio::time::sleep((took * PAUSE_FACTOR).min(poll)).await;
        }
    }
}

/// What happened to `fanfare.json` since it was last read.
enum SettingsState {
    Unchanged,
    /// It may be incomplete, or return. Check again after this time.
    Unsettled(Duration),
    /// It has changed and is complete, or has been missing for long.
    Changed,
}

impl SettingsFile {
    fn check(&mut self, settings: &SwapConfig) -> SettingsState {
        let state = PathState::of(&self.path);
        self.is_due |= state != self.state;
        self.state = state;
        if !self.is_due {
            return SettingsState::Unchanged;
        }
        if let Some(stat) = state.stat() {
            self.missing_since = None;
            let rest = settings.settle.saturating_sub(stat.age());
            if !rest.is_zero() {
                return SettingsState::Unsettled(rest);
            }
            if stat.age() < settings.removal && source::is_cut_off(&self.path) {
                return SettingsState::Unsettled(DEBOUNCE);
            }
        } else {
            let missing = self.missing_since.get_or_insert_with(Instant::now).elapsed();
            let rest = settings.removal.saturating_sub(missing);
            if !rest.is_zero() {
                return SettingsState::Unsettled(rest);
            }
        }
        self.is_due = false;
        SettingsState::Changed
    }
}

/// Compares the module folders with the previous scan, and keeps the watches up to date.
struct Scanner {
    swapper: Arc<Swapper>,
    /// `None` where the system reports no events.
    notifier: Option<RecommendedWatcher>,
    /// The folder of `fanfare.json`.
    settings_dir: Option<PathBuf>,
    /// The watched folders.
    watched: HashMap<FolderId, PathBuf>,
    /// The fingerprint of every module at the previous scan.
    fingerprints: BTreeMap<String, Fingerprint>,
    /// Folders that have no `module.json`, and cannot get one without a new modification time.
    empty: EmptyFolders,
    /// When `modulesDir` had changed, and `empty`, when components without a manifest were last
    /// reported.
    reported: Option<(SystemTime, EmptyFolders)>,
}

/// The subjects of this file's notices: see
/// [`Roster::set_notice`](crate::registry::Roster::set_notice).
const FOLDER: &str = "modulesDir";
const EVENTS: &str = "swap.watch";

impl Scanner {
    fn new(swapper: Arc<Swapper>, events: mpsc::Sender<()>, settings_dir: Option<PathBuf>) -> Scanner {
        let mut scanner = Scanner {
            swapper,
            notifier: None,
            settings_dir,
            watched: HashMap::new(),
            fingerprints: BTreeMap::new(),
            empty: HashMap::new(),
            reported: None,
        };
        match watcher(events) {
            Ok(notifier) => scanner.notifier = Some(notifier),
            Err(error) => {
                let remedy = match &error.kind {
                    ErrorKind::Io(error) if error.kind() == io::ErrorKind::WouldBlock => remedy(error),
                    _ => "; raise fs.inotify.max_user_instances",
                };
                scanner.report_polling(&format!("{error}{remedy}"));
            }
        }
        scanner
    }

    fn report_polling(&self, why: &str) {
        let poll = self.swapper.config.swap.poll;
        let text = format!(
            "the system does not report file changes, so the host scans for them every swap.poll ({poll:?}): {why}"
        );
        if self.swapper.roster.set_notice(EVENTS, Some(text.clone())) {
            tracing::warn!("{text}");
        }
    }

    /// Scans all folders and watches new ones. Returns the modules that have changed since the
    /// previous scan.
    fn scan(&mut self) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        let Some(mut entries) = self.entries(&mut changed) else { return changed };
        changed.extend(self.compare(&entries));
        while self.update_watches(&entries) {
            // A file may have changed before its folder was watched.
            let Some(now) = self.entries(&mut changed) else { break };
            entries = now;
            changed.extend(self.compare(&entries));
        }
        self.report_strays();
        changed
    }

    /// Reports components without a manifest after a change. A folder that has just changed may be
    /// about to get its manifest.
    fn report_strays(&mut self) {
        let dir = &self.swapper.config.modules_dir;
        let modified = fs::metadata(dir).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        if self.reported.as_ref().is_some_and(|(when, empty)| *when == modified && *empty == self.empty) {
            return;
        }
        let settled = |stray: &Stray| {
            !stray.is_folder()
                || stray.path.file_name().is_some_and(|name| self.empty.contains_key(&*name.to_string_lossy()))
        };
        let strays: Vec<Stray> = manifest::strays(dir).into_iter().filter(settled).collect();
        self.swapper.set_strays(&strays);
        self.reported = Some((modified, self.empty.clone()));
    }

    /// Lists the folders that may be modules. Returns `None` when `modulesDir` cannot be read: then
    /// no module counts as changed. Once it can be read again, every rejected module counts as
    /// changed.
    fn entries(&self, changed: &mut BTreeSet<String>) -> Option<Vec<FolderEntry>> {
        let (roster, dir) = (&self.swapper.roster, &self.swapper.config.modules_dir);
        let entries = match entries(dir) {
            Ok(entries) => entries.into_iter().filter(|entry| self.swapper.config.serves(&entry.name)).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                let text = format!(
                    "modulesDir {} cannot be read, loaded modules keep serving: {error}; make it readable",
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
            let rejected = |name: &String, state: &ModuleState| {
                matches!(state, ModuleState::Refused(_)) || matches!(roster.note(name), Some(Note::Refused { .. }))
            };
            let states = roster.states().into_iter();
            changed.extend(states.filter(|(name, state)| rejected(name, state)).map(|(name, _)| name));
        }
        Some(entries)
    }

    /// Returns the modules whose fingerprints differ from the previous scan.
    fn compare(&mut self, entries: &[FolderEntry]) -> Vec<String> {
        let dir = &self.swapper.config.modules_dir;
        let (mut fingerprints, mut empty) = (BTreeMap::new(), HashMap::new());
        let mut previous = std::mem::take(&mut self.fingerprints);
        let mut changed = Vec::new();
        let mut compare_one = |name: &str, path: &Path, previous: Option<Fingerprint>| {
            let current = Fingerprint::of(path, previous.as_ref());
            let is_missing = current.is_missing();
            let is_left = || {
                !is_missing
                    && previous.as_ref().is_some_and(|previous| current.is_new_manifest(previous))
                    && self.swapper.is_built(path)
            };
            if previous.as_ref() != (!is_missing).then_some(&current) && !is_left() {
                changed.push(name.to_owned());
            }
            if !is_missing {
                fingerprints.insert(name.to_owned(), current);
            }
            is_missing
        };
        for FolderEntry { name, path, folder } in entries {
            let known_empty = self.empty.get(name).is_some_and(|known| Some(known) == folder.as_ref());
            if !known_empty && !compare_one(name, path, previous.remove(name)) {
                continue;
            }
            if let Some(folder) = folder.filter(|folder| known_empty || stays_empty(path, folder.1)) {
                empty.insert(name.clone(), folder);
            }
        }
        // The folder was removed, or is no longer a folder.
        for (name, fingerprint) in previous {
            compare_one(&name, &dir.join(&name), Some(fingerprint));
        }
        (self.fingerprints, self.empty) = (fingerprints, empty);
        changed
    }

    /// Watches exactly the folders that matter now. Returns whether a folder was added.
    fn update_watches(&mut self, entries: &[FolderEntry]) -> bool {
        let Some(notifier) = &mut self.notifier else { return false };
        let dir = &self.swapper.config.modules_dir;
        let mut wanted: Vec<(FolderId, PathBuf)> = [Some(dir), self.settings_dir.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|folder| nearest(folder.clone()))
            .collect();
        // Folders without `module.json` too, because they may become modules.
        wanted.extend(entries.iter().filter_map(|entry| Some((entry.folder?.0, entry.path.clone()))));
        for (name, fingerprint) in &self.fingerprints {
            let Some(component) = fingerprint.component.as_deref() else { continue };
            let folder = component.parent().filter(|folder| *folder != dir.join(name));
            // A link has a second folder: that of its target.
            let target = component.canonicalize().ok();
            let folders = [folder, target.as_deref().and_then(Path::parent)].into_iter().flatten();
            wanted.extend(folders.filter_map(|folder| nearest(folder.to_owned())));
        }
        let folders: HashMap<FolderId, ()> = wanted.iter().map(|(folder, _)| (*folder, ())).collect();
        let unwanted: Vec<_> = self.watched.extract_if(|folder, _| !folders.contains_key(folder)).collect();
        for (_, path) in unwanted {
            // The watch of a removed folder has already ended.
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
                Err(error) if is_removed(&error) => continue,
                Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => {
                    full = Some(error);
                    break;
                }
                Err(error) => {
                    let path = path.display();
                    tracing::warn!(%path, %error, "could not watch this folder; the host scans it every swap.poll");
                }
            }
            self.watched.insert(folder, path);
        }
        match full {
            Some(error) => self.report_polling(&format!("{error} raise fs.inotify.max_user_watches")),
            None => drop(self.swapper.roster.set_notice(EVENTS, None)),
        }
        self.watched.len() > before
    }
}
