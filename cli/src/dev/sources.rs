//! The sources of modules: what `build.watch` names, and when it was saved.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use fanfare::tooling::{Manifest, files};

/// Events that come within it belong together: editors write several times.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// The most files of a module that are looked at, and how deep.
const MOST: usize = 20_000;
const DEEPEST: usize = 32;

/// What all watched files of a module look like: path, time of change, size.
type Print = Vec<(PathBuf, SystemTime, u64)>;

/// Notices that sources were saved.
pub struct Sources {
    notifier: RecommendedWatcher,
    happened: mpsc::Receiver<()>,
    /// Asks for another look.
    again: mpsc::Sender<()>,
    modules_dir: PathBuf,
    /// The paths that are watched, and whether with all below them.
    watched: HashMap<PathBuf, RecursiveMode>,
    /// What each module's sources were when they were last built.
    prints: HashMap<String, Print>,
}

impl Sources {
    pub fn watch(modules_dir: PathBuf, modules: Vec<Arc<Manifest>>) -> Result<Sources, notify::Error> {
        let (tell, happened) = mpsc::channel(1);
        let again = tell.clone();
        let notifier = files::watcher(tell)?;
        let mut sources =
            Sources { notifier, happened, again, modules_dir, watched: HashMap::new(), prints: HashMap::new() };
        sources.changed(modules);
        Ok(sources)
    }

    /// Waits until something is saved; answers about when.
    pub async fn saved(&mut self) -> Instant {
        if files::settled(&mut self.happened, DEBOUNCE).await.is_none() {
            return std::future::pending().await;
        }
        Instant::now().checked_sub(DEBOUNCE).unwrap_or_else(Instant::now)
    }

    /// Those of the modules whose sources have changed since the last time, and new ones that are to be built. All are watched
    /// from now on.
    pub fn changed(&mut self, modules: Vec<Arc<Manifest>>) -> Vec<Arc<Manifest>> {
        let mut wanted = HashMap::from([(self.modules_dir.clone(), RecursiveMode::NonRecursive)]);
        // An empty folder may become a module.
        let beside = fs::read_dir(&self.modules_dir).into_iter().flatten().flatten().map(|entry| entry.path());
        wanted.extend(beside.filter(|path| path.is_dir()).map(|path| (path, RecursiveMode::NonRecursive)));
        let mut changed = Vec::new();
        for manifest in modules {
            wanted.insert(manifest.dir.clone(), RecursiveMode::NonRecursive);
            for path in watched(&manifest).into_iter().filter(|path| path.is_dir()) {
                wanted.insert(path, RecursiveMode::Recursive);
            }
            let print = print(&manifest);
            let before = self.prints.insert(manifest.name.clone(), print.clone());
            if before.map_or_else(|| is_stale(&manifest), |before| before != print) {
                changed.push(manifest);
            }
        }
        let gone: Vec<_> = self.watched.extract_if(|path, mode| wanted.get(path) != Some(mode)).collect();
        for (path, _) in gone {
            // It may be gone by itself.
            let _ = self.notifier.unwatch(&path);
        }
        for (path, mode) in wanted {
            if self.watched.get(&path) == Some(&mode) {
                continue;
            }
            match self.notifier.watch(&path, mode) {
                Ok(()) => {
                    self.watched.insert(path, mode);
                    // For what was saved before it was watched.
                    let _ = self.again.try_send(());
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "not watched: build by hand what changes here")
                }
            }
        }
        changed
    }
}

/// Whether a module has to be built before it can be served: its component is not there, or is one of its own `target` and
/// older than its sources. A component that is kept beside the sources is taken as it is.
pub fn is_stale(manifest: &Manifest) -> bool {
    let Ok(made) = fs::metadata(&manifest.component).and_then(|meta| meta.modified()) else { return true };
    let below = manifest.component.strip_prefix(&manifest.dir).unwrap_or(&manifest.component);
    below.starts_with("target") && print(manifest).iter().any(|(_, changed, _)| *changed > made)
}

fn watched(manifest: &Manifest) -> Vec<PathBuf> {
    let watch = manifest.build.as_ref().map(|build| build.watch.as_slice()).unwrap_or_default();
    watch.iter().map(|path| manifest.dir.join(path)).collect()
}

fn print(manifest: &Manifest) -> Print {
    let mut print = Print::new();
    for path in watched(manifest) {
        collect(&path, DEEPEST, &mut print);
    }
    print.sort();
    print
}

/// Without what editors put beside a file for a while.
fn collect(path: &Path, depth: usize, print: &mut Print) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.starts_with('.') || name.ends_with('~') || print.len() >= MOST {
        return;
    }
    let Ok(meta) = fs::metadata(path) else { return };
    if meta.is_file() {
        print.push((path.to_owned(), meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len()));
    } else if let (Some(depth), true) = (depth.checked_sub(1), meta.is_dir()) {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            collect(&entry.path(), depth, print);
        }
    }
}
