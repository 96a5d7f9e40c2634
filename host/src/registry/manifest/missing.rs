//! What to tell an author whose module lacks a part: its component or its manifest.

use std::fmt;
use std::path::{Path, PathBuf};

use super::model::Manifest;
use super::raw::FILE_NAME;
use super::scan::{is_module, is_scanned};
use crate::config::formats;
use crate::document::shape::nearest;
use crate::document::source::shown;

/// The most entries of a folder that are looked at.
const MAX_ENTRIES: usize = 1_024;

/// The most files and folders without a manifest that are reported.
const MAX_STRAYS: usize = 32;

/// A component that does not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingComponent {
    pub path: PathBuf,
    module: String,
    /// Whether `module.json` has a `build.command`.
    is_built: bool,
    /// The component that exists and whose name is most similar.
    nearest: Option<PathBuf>,
}

impl MissingComponent {
    /// Looks for files with similar names, so it reads folders.
    pub fn of(manifest: &Manifest) -> MissingComponent {
        MissingComponent {
            path: manifest.component.clone(),
            module: manifest.name.clone(),
            is_built: manifest.build.is_some(),
            nearest: nearest_component(manifest),
        }
    }
}

impl fmt::Display for MissingComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the component {} does not exist", shown(&self.path))?;
        let nearest = self.nearest.as_deref().map(shown);
        match (self.is_built, nearest) {
            (true, None) => write!(f, ": run `fanfare build {}`", self.module),
            (true, Some(near)) => write!(f, ": run `fanfare build {}`, or set `component` to {near}", self.module),
            (false, Some(near)) => write!(f, ": did you mean {near}? Set `component` to the file"),
            (false, None) => f.write_str(": put the file there, or set `component` to the file"),
        }
    }
}

fn nearest_component(manifest: &Manifest) -> Option<PathBuf> {
    let folders = [manifest.component.parent(), Some(manifest.dir.as_path())];
    let mut found: Vec<PathBuf> = folders.into_iter().flatten().flat_map(components).collect();
    found.sort();
    found.dedup();
    // Without the extension, which all have.
    let name = |path: &Path| path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let names: Vec<String> = found.iter().map(|path| name(path)).collect();
    let similar = nearest(&name(&manifest.component), &names.iter().map(String::as_str).collect::<Vec<_>>());
    match similar.and_then(|similar| names.iter().position(|name| name == similar)) {
        Some(index) => found.get(index).cloned(),
        // The only component is probably the one.
        None => found.pop().filter(|_| found.is_empty()),
    }
}

/// The components in a folder, sorted.
fn components(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().take(MAX_ENTRIES);
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_component(path)).collect();
    found.sort();
    found
}

fn is_component(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wasm") && path.is_file()
}

/// A component in `modulesDir` that belongs to no module, because a `module.json` is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// The component, or the folder that contains components.
    pub path: PathBuf,
    /// The components in the folder. Empty if `path` is a component itself.
    components: Vec<PathBuf>,
}

/// Returns the components that lie in `modules_dir` itself, and the folders with components but
/// without a `module.json`, sorted, at most 32.
pub fn strays(modules_dir: &Path) -> Vec<Stray> {
    let entries = std::fs::read_dir(modules_dir).into_iter().flatten().flatten().take(MAX_ENTRIES);
    let paths = entries.filter(|entry| is_scanned(&entry.file_name().to_string_lossy())).map(|entry| entry.path());
    let stray = |path: PathBuf| match () {
        () if is_component(&path) => Some(Stray { path, components: Vec::new() }),
        () if path.is_dir() && !is_module(&path) => {
            let components = components(&path);
            (!components.is_empty()).then_some(Stray { path, components })
        }
        () => None,
    };
    let mut found: Vec<Stray> = paths.filter_map(stray).collect();
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found.truncate(MAX_STRAYS);
    found
}

impl Stray {
    /// Whether it is a folder with components, and not a component.
    pub fn is_folder(&self) -> bool {
        !self.components.is_empty()
    }

    /// A manifest that loads the component, without routes.
    fn manifest(component: &Path) -> String {
        let name = component.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        format!("{{ \"component\": {}, \"routes\": [] }}", serde_json::Value::from(name))
    }

