//! The Rust SDK, embedded in this program for modules outside a checkout, because it is not
//! published.

use std::path::Path;
use std::{fs, io};

use sha2::{Digest, Sha256};

use crate::error::CommandError;
use crate::schema::Which;
use fanfare::tooling::document::source::shown;
use fanfare::tooling::files::hex;

/// The lock file of the SDK. A new module starts with these versions, because the SDK is tested
/// with them.
pub const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk/rust/Cargo.lock"));

macro_rules! embedded {
    ($($path:literal)*) => {
        &[$(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../", $path)))),*]
    };
}

/// The embedded files, by their paths in the checkout.
const FILES: &[(&str, &str)] = embedded![
    "LICENSE"
    "sdk/rust/Cargo.toml"
    "sdk/rust/fanfare-sdk/Cargo.toml"
    "sdk/rust/fanfare-sdk/src/backend/component.rs"
    "sdk/rust/fanfare-sdk/src/backend/mod.rs"
    "sdk/rust/fanfare-sdk/src/broadcast.rs"
    "sdk/rust/fanfare-sdk/src/channels.rs"
    "sdk/rust/fanfare-sdk/src/config.rs"
    "sdk/rust/fanfare-sdk/src/context.rs"
    "sdk/rust/fanfare-sdk/src/current.rs"
    "sdk/rust/fanfare-sdk/src/events.rs"
    "sdk/rust/fanfare-sdk/src/extract.rs"
    "sdk/rust/fanfare-sdk/src/failure.rs"
    "sdk/rust/fanfare-sdk/src/host.rs"
    "sdk/rust/fanfare-sdk/src/http.rs"
    "sdk/rust/fanfare-sdk/src/lib.rs"
    "sdk/rust/fanfare-sdk/src/master.rs"
    "sdk/rust/fanfare-sdk/src/messages.rs"
    "sdk/rust/fanfare-sdk/src/module.rs"
    "sdk/rust/fanfare-sdk/src/outcome.rs"
    "sdk/rust/fanfare-sdk/src/params.rs"
    "sdk/rust/fanfare-sdk/src/payload.rs"
    "sdk/rust/fanfare-sdk/src/rpc.rs"
    "sdk/rust/fanfare-sdk/src/sessions.rs"
    "sdk/rust/fanfare-sdk/src/snapshot.rs"
    "sdk/rust/fanfare-sdk/src/sse.rs"
    "sdk/rust/fanfare-sdk/src/testing/backend.rs"
    "sdk/rust/fanfare-sdk/src/testing/backend/channels.rs"
    "sdk/rust/fanfare-sdk/src/testing/backend/sessions.rs"
    "sdk/rust/fanfare-sdk/src/testing/builder.rs"
    "sdk/rust/fanfare-sdk/src/testing/chain.rs"
    "sdk/rust/fanfare-sdk/src/testing/channel_entry.rs"
    "sdk/rust/fanfare-sdk/src/testing/channel_imports.rs"
    "sdk/rust/fanfare-sdk/src/testing/channels.rs"
    "sdk/rust/fanfare-sdk/src/testing/client_calls.rs"
    "sdk/rust/fanfare-sdk/src/testing/clients.rs"
    "sdk/rust/fanfare-sdk/src/testing/connect.rs"
    "sdk/rust/fanfare-sdk/src/testing/dispatch.rs"
    "sdk/rust/fanfare-sdk/src/testing/events.rs"
    "sdk/rust/fanfare-sdk/src/testing/jsonc.rs"
    "sdk/rust/fanfare-sdk/src/testing/lines.rs"
    "sdk/rust/fanfare-sdk/src/testing/mod.rs"
    "sdk/rust/fanfare-sdk/src/testing/node.rs"
    "sdk/rust/fanfare-sdk/src/testing/promise.rs"
    "sdk/rust/fanfare-sdk/src/testing/request.rs"
    "sdk/rust/fanfare-sdk/src/testing/routes.rs"
    "sdk/rust/fanfare-sdk/src/testing/streams.rs"
    "sdk/rust/fanfare-sdk/src/testing/schedules.rs"
    "sdk/rust/fanfare-sdk/src/testing/sessions.rs"
    "sdk/rust/fanfare-sdk/src/testing/worker.rs"
    "sdk/rust/fanfare-sdk/src/types.rs"
    "sdk/rust/fanfare-sdk/src/wit.rs"
    "sdk/rust/fanfare-sdk/src/wit/bindings/describe.rs"
    "sdk/rust/fanfare-sdk/src/wit/bindings/handler.rs"
    "sdk/rust/fanfare-sdk/src/wit/bindings/imports.rs"
    "sdk/rust/fanfare-sdk/src/wit/bindings/snapshot.rs"
    "sdk/rust/macros/Cargo.toml"
    "sdk/rust/macros/src/lib.rs"
    "wit/README.md"
    "wit/broadcast.wit"
    "wit/channels.wit"
    "wit/events.wit"
    "wit/handler.wit"
    "wit/host.wit"
    "wit/http.wit"
    "wit/master.wit"
    "wit/messages.wit"
    "wit/rpc.wit"
    "wit/sessions.wit"
    "wit/sse.wit"
    "wit/types.wit"
    "wit/worlds.wit"
];

/// The files of the contract between modules and the host, by their names.
pub fn contract() -> impl Iterator<Item = (&'static str, &'static str)> {
    let named = |(path, text): &(&'static str, &'static str)| Some((path.strip_prefix("wit/")?, *text));
    FILES.iter().filter_map(named).filter(|(name, _)| name.ends_with(".wit"))
}

/// The file that identifies the SDK.
const VERSION: &str = "VERSION";

/// What [`place`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    Written,
    /// The folder already had this SDK.
    Current,
    /// The folder had another version.
    Replaced,
    /// The folder has another version with changed files, and was left alone.
    Modified,
}

/// Writes the SDK to a folder, unless the folder has it.
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

/// The content of the SDK's folder, sorted by path.
fn files() -> Vec<(String, String)> {
    let place = |path: &str| path.strip_prefix("sdk/rust/").unwrap_or(path).to_owned();
    let embedded = FILES.iter().map(|(path, content)| (place(path), (*content).to_owned()));
    let schemas = [(Which::Module, "module"), (Which::Config, "fanfare"), (Which::Test, "test")];
    let schemas = schemas.into_iter().map(|(which, name)| (format!("schema/{name}.schema.json"), which.document()));
    let mut files: Vec<(String, String)> = embedded.chain(schemas).collect();
    files.sort();
    files
}

fn with_version(mut files: Vec<(String, String)>, digest: &str) -> Vec<(String, String)> {
    let version = env!("CARGO_PKG_VERSION");
    let text = format!(
        "fanfare {version} {digest}\n\nThe Rust SDK of this version of fanfare, and the contract it is generated from.\n\
         `fanfare new` of another version replaces it, unless a file was changed.\n"
    );
    files.push((VERSION.to_owned(), text));
    files
}

fn digest_of(files: &[(String, String)]) -> String {
    let mut hasher = Sha256::new();
    for (path, text) in files {
        for part in [path, text] {
            hasher.update(part.len().to_le_bytes());
            hasher.update(part);
        }
    }
    hex(&hasher.finalize())
}

/// The files of a folder, without those that cargo creates.
fn read(dir: &Path) -> io::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let place = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into_owned();
            match place.as_str() {
                "target" | "Cargo.lock" | VERSION => {}
                _ if path.is_dir() => folders.push(path),
                _ => files.push((place, String::from_utf8_lossy(&fs::read(&path)?).into_owned())),
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
    files: impl IntoIterator<Item = (String, String)>,
    old: Option<&str>,
) -> io::Result<()> {
    let above = dir.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(above)?;
    // The host ignores names that begin with a dot.
    let prefix = format!(".{}.", dir.file_name().unwrap_or_default().to_string_lossy());
    let temporary = || tempfile::Builder::new().prefix(&prefix).tempdir_in(above);
    let new = temporary()?;
    for (path, text) in files {
        let file = new.path().join(path);
        fs::create_dir_all(file.parent().unwrap_or(new.path()))?;
        fs::write(file, text)?;
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

    #[test]
    fn every_file_of_the_sdk_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files_of_sdk = vec!["LICENSE".to_owned(), "sdk/rust/Cargo.toml".to_owned()];
        for folder in ["sdk/rust/fanfare-sdk", "sdk/rust/macros", "wit"] {
            let files = read(&root.join(folder)).unwrap().into_iter().map(|(path, _)| format!("{folder}/{path}"));
            files_of_sdk.extend(files.filter(|path| !path.starts_with("sdk/rust/fanfare-sdk/tests/")));
        }
        files_of_sdk.sort();
        let mut embedded: Vec<String> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        embedded.sort();
        assert_eq!(embedded, files_of_sdk, "list every file in cli/src/new/sdk.rs");
    }

    #[test]
    fn no_embedded_file_refers_to_the_checkout() {
        for (path, text) in files() {
            assert!(!text.contains("../../.."), "{path}");
        }
    }

    #[test]
    fn the_sdk_is_written_once_and_replaces_only_an_unchanged_version() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("_sdk");
        assert_eq!(place(&dir).unwrap(), Placement::Written);
        fs::create_dir(dir.join("target")).unwrap();
        assert_eq!(place(&dir).unwrap(), Placement::Current);

        let other = vec![("a/b".to_owned(), "c".to_owned())];
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
