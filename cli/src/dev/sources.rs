//! The sources of modules (`build.watch`), and whether they have changed.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use fanfare::tooling::{Manifest, files};

/// Events within this time count as one save, because editors write a file several times.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// The maximum number of source files compared in each module.
const MAX_FILES: usize = 20_000;
/// The maximum depth of folders searched for sources.
const MAX_DEPTH: usize = 32;

/// Path, modification time and size of every source file of a module.
type Fingerprint = Vec<(PathBuf, SystemTime, u64)>;

/// Watches the sources of modules.
pub struct SourceWatcher {
    notifier: RecommendedWatcher,
    events: mpsc::Receiver<()>,
    /// Adds an event, so that the sources are compared again.
    retry: mpsc::Sender<()>,
    modules_dir: PathBuf,
    /// The watched paths, and whether their subfolders are watched too.
    watched: HashMap<PathBuf, RecursiveMode>,
    /// The fingerprint of each module's sources at the last call of `changed`.
    fingerprints: HashMap<String, Fingerprint>,
}

impl SourceWatcher {
    /// Starts to watch the sources of these modules.
    pub fn new(modules_dir: PathBuf, modules: Vec<Arc<Manifest>>) -> Result<SourceWatcher, notify::Error> {
        let (notify, events) = mpsc::channel(1);
        let retry = notify.clone();
        let notifier = files::watcher(notify)?;
        let mut sources = SourceWatcher {
            notifier,
            events,
            retry,
            modules_dir,
            watched: HashMap::new(),
            fingerprints: HashMap::new(),
        };
        sources.changed(modules);
        Ok(sources)
    }

    /// Waits until a file is saved; returns the approximate time of the save.
    pub async fn next_save(&mut self) -> Instant {
        if files::next_change(&mut self.events, DEBOUNCE).await.is_none() {
            return std::future::pending().await;
        }
        Instant::now().checked_sub(DEBOUNCE).unwrap_or_else(Instant::now)
    }

    /// Returns the modules whose sources have changed since the last call, and new modules that
    /// must be built. Watches the sources of these modules from now on.
    pub fn changed(&mut self, modules: Vec<Arc<Manifest>>) -> Vec<Arc<Manifest>> {
        let mut wanted = HashMap::from([(self.modules_dir.clone(), RecursiveMode::NonRecursive)]);
        // Watches every folder, because an empty one may become a module.
        let folders = fs::read_dir(&self.modules_dir).into_iter().flatten().flatten().map(|entry| entry.path());
        wanted.extend(folders.filter(|path| path.is_dir()).map(|path| (path, RecursiveMode::NonRecursive)));
        let mut changed = Vec::new();
        for manifest in modules {
            wanted.insert(manifest.dir.clone(), RecursiveMode::NonRecursive);
            for path in watched(&manifest).into_iter().filter(|path| path.is_dir()) {
                wanted.insert(path, RecursiveMode::Recursive);
            }
            let mut fingerprint = fingerprint(&manifest);
            // The host leaves a changed manifest to `fanfare dev`.
            collect(&manifest.file, 0, &mut fingerprint);
            let previous = self.fingerprints.insert(manifest.name.clone(), fingerprint.clone());
            if previous.map_or_else(|| is_stale(&manifest), |previous| previous != fingerprint) {
                changed.push(manifest);
            }
        }
        let obsolete: Vec<_> = self.watched.extract_if(|path, mode| wanted.get(path) != Some(mode)).collect();
        for (path, _) in obsolete {
            // Fails when the path was removed, which ended the watch.
            let _ = self.notifier.unwatch(&path);
        }
        for (path, mode) in wanted {
            if self.watched.get(&path) == Some(&mode) {
                continue;
            }
            match self.notifier.watch(&path, mode) {
                Ok(()) => {
                    self.watched.insert(path, mode);
                    // A file may have been saved before the watch began.
                    let _ = self.retry.try_send(());
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot watch this path: run `fanfare build` after changes here")
                }
            }
        }
        changed
    }
}

/// Whether a module must be built before it can be served: its component is missing, or lies in the
/// module's `target` and is older than the sources. A component elsewhere counts as up to date,
/// because it may be checked in.
pub fn is_stale(manifest: &Manifest) -> bool {
    let Ok(built) = fs::metadata(&manifest.component).and_then(|meta| meta.modified()) else { return true };
    let place = manifest.component.strip_prefix(&manifest.dir).unwrap_or(&manifest.component);
    place.starts_with("target") && fingerprint(manifest).iter().any(|(_, changed, _)| *changed > built)
}

fn watched(manifest: &Manifest) -> Vec<PathBuf> {
    let watch = manifest.build.as_ref().map(|build| build.watch.as_slice()).unwrap_or_default();
    watch.iter().map(|path| manifest.dir.join(path)).collect()
}

fn fingerprint(manifest: &Manifest) -> Fingerprint {
    let mut fingerprint = Fingerprint::new();
    for path in watched(manifest) {
        collect(&path, MAX_DEPTH, &mut fingerprint);
    }
    fingerprint.sort();
    fingerprint
}

/// Adds the files below a path. Skips hidden files and backups, which editors write beside a file.
fn collect(path: &Path, depth: usize, fingerprint: &mut Fingerprint) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with('.') || name.ends_with('~') || fingerprint.len() >= MAX_FILES {
        return;
    }
    let Ok(meta) = fs::metadata(path) else { return };
    if meta.is_file() {
        fingerprint.push((path.to_owned(), meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len()));
    } else if let (Some(depth), true) = (depth.checked_sub(1), meta.is_dir()) {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            collect(&entry.path(), depth, fingerprint);
        }
    }
}
