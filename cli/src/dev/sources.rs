//! The sources of modules (`build.watch`), the files that list their packages, and whether they
//! have changed.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::build::packages::Packages;
use fanfare::tooling::{Manifest, files};

/// Events within this time count as one save, because editors write a file several times.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// The maximum number of source files compared in each module.
const MAX_FILES: usize = 20_000;
/// The maximum depth of folders searched for sources.
const MAX_DEPTH: usize = 32;

/// Where cargo writes.
const TARGET: &str = "target";
/// What package managers and Python write.
const WRITTEN: [&str; 3] = ["node_modules", "package-lock.json", "__pycache__"];

/// Path, modification time and size of a source file.
type Source = (PathBuf, SystemTime, u64);

/// What a build of a module depends on.
#[derive(Default)]
struct Fingerprint {
    /// Sorted by path.
    sources: Vec<Source>,
    /// The packages that are to be installed: see [`Packages::due`].
    due: Vec<String>,
}

/// A module that must be built.
pub struct Changed {
    pub manifest: Arc<Manifest>,
    /// The approximate time of the save.
    pub saved_at: Instant,
}

/// Watches the sources of modules.
pub struct SourceWatcher {
    notifier: RecommendedWatcher,
    events: mpsc::Receiver<()>,
    /// Adds an event, so that the sources are compared again.
    retry: mpsc::Sender<()>,
    modules_dir: PathBuf,
    watched: HashSet<PathBuf>,
    /// The fingerprint of each module at the last call of `changed`, and when that was.
    fingerprints: HashMap<String, Fingerprint>,
    compared_at: Instant,
    /// Nothing that the next comparison finds was saved earlier.
    unchanged_until: Instant,
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
            watched: HashSet::new(),
            fingerprints: HashMap::new(),
            compared_at: Instant::now(),
            unchanged_until: Instant::now(),
        };
        sources.changed(modules);
        Ok(sources)
    }

    /// Waits until a file is saved.
    pub async fn next_save(&mut self) {
        let asked = Instant::now();
        if files::next_change(&mut self.events, DEBOUNCE).await.is_none() {
            std::future::pending().await
        }
        // A file that was saved before this call, during a build, is noticed at once.
        let recent = DEBOUNCE * 2;
        let waited = if asked.elapsed() < recent { None } else { Instant::now().checked_sub(recent) };
        self.unchanged_until = waited.unwrap_or(self.compared_at);
    }

    /// Returns the modules that have changed since the last call, and new modules that must be
    /// built. Watches the sources of these modules from now on.
    pub fn changed(&mut self, modules: Vec<Arc<Manifest>>) -> Vec<Changed> {
        self.compared_at = Instant::now();
        let mut wanted = HashSet::from([self.modules_dir.clone()]);
        // Watches every folder, because an empty one may become a module.
        let folders = fs::read_dir(&self.modules_dir).into_iter().flatten().flatten().map(|entry| entry.path());
        wanted.extend(folders.filter(|path| path.is_dir()));
        let mut changed = Vec::new();
        for manifest in modules {
            wanted.insert(manifest.dir.clone());
            let mut tree = Tree::of(&manifest);
            // The host leaves a changed manifest to `fanfare dev`.
            tree.add(&manifest.file, 0, &[]);
            tree.sources.sort();
            wanted.extend(tree.folders);
            let due = Packages::of(&manifest).iter().filter_map(Packages::due).collect();
            let fingerprint = Fingerprint { sources: tree.sources, due };
            let previous = self.fingerprints.remove(&manifest.name);
            let saved = previous.as_ref().and_then(|previous| fingerprint.newest_since(previous));
            let is_changed = match &previous {
                None => is_stale(&manifest),
                Some(previous) => {
                    let is_due = !fingerprint.due.is_empty() && fingerprint.due != previous.due;
                    is_due || fingerprint.sources != previous.sources
                }
            };
            self.fingerprints.insert(manifest.name.clone(), fingerprint);
            if is_changed {
                let age = saved.and_then(|saved| saved.elapsed().ok()).unwrap_or(DEBOUNCE);
                // A file that was renamed may have an older time.
                let saved_at = self.compared_at.checked_sub(age).unwrap_or(self.unchanged_until);
                let saved_at = saved_at.max(self.unchanged_until);
                changed.push(Changed { manifest, saved_at });
            }
        }
        self.watch(wanted);
        changed
    }

    /// Watches these folders, and no others. Watches none recursively, because `node_modules` may
    /// be in one of them.
    fn watch(&mut self, wanted: HashSet<PathBuf>) {
        for path in self.watched.extract_if(|path| !wanted.contains(path)) {
            // Fails when the path was removed, which ended the watch.
            let _ = self.notifier.unwatch(&path);
        }
        for path in wanted {
            if self.watched.contains(&path) {
                continue;
            }
            match self.notifier.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path);
                    // A file may have been saved before the watch began.
                    let _ = self.retry.try_send(());
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot watch this path: run `fanfare build` after changes here")
                }
            }
        }
    }
}

