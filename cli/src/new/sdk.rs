//! The SDKs of all languages, embedded in this program for modules outside a checkout, because they
//! are not published.

use std::borrow::Cow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::{fs, io};

use sha2::{Digest, Sha256};

use crate::error::CommandError;
use crate::schema::Which;
use fanfare::tooling::document::source::shown;
use fanfare::tooling::files::hex;

/// The lock file of the Rust SDK. A new module starts with these versions, because the SDK is
/// tested with them.
pub const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk/rust/Cargo.lock"));

/// A file: its path, and its content.
type File = (String, Cow<'static, [u8]>);

/// The embedded files, by their paths in the checkout. `build.rs` lists them.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/carried.rs"));

/// The files of the contract between modules and the host, by their names.
pub fn contract() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().filter_map(|(path, content)| {
        let name = path.strip_prefix("wit/").filter(|name| name.ends_with(".wit"))?;
        Some((name, str::from_utf8(content).ok()?))
    })
}

/// The file that identifies the SDKs.
const VERSION: &str = "VERSION";

/// What [`place`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    Written,
    /// The folder already had these SDKs.
    Current,
    /// The folder had another version.
    Replaced,
    /// The folder has another version with changed files, and was left alone.
    Modified,
}

/// Writes the SDKs to a folder, unless the folder has them.
pub fn place(dir: &Path) -> Result<Placement, CommandError> {
    let files = files();
    let digest = digest_of(&files);
    if !dir.exists() {
        write_folder(dir, with_version(files, &digest), None).map_err(CommandError::at(dir))?;
        return Ok(Placement::Written);
    }
    let Ok(version) = fs::read_to_string(dir.join(VERSION)) else {
        return Err(CommandError::ForeignSdk(shown(dir).to_string()));
    };
    let written = version.split_whitespace().nth(2).unwrap_or_default();
    if written == digest {
        return Ok(Placement::Current);
    }
    if digest_of(&read(dir).map_err(CommandError::at(dir))?) != written {
        return Ok(Placement::Modified);
    }
    write_folder(dir, with_version(files, &digest), Some(written)).map_err(CommandError::at(dir))?;
    Ok(Placement::Replaced)
}

