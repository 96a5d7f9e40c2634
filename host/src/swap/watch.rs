//! Notices what changes in `modulesDir` and `fanfare.json`, and asks for reloads.
//!
//! Watched are folders, never what is below them: `modulesDir`, each one in it, those that components are in, and that of
//! `fanfare.json`. What has happened is not taken from the events, which tell only that it is time to look: files that
//! are written in place, renamed, linked anew or deleted and made again all look different afterwards.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notify_debouncer_full::notify::{Config as NotifyConfig, EventKind, RecommendedWatcher, RecursiveMode};
use notify_debouncer_full::{DebounceEventResult, Debouncer, NoCache, new_debouncer_opt};
use tokio::sync::mpsc;

use super::disk::{Print, Stat};
use super::{Swapper, Want};
use crate::config::{FILE_NAME, formats, source};
use crate::registry::manifest::folders;

/// Events that come within it are looked into once.
const DEBOUNCE: Duration = Duration::from_millis(20);

type Notifier = Debouncer<RecommendedWatcher, NoCache>;

/// Looks when something happens.
pub struct Watcher {
    swapper: Arc<Swapper>,
    notifier: Notifier,
    happened: mpsc::Receiver<()>,
    /// The folders that are watched.
    watched: HashMap<Folder, PathBuf>,
    /// What every module looked like.
    prints: BTreeMap<String, Print>,
    /// `fanfare.json`.
    config: PathBuf,
    config_print: Option<Stat>,
    /// Whether it has changed and was not read yet.
    config_due: bool,
}

impl Watcher {
    /// Begins to watch; what changes from now on is noticed. `None`, with a line in the log, where the system does not tell.
    pub fn start(swapper: &Arc<Swapper>) -> Option<Watcher> {
        let (tell, happened) = mpsc::channel(1);
        let told = move |result: DebounceEventResult| match result {
            // Looking is no change.
            Ok(events) if events.iter().all(|event| matches!(event.kind, EventKind::Access(_))) => {}
            result => {
                if let Err(errors) = result {
                    tracing::warn!(?errors, "a change may have been missed: `fanfare reload` takes it up");
                }
                // One that waits already stands for all.
                let _ = tell.try_send(());
            }
        };
        let notifier = new_debouncer_opt(DEBOUNCE, None, told, NoCache, NotifyConfig::default())
            .inspect_err(
                |error| tracing::warn!(%error, "files cannot be watched: only `fanfare reload` takes changes up"),
            )
            .ok()?;
        let config = swapper.config.file.clone().unwrap_or_else(|| swapper.config.root.join(FILE_NAME));
        let mut watcher = Watcher {
            swapper: swapper.clone(),
            notifier,
            happened,
            watched: HashMap::new(),
            prints: BTreeMap::new(),
            config_print: Stat::of(&config),
            config,
            config_due: false,
        };
        watcher.look();
        while watcher.watch() {
            watcher.look();
        }
        Some(watcher)
    }

    /// Asks for reloads as things change, for ever.
    pub async fn run(mut self) {
        let poll = self.swapper.config.swap.poll;
        let mut rest = poll;
        loop {
            tokio::select! {
                Some(()) = self.happened.recv() => {}
                () = tokio::time::sleep(rest) => {}
            }
            self.ask();
            while self.watch() {
                // What was written before it was watched.
                self.ask();
            }
            rest = self.look_at_config().unwrap_or(poll);
        }
    }

    /// Asks for reloads of what has changed since the last look.
    fn ask(&mut self) {
        for module in self.look() {
            // It logs what it comes to.
            drop(self.swapper.reload(&module, Want::CHANGE));
        }
    }

    /// Which modules have changed since the last look.
    fn look(&mut self) -> Vec<String> {
        let dir = &self.swapper.config.modules_dir;
        let mut prints = BTreeMap::new();
        for name in folders(dir).unwrap_or_default() {
            let print = Print::of(&dir.join(&name), self.prints.get(&name));
            if !print.is_missing() {
                prints.insert(name, print);
            }
        }
        let before = std::mem::replace(&mut self.prints, prints);
        let changed = self.prints.iter().filter(|(name, print)| before.get(*name) != Some(print)).map(|(name, _)| name);
        let gone = before.keys().filter(|name| !self.prints.contains_key(*name));
        changed.chain(gone).cloned().collect()
    }

    /// Reads `fanfare.json` when it has changed and is whole. Answers when to look again.
    fn look_at_config(&mut self) -> Option<Duration> {
        let print = Stat::of(&self.config);
        self.config_due |= print != self.config_print;
        self.config_print = print;
        let print = print.filter(|_| self.config_due)?;
        let settings = &self.swapper.config.swap;
        let rest = settings.settle.saturating_sub(print.age());
        if !rest.is_zero() {
            return Some(rest);
        }
        if print.age() < settings.removal && !source::is_whole(&self.config) {
            return Some(DEBOUNCE);
        }
        self.config_due = false;
        match self.swapper.reconfigure() {
            Ok(_) => {
                let swapper = self.swapper.clone();
                // Each logs what it comes to.
                tokio::spawn(async move { swapper.reload_all(Want::CHANGE).await });
            }
            Err(faults) => tracing::error!("the settings before stay: {faults}"),
        }
        None
    }

    /// Watches the folders that matter now, and no others. Answers whether there is one that was not watched before.
    fn watch(&mut self) -> bool {
        let config = &self.swapper.config;
        let components = self.prints.values().filter_map(|print| print.component.as_deref());
        let mut folders: Vec<PathBuf> = vec![config.modules_dir.clone()];
        folders.extend(self.config.parent().map(Path::to_owned));
        // An empty one too: it may become a module.
        let beside = fs::read_dir(&config.modules_dir).into_iter().flatten().flatten().map(|entry| entry.path());
        folders.extend(beside.filter(|path| is_folder_of_a_module(path)));
        for component in components {
            folders.extend(component.parent().map(Path::to_owned));
            // Where it really is, when it is a link.
            let target = component.canonicalize().ok();
            folders.extend(target.as_deref().and_then(Path::parent).map(Path::to_owned));
        }
        let wanted: HashMap<Folder, PathBuf> = folders.into_iter().filter_map(nearest).collect();
        let gone: Vec<_> = self.watched.extract_if(|folder, _| !wanted.contains_key(folder)).collect();
        for (_, path) in gone {
            // It may be gone by itself.
            let _ = self.notifier.unwatch(&path);
        }
        let before = self.watched.len();
        for (folder, path) in wanted {
            if self.watched.contains_key(&folder) {
                continue;
            }
            if let Err(error) = self.notifier.watch(&path, RecursiveMode::NonRecursive) {
                tracing::warn!(path = %path.display(), %error, "not watched: `fanfare reload` takes up what changes here");
            }
            self.watched.insert(folder, path);
        }
        self.watched.len() > before
    }
}

/// What tells a folder from the one that takes its place: device, inode, and when it was made, where that is known, for the
/// inode may be that of one which was deleted.
type Folder = (u64, u64, Option<SystemTime>);

fn is_folder_of_a_module(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(formats::is_module) && path.is_dir()
}

/// The folder, or the nearest one above it that is there.
fn nearest(mut folder: PathBuf) -> Option<(Folder, PathBuf)> {
    loop {
        match fs::metadata(&folder) {
            Ok(meta) if meta.is_dir() => return Some(((meta.dev(), meta.ino(), meta.created().ok()), folder)),
            _ if !folder.pop() => return None,
            _ => {}
        }
    }
}