impl Fingerprint {
    /// The newest time of the sources that differ from a previous fingerprint.
    fn newest_since(&self, previous: &Fingerprint) -> Option<SystemTime> {
        let is_new = |source: &&Source| previous.sources.binary_search(source).is_err();
        self.sources.iter().filter(is_new).map(|(_, saved, _)| *saved).max()
    }
}

/// Whether a module must be built before it can be served: its component is missing, or is older
/// than the sources or the lists of packages. A component that is checked in counts as up to date,
/// because a checkout gives its files their times in any order.
pub fn is_stale(manifest: &Manifest) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified());
    let Ok(built) = time(&manifest.component) else { return true };
    let sources = Tree::of(manifest).sources.into_iter().map(|(path, _, _)| path);
    let listed = Packages::of(manifest).into_iter().flat_map(|packages| packages.files());
    let is_newer = |path: PathBuf| time(&path).is_ok_and(|changed| changed > built);
    sources.chain(listed).any(is_newer) && !is_checked_in(manifest)
}

/// Whether git has the component. It is not asked about cargo's folder, which nobody checks in.
fn is_checked_in(manifest: &Manifest) -> bool {
    let place = manifest.component.strip_prefix(&manifest.dir).unwrap_or(&manifest.component);
    if place.starts_with(TARGET) {
        return false;
    }
    let mut git = Command::new("git");
    git.args(["ls-files", "--error-unmatch", "--"]).arg(place).current_dir(&manifest.dir);
    git.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    git.status().is_ok_and(|status| status.success())
}

/// The files of a module, and the folders that they are in.
#[derive(Default)]
struct Tree {
    sources: Vec<Source>,
    folders: Vec<PathBuf>,
}

impl Tree {
    /// What is below the paths of `build.watch`, without what builds write.
    fn of(manifest: &Manifest) -> Tree {
        let watch = manifest.build.as_ref().map(|build| build.watch.as_slice()).unwrap_or_default();
        let built = [manifest.component.clone(), manifest.dir.join(TARGET)];
        let mut tree = Tree::default();
        for path in watch.iter().map(|path| manifest.dir.join(path)) {
            tree.folders.extend(path.parent().filter(|_| path.is_file()).map(Path::to_owned));
            tree.add(&path, MAX_DEPTH, &built);
        }
        tree
    }

    /// Adds a file, or the files below a folder. Skips `built`, [`WRITTEN`], and hidden files and
    /// backups, which editors write beside a file.
    fn add(&mut self, path: &Path, depth: usize, built: &[PathBuf]) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_source = !name.starts_with('.') && !name.ends_with('~') && !WRITTEN.contains(&&*name);
        if !is_source || built.iter().any(|built| built == path) || self.sources.len() >= MAX_FILES {
            return;
        }
        let Ok(meta) = fs::metadata(path) else { return };
        if meta.is_file() {
            self.sources.push((path.to_owned(), meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len()));
        } else if let (Some(depth), true) = (depth.checked_sub(1), meta.is_dir()) {
            // A virtual environment of Python.
            if path.join("pyvenv.cfg").exists() {
                return;
            }
            self.folders.push(path.to_owned());
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                self.add(&entry.path(), depth, built);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_stale_if_a_source_or_a_list_of_packages_is_newer() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("made");
        fs::create_dir(&dir).unwrap();
        let now = SystemTime::now();
        let write = |name: &str, seconds: u64| {
            let path = dir.join(name);
            fs::write(&path, "").unwrap();
            let file = fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(now + Duration::from_secs(seconds)).unwrap();
        };
        let manifest = r#"{ "component": "out.wasm", "build": { "command": "true", "watch": ["a.py"] } }"#;
        fs::write(dir.join("module.json"), manifest).unwrap();
        let manifest = Manifest::load(&dir).unwrap();
        write("a.py", 5);
        assert!(is_stale(&manifest), "the component does not exist");
        for (component, stale) in [(4, true), (5, false), (6, false)] {
            write("out.wasm", component);
            assert_eq!(is_stale(&manifest), stale, "{component}");
        }
        for (list, stale) in [(6, false), (7, true)] {
            write("requirements.txt", list);
            assert_eq!(is_stale(&manifest), stale, "{list}");
        }
    }
}