    /// Why it is not loaded, and what to do. The text follows the path.
    pub fn reason(&self) -> String {
        let path = shown(&self.path);
        let Some(component) = self.components.first() else {
            let stem = self.path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
            let name: String = stem.to_lowercase().replace('_', "-");
            let name = if formats::is_module(&name) { name } else { "my-module".to_owned() };
            let dir = self.path.with_file_name(&name);
            let (dir, manifest) = (shown(&dir), Stray::manifest(&self.path));
            return format!(
                "is not loaded, because a module is a folder with a {FILE_NAME}: move the file into {dir}, and write \
                 to {dir}/{FILE_NAME}: {manifest}"
            );
        };
        let (component_shown, manifest) = (shown(component), Stray::manifest(component));
        format!(
            "is not loaded, because it has no {FILE_NAME}: write to {path}/{FILE_NAME}: {manifest}, and add a route \
             for each handler that `fanfare inspect {component_shown}` shows; a component for wasi:http needs none, and \
             a program needs a schedule with `command`"
        )
    }
}

impl fmt::Display for Stray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", shown(&self.path), self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for file in files {
            let file = temp.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        temp
    }

    #[test]
    fn a_missing_component_names_the_nearest_file_and_the_remedy() {
        for (files, build, words) in [
            (&["m/Echo.wasm", "m/other.wasm"][..], "", "did you mean {}/Echo.wasm? Set `component` to the file"),
            (&["m/far-away.wasm"], "", "did you mean {}/far-away.wasm? Set"),
            (&["m/one.wasm", "m/two.wasm"], "", "put the file there, or set `component` to the file"),
            (&["m/readme.md"], "", "put the file there"),
            (&[], r#", "build": { "command": "make" }"#, "run `fanfare build m`"),
            (
                &["m/ecko.wasm"],
                r#", "build": { "command": "make" }"#,
                "run `fanfare build m`, or set `component` to {}/",
            ),
        ] {
            let temp = folder(files);
            let dir = temp.path().join("m");
            std::fs::create_dir_all(&dir).unwrap();
            let text = format!(r#"{{ "component": "echo.wasm", "routes": []{build} }}"#);
            let shown = MissingComponent::of(&Manifest::from_text(&dir, &text).unwrap()).to_string();
            let dir = dir.display().to_string();
            assert!(shown.starts_with(&format!("the component {dir}/echo.wasm does not exist: ")), "{shown}");
            assert!(shown.contains(&words.replace("{}", &dir)), "{shown}");
        }
    }

    #[test]
    fn components_without_a_manifest_are_reported_with_one_to_paste() {
        let temp =
            folder(&["loose_one.wasm", "bare/x.wasm", "good/module.json", "good/g.wasm", "_skip/x.wasm", "docs/a.md"]);
        let all: Vec<String> = strays(temp.path()).iter().map(ToString::to_string).collect();
        let dir = temp.path().display();
        assert_eq!(all.len(), 2, "{all:?}");
        let bare =
            format!("{dir}/bare is not loaded, because it has no module.json: write to {dir}/bare/module.json: ");
        assert!(all[0].starts_with(&(bare + r#"{ "component": "x.wasm", "routes": [] }, and add"#)), "{}", all[0]);
        let loose = format!("{dir}/loose_one.wasm is not loaded, because a module is a folder with a module.json: ");
        assert!(all[1].starts_with(&loose), "{}", all[1]);
        let remedy = format!(
            "move the file into {dir}/loose-one, and write to {dir}/loose-one/module.json: {}",
            r#"{ "component": "loose_one.wasm", "routes": [] }"#
        );
        assert!(all[1].ends_with(&remedy), "{}", all[1]);
        let pasted = r#"{ "component": "x.wasm", "routes": [] }"#;
        assert!(Manifest::from_text(&temp.path().join("bare"), pasted).is_ok());
        assert!(strays(&temp.path().join("nothing")).is_empty());
    }

    #[test]
    fn at_most_32_strays_are_reported() {
        let files: Vec<String> = (0..=MAX_STRAYS).map(|number| format!("m{number}.wasm")).collect();
        let temp = folder(&files.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(strays(temp.path()).len(), MAX_STRAYS);
    }
}
