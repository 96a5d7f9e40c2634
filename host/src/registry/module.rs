//! [`Module`]: a module in memory.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::loader::digest;
use super::manifest::{FILE_NAME, Manifest, ManifestError};
use crate::config::formats;
use crate::document::source::{self, MAX_BYTES};
use crate::document::{Fault, ValueOrigin};
use crate::files::digest_of;

/// The folder of all modules in memory, in messages only.
const FOLDER: &str = "memory:";

/// A module that the program has in memory instead of in a folder.
///
/// The host checks it like a folder. Messages name its files `memory:/<name>/module.json` and so
/// on. The host never writes it into `modulesDir`. It saves good generations in `stateDir`, as it
/// does for folders, so that a rollback works.
///
/// ```
/// let manifest = r#"{ "component": "hello.wasm", "routes": [{ "path": "hi", "handler": "hi" }] }"#;
/// let component: Vec<u8> = vec![/* include_bytes!("hello.wasm") */];
/// let module = fanfare::Module::new("hello", manifest, component);
/// assert_eq!(module.name(), "hello");
/// ```
#[derive(Debug, Clone)]
pub struct Module {
    name: String,
    manifest: String,
    component: Bytes,
}

impl Module {
    /// Creates a module from its name, the text of its `module.json` and the bytes of its
    /// component. The name is what the name of the folder is to a module on disk:
    /// `[a-z][a-z0-9-]{0,63}`. Nothing is checked before the module is loaded.
    pub fn new(name: impl Into<String>, manifest: impl Into<String>, component: impl Into<Bytes>) -> Module {
        Module { name: name.into(), manifest: manifest.into(), component: component.into() }
    }

    /// Returns the name of the module.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn component(&self) -> &Bytes {
        &self.component
    }

    /// Checks the name.
    pub(crate) fn check_name(&self) -> Result<(), ManifestError> {
        match formats::is_module(&self.name) {
            true => Ok(()),
            false => Err(self.fault(format!("the name must be {}: rename the module", formats::MODULE_RULE))),
        }
    }

    /// Checks the name and the manifest.
    pub(crate) fn manifest(&self) -> Result<Manifest, ManifestError> {
        self.check_name()?;
        if self.manifest.len() as u64 > MAX_BYTES {
            return Err(self.fault(source::TOO_LARGE.to_owned()));
        }
        let dir = Path::new(FOLDER).join(&self.name);
        let manifest = Manifest::from_text(&dir, &self.manifest)?;
        // The checked manifest has absolute paths, but this folder is nowhere.
        let component =
            manifest.component.strip_prefix(&manifest.dir).map_or(manifest.component.clone(), PathBuf::from);
        Ok(Manifest { component: dir.join(component), file: dir.join(FILE_NAME), dir, ..manifest })
    }

    /// The [`folder_digest`](super::folder_digest) of a folder with the same files.
    pub(crate) fn digest(&self) -> String {
        let component = self.manifest().ok().and_then(|_| digest_of(&mut &*self.component).ok());
        digest(&component.unwrap_or_default(), self.manifest.as_bytes())
    }

    fn fault(&self, message: String) -> ManifestError {
        let file = source::shown(&Path::new(FOLDER).join(&self.name).join(FILE_NAME));
        ManifestError { faults: Fault::new(&ValueOrigin::start_of(&file), "", message).into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"{ "component": "sub/a.wasm" }"#;

    #[test]
    fn its_files_are_named_as_in_memory() {
        let manifest = Module::new("hello", MANIFEST, "").manifest().unwrap();
        assert_eq!(manifest.name, "hello");
        assert_eq!(manifest.component, Path::new("memory:/hello/sub/a.wasm"));
        assert_eq!(manifest.file, Path::new("memory:/hello/module.json"));
    }

    #[test]
    fn a_fault_names_the_place_in_the_manifest() {
        let error = |name: &str, manifest: &str| Module::new(name, manifest, "").manifest().unwrap_err().to_string();
        let text = error("hello", r#"{ "component": "a.wasm", "rutes": [] }"#);
        assert_eq!(text, "memory:/hello/module.json:1:26: rutes: unknown key; did you mean \"routes\"?");
        for name in ["Hello", "a/b", "", ".."] {
            assert!(error(name, MANIFEST).contains("the name must be "), "{name}");
        }
        let spaces = |count: u64| " ".repeat(usize::try_from(count).unwrap() - MANIFEST.len());
        assert!(Module::new("a", format!("{MANIFEST}{}", spaces(MAX_BYTES)), "").manifest().is_ok());
        assert!(error("a", &format!("{MANIFEST}{}", spaces(MAX_BYTES + 1))).contains("must be at most 1MiB"));
    }

    #[test]
    fn its_digest_is_that_of_a_folder_with_the_same_files() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("hello");
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        for manifest in [MANIFEST, "{"] {
            std::fs::write(dir.join(FILE_NAME), manifest).unwrap();
            std::fs::write(dir.join("sub/a.wasm"), "bytes").unwrap();
            let digest = Module::new("hello", manifest, "bytes").digest();
            assert_eq!(digest, crate::registry::folder_digest(&dir, 1_000));
        }
    }
}