/// The content of the folder of the SDKs, sorted by path.
fn files() -> Vec<File> {
    let mut files: Vec<File> = FILES.iter().map(|(path, content)| (place_of(path), Cow::Borrowed(*content))).collect();
    // A build in JavaScript reads the contract in its package.
    let in_package =
        |(name, text): (&str, &'static str)| (format!("js/wit/fanfare-module/{name}"), Cow::Borrowed(text.as_bytes()));
    files.extend(contract().map(in_package));
    for (which, name) in [(Which::Module, "module"), (Which::Config, "fanfare"), (Which::Test, "test")] {
        files.push((format!("schema/{name}.schema.json"), which.document().into_bytes().into()));
    }
    files.sort();
    files
}

/// Where a file of the checkout is in the folder: the Rust SDK at the top, each other one in a
/// folder of its own.
fn place_of(path: &str) -> String {
    path.strip_prefix("sdk/rust/").or_else(|| path.strip_prefix("sdk/")).unwrap_or(path).to_owned()
}

fn with_version(mut files: Vec<File>, digest: &str) -> Vec<File> {
    let version = env!("CARGO_PKG_VERSION");
    let text = format!(
        "fanfare {version} {digest}\n\nThe SDKs of this version of fanfare, and the contract they are generated from.\n\
         `fanfare new` of another version replaces them, unless a file was changed.\n"
    );
    files.push((VERSION.to_owned(), text.into_bytes().into()));
    files
}

fn digest_of(files: &[File]) -> String {
    let mut hasher = Sha256::new();
    for (path, content) in files {
        for part in [path.as_bytes(), content] {
            hasher.update(part.len().to_le_bytes());
            hasher.update(part);
        }
    }
    hex(&hasher.finalize())
}

/// The files of a folder, without those that the tools of the languages create.
fn read(dir: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let place = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into_owned();
            match place.as_str() {
                "target" | "Cargo.lock" | "js/node_modules" | "python/build" | "c/.tools" | "go/.tools" | VERSION => {}
                _ if place.ends_with("__pycache__") || place.ends_with(".egg-info") => {}
                _ if path.is_dir() => folders.push(path),
                _ => files.push((place, fs::read(&path)?.into())),
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Writes a folder under a temporary name, then renames it, so that it appears whole or not at all.
/// With `old`, replaces the existing folder.
pub fn write_folder(
    dir: &Path,
    files: impl IntoIterator<Item = (String, impl AsRef<[u8]>)>,
    old: Option<&str>,
) -> io::Result<()> {
    let above = dir.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(above)?;
    // The host ignores names that begin with a dot.
    let prefix = format!(".{}.", dir.file_name().unwrap_or_default().to_string_lossy());
    let temporary = || tempfile::Builder::new().prefix(&prefix).tempdir_in(above);
    let new = temporary()?;
    for (path, content) in files {
        let file = new.path().join(path);
        fs::create_dir_all(file.parent().unwrap_or(new.path()))?;
        fs::write(&file, &content)?;
        if content.as_ref().starts_with(b"#!") {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        }
    }
    if old.is_none() {
        return fs::rename(new.path(), dir);
    }
    let backup = temporary()?;
    fs::rename(dir, backup.path())?;
    let placed = fs::rename(new.path(), dir);
    if placed.is_err() && fs::rename(backup.path(), dir).is_err() {
        // Keeps the backup, because it is the only copy of the old folder.
        let _ = backup.keep();
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What no module needs: for the development of the SDKs, or created by tools.
    const NOT_CARRIED: &[&str] = &[
        "sdk/README.md",
        "sdk/c/.tools",
        "sdk/c/check",
        "sdk/c/conformance",
        "sdk/c/examples",
        "sdk/c/tests",
        "sdk/cases",
        "sdk/generate",
        "sdk/go/.tools",
        "sdk/go/conformance",
        "sdk/go/contract",
        "sdk/js/.gitignore",
        "sdk/js/.prettierrc.json",
        "sdk/js/conformance",
        "sdk/js/examples",
        "sdk/js/node_modules",
        "sdk/js/test",
        "sdk/js/wit/fanfare-module",
        "sdk/python/build",
        "sdk/python/check",
        "sdk/python/conformance",
        "sdk/python/examples",
        "sdk/python/fanfare.egg-info",
        "sdk/python/tests",
        "sdk/rust/Cargo.lock",
        "sdk/rust/README.md",
        "sdk/rust/clippy.toml",
        "sdk/rust/fanfare-sdk/tests",
        "sdk/rust/target",
    ];

    /// Adds the files below a path of the checkout.
    fn list(path: &str, files: &mut Vec<String>) {
        let full = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        if NOT_CARRIED.contains(&path) || path.ends_with("/__pycache__") {
        } else if full.is_dir() {
            for entry in fs::read_dir(full).unwrap() {
                list(&format!("{path}/{}", entry.unwrap().file_name().to_str().unwrap()), files);
            }
        } else {
            files.push(path.to_owned());
        }
    }

    #[test]
    fn every_file_of_the_sdks_is_embedded() {
        let mut files = vec!["LICENSE".to_owned()];
        list("sdk", &mut files);
        list("wit", &mut files);
        files.sort();
        let embedded: Vec<&str> = FILES.iter().map(|(path, _)| *path).collect();
        assert_eq!(embedded, files, "list every file in cli/build.rs, or here if no module needs it");
    }

    #[test]
    fn no_embedded_file_refers_to_the_checkout() {
        for (path, content) in files() {
            assert!(!String::from_utf8_lossy(&content).contains("../../.."), "{path}");
        }
    }

    #[test]
    fn the_sdk_is_written_once_and_replaces_only_an_unchanged_version() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("_sdk");
        assert_eq!(place(&dir).unwrap(), Placement::Written);
        fs::create_dir(dir.join("target")).unwrap();
        assert_eq!(place(&dir).unwrap(), Placement::Current);

        for made in [
            "c/.tools/x",
            "go/.tools/x",
            "js/node_modules/x",
            "python/build/x",
            "python/fanfare/__pycache__/x",
            "python/fanfare.egg-info/x",
        ] {
            let made = dir.join(made);
            fs::create_dir_all(made.parent().unwrap()).unwrap();
            fs::write(made, "").unwrap();
        }
        assert_eq!(read(&dir).unwrap(), files(), "what tools create is no change of the author");
        for (program, mode) in [("c/build", 0o755), ("c/src/call.c", 0o644)] {
            assert_eq!(fs::metadata(dir.join(program)).unwrap().permissions().mode() & 0o755, mode, "{program}");
        }

        let other = vec![("a/b".to_owned(), b"c".as_slice().into())];
        let digest = digest_of(&other);
        fs::remove_dir_all(&dir).unwrap();
        write_folder(&dir, with_version(other, &digest), None).unwrap();
        fs::write(dir.join("a/b"), "changed").unwrap();
        assert_eq!(place(&dir).unwrap(), Placement::Modified);
        assert_eq!(fs::read_to_string(dir.join("a/b")).unwrap(), "changed");
        fs::write(dir.join("a/b"), "c").unwrap();
        assert_eq!(place(&dir).unwrap(), Placement::Replaced);
        assert!(!dir.join("a").exists() && dir.join("wit/worlds.wit").exists());
        assert_eq!(place(&dir).unwrap(), Placement::Current);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "no temporary folder remains");

        fs::remove_file(dir.join(VERSION)).unwrap();
        assert!(place(&dir).unwrap_err().to_string().contains("`fanfare new` did not write it"));
    }
}
