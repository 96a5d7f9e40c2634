//! What packages are installed from: the files that list them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Kind, Sdk, json};

/// Lock files of package managers other than npm. A module with one installs its packages itself.
const OTHERS: [&str; 5] = ["yarn.lock", "pnpm-lock.yaml", "pnpm-workspace.yaml", "bun.lock", "bun.lockb"];

/// The sections of a package.json that list packages.
const SECTIONS: [&str; 4] = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];

/// The maximum number of requirements files that one names.
const MAX_FILES: usize = 64;

/// Words in the output of npm and pip when they reach no registry.
const NETWORK: [&str; 12] = [
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
    "ENETUNREACH",
    "EHOSTUNREACH",
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
];

pub(super) fn is_of_network(said: &str) -> bool {
    NETWORK.iter().any(|word| said.contains(word))
}

/// Whether a folder has a package.json that lists packages. npm reports a file with faults.
pub(super) fn uses_npm(dir: &Path) -> bool {
    if OTHERS.iter().any(|lock| dir.join(lock).exists()) || !dir.join("package.json").exists() {
        return false;
    }
    let Some(package) = json(&dir.join("package.json")) else { return true };
    let lists =
        |section: &&str| package.get(section).is_some_and(|listed| listed.as_object().is_none_or(|it| !it.is_empty()));
    SECTIONS.iter().any(lists)
}

/// The file that lists the packages of a module in Python.
pub(super) fn python_file(dir: &Path) -> Option<&'static str> {
    if dir.join("requirements.txt").exists() {
        return Some("requirements.txt");
    }
    // Many have only the settings of tools.
    let project = fs::read_to_string(dir.join("pyproject.toml")).ok()?;
    let has = |start: &str| project.lines().any(|line| line.trim_start().starts_with(start));
    (has("[project]") && has("dependencies")).then_some("pyproject.toml")
}

/// The SDK whose `build` a command runs, and its folder.
pub(super) fn sdk(dir: &Path, command: &str) -> Option<(Sdk, PathBuf)> {
    let command = command.trim_start();
    let quote = command.chars().next().filter(|first| matches!(first, '"' | '\''));
    let program = match quote {
        Some(quote) => command.get(1..)?.split(quote).next(),
        None => command.split_whitespace().next(),
    };
    let script = dir.join(program?);
    let folder = script.parent().filter(|_| script.ends_with("build"))?;
    let sdk = Sdk::ALL.into_iter().find(|sdk| folder.join(sdk.file()).is_file())?;
    Some((sdk, folder.to_owned()))
}

/// The paths and contents of the files that decide what is installed.
pub(super) fn of(kind: Kind, dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = match kind {
        Kind::Npm => {
            let linked = links(dir).into_iter().map(|link| link.dir.join("package.json"));
            [dir.join("package.json"), dir.join("package-lock.json")].into_iter().chain(linked).collect()
        }
        Kind::Pip(file) => vec![dir.join(file)],
        Kind::Compiler(_) => vec![dir.join("build")],
    };
    let mut read = Vec::new();
    let mut next = 0;
    while let Some(file) = files.get(next).filter(|_| next < MAX_FILES).cloned() {
        next += 1;
        let Ok(bytes) = fs::read(&file) else { continue };
        if matches!(kind, Kind::Pip(_)) && file.extension().is_some_and(|extension| extension == "txt") {
            let text = String::from_utf8_lossy(&bytes);
            let named = text.lines().filter_map(|line| named_by(line, file.parent()?));
            let new: Vec<PathBuf> = named.filter(|file| !files.contains(file)).collect();
            files.extend(new);
        }
        read.push((file, bytes));
    }
    read
}

/// The folders of packages that pip builds in place. The order is the same for all modules, so that
/// two processes that lock them do not wait for each other.
pub(super) fn built_in_place(kind: Kind, dir: &Path) -> BTreeSet<PathBuf> {
    let Kind::Pip(file) = kind else { return BTreeSet::new() };
    let own = dir.join(file);
    let mut folders = BTreeSet::new();
    for (path, bytes) in of(kind, dir) {
        if path != own && path.ends_with("pyproject.toml") {
            folders.extend(path.parent().and_then(|folder| folder.canonicalize().ok()));
        }
        let text = String::from_utf8_lossy(&bytes);
        // `"fanfare @ file:///home/me/sdk/python"`
        let urls = text.split("file://").skip(1).filter_map(|rest| rest.split(['"', '\'', '[', ' ', '\n']).next());
        folders.extend(urls.filter_map(|path| Path::new(path).canonicalize().ok()).filter(|path| path.is_dir()));
    }
    folders
}

/// The file that a line of a requirements file names: another such file, or the pyproject.toml of
/// a folder, which has the version of the package in it.
fn named_by(line: &str, dir: &Path) -> Option<PathBuf> {
    let line = line.split(" #").next()?.trim();
    for flag in ["--requirement", "--constraint", "-r", "-c"] {
        if let Some(file) = line.strip_prefix(flag) {
            return Some(dir.join(file.trim_start_matches('=').trim()));
        }
    }
    let path = ["--editable", "-e"].iter().find_map(|flag| line.strip_prefix(flag)).unwrap_or(line);
    let path = path.trim_start_matches('=').trim();
    let path = path.split_once(" @ ").map_or(path, |(_, place)| place.trim());
    let path = path.strip_prefix("file://").unwrap_or(path);
    // Extras, as in `../sdk/python[build]`.
    let path = path.split('[').next()?;
    let folder = dir.join(path);
    (path.contains('/') && folder.is_dir()).then(|| folder.join("pyproject.toml"))
}

/// A package that is a folder (`"fanfare": "file:../../sdk/js"`).
struct Link {
    name: String,
    /// As in package.json.
    place: String,
    dir: PathBuf,
}

fn links(dir: &Path) -> Vec<Link> {
    let Some(package) = json(&dir.join("package.json")) else { return Vec::new() };
    let sections = SECTIONS.iter().filter_map(|section| package.get(section)?.as_object());
    let link = |(name, place): (&String, &Value)| {
        let place = place.as_str()?;
        let dir = dir.join(place.strip_prefix("file:")?);
        dir.is_dir().then(|| Link { name: name.clone(), place: place.to_owned(), dir })
    };
    sections.flatten().filter_map(link).collect()
}

/// Arguments for npm: the packages that are folders whose version has changed. npm installs these
/// again only when they are named.
pub(super) fn outdated_links(dir: &Path) -> Vec<String> {
    let version = |dir: &Path| Some(json(&dir.join("package.json"))?.get("version")?.as_str()?.to_owned());
    let is_outdated = |link: &Link| {
        let installed = dir.join("node_modules").join(&link.name);
        installed.exists() && version(&installed) != version(&link.dir)
    };
    let named = |link: Link| format!("{}@{}", link.name, link.place);
    links(dir).into_iter().filter(is_outdated).map(named).collect()
}
