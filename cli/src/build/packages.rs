//! Installs what the command of a module needs besides sources, in folders of the module: packages
//! of npm, a virtual environment of Python, the compiler of the SDK for C or Go.
//!
//! A file in the folder with the packages has the digest of what they were installed from. Times of
//! files would not do, because `git checkout` and copies change them. While an install runs, the
//! file says so, and an install that finds this starts again with an empty folder.

mod sources;

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{interval_at, sleep};

use super::tools::{C, GO, JAVASCRIPT, Language, PYTHON};
use super::{Group, run_in};
use crate::terminal::eprint;
use fanfare::tooling::document::source::shown;
use fanfare::tooling::{Manifest, files};

/// The file in a folder with packages that has the digest of what they were installed from.
const STAMP: &str = ".fanfare-installed";

/// The stamp while an install runs, and after one that was interrupted.
const UNFINISHED: &str = "unfinished";

/// Folders that hold nothing but packages, so that an install may remove them.
const OWN: [&str; 3] = ["node_modules", ".venv", ".tools"];

/// The variable that names a file with settings for setuptools, and that file.
const SETUPTOOLS: &str = "DIST_EXTRA_CONFIG";
const SETTINGS: &str = "setuptools.cfg";

/// How often a long install is reported.
const INTERVAL: Duration = Duration::from_secs(10);

/// How often an install looks whether another process has ended its own.
const POLL: Duration = Duration::from_millis(100);

/// Installs what `[project] dependencies` of a pyproject.toml lists, but not the project itself,
/// which is the module.
const INSTALL_PROJECT: &str = "\
import subprocess, sys, tomllib
with open('pyproject.toml', 'rb') as file:
    needed = tomllib.load(file).get('project', {}).get('dependencies', [])
sys.exit(subprocess.call([sys.executable, '-m', *sys.argv[1:], *needed]) if needed else 0)";

/// Packages of one kind that a module needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packages {
    kind: Kind,
    /// The folder in which the installer runs.
    dir: PathBuf,
    /// The folder with the packages.
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Npm,
    /// Of this file: `requirements.txt` or `pyproject.toml`.
    Pip(&'static str),
    /// The compiler, which the `build` of an SDK installs.
    Compiler(Sdk),
}

/// An SDK whose script `build` builds components, and installs the compiler for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sdk {
    /// Also for Zig.
    C,
    Go,
}

impl Sdk {
    const ALL: [Sdk; 2] = [Sdk::C, Sdk::Go];

    fn language(self) -> &'static Language {
        match self {
            Sdk::C => &C,
            Sdk::Go => &GO,
        }
    }

    /// A file by which its folder is known.
    fn file(self) -> &'static str {
        match self {
            Sdk::C => "include/fanfare.h",
            Sdk::Go => "fanfare.go",
        }
    }

    /// The variable that names the folder of the compiler. Without it, that is `.tools` in the SDK.
    fn variable(self) -> &'static str {
        match self {
            Sdk::C => "FANFARE_C_TOOLS",
            Sdk::Go => "FANFARE_GO_TOOLS",
        }
    }
}

/// Why packages were not installed. The installer's own output was printed before.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("{module}: cannot write {folder}: {source}")]
    Folder { module: String, folder: String, source: io::Error },
    #[error("{module}: cannot run {program}: {source}")]
    Program { module: String, program: String, source: io::Error },
    #[error("{module}: {what} were not installed, because {program} failed with {status}: {remedy}, then build again")]
    Failed { module: String, what: &'static str, program: String, status: ExitStatus, remedy: String },
}

impl Packages {
    /// The packages that a module needs.
    pub fn of(manifest: &Manifest) -> Vec<Packages> {
        let dir = &manifest.dir;
        let mut all = Vec::new();
        if sources::uses_npm(dir) {
            all.push(Packages { kind: Kind::Npm, dir: dir.clone(), folder: dir.join("node_modules") });
        }
        if let Some(file) = sources::python_file(dir) {
            all.push(Packages { kind: Kind::Pip(file), dir: dir.clone(), folder: dir.join(".venv") });
        }
        let command = manifest.build.as_ref().map(|build| build.command.as_str()).unwrap_or_default();
        if let Some((sdk, place)) = sources::sdk(dir, command) {
            let tools = std::env::var_os(sdk.variable()).filter(|tools| !tools.is_empty());
            let folder = tools.map_or_else(|| place.join(".tools"), |tools| dir.join(tools));
            all.push(Packages { kind: Kind::Compiler(sdk), dir: place, folder });
        }
        all
    }

    /// The language whose tools install the packages.
    pub fn language(&self) -> &'static Language {
        match self.kind {
            Kind::Npm => &JAVASCRIPT,
            Kind::Pip(_) => &PYTHON,
            Kind::Compiler(sdk) => sdk.language(),
        }
    }

    /// Whether builds need the tools of the language too, and not only what they have installed.
    pub fn is_run_by_tools(&self) -> bool {
        self.kind == Kind::Npm
    }

    /// The files that decide what is installed.
    pub fn files(&self) -> Vec<PathBuf> {
        sources::of(self.kind, &self.dir).into_iter().map(|(path, _)| path).collect()
    }

    /// The digest of what the packages are installed from, unless they were installed from it.
    pub fn due(&self) -> Option<String> {
        let digest = self.digest();
        (self.stamp().as_deref() != Some(&digest) || self.lacks_python()).then_some(digest)
    }

    fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for (path, bytes) in sources::of(self.kind, &self.dir) {
            // Each module that uses the SDK names its folder by another path.
            let path = if let Kind::Compiler(_) = self.kind { Path::new("") } else { &path };
            let path = path.to_string_lossy();
            for part in [path.as_bytes(), &bytes] {
                digest.update(part.len().to_le_bytes());
                digest.update(part);
            }
        }
        files::hex(&digest.finalize())
    }

    fn stamp(&self) -> Option<String> {
        fs::read_to_string(self.folder.join(STAMP)).ok()
    }

    /// Whether the virtual environment has no Python: nobody made it yet, or the Python that it
    /// links to was removed.
    fn lacks_python(&self) -> bool {
        self.kind != Kind::Npm && !self.folder.join("bin/python").exists()
    }

    /// Installs the packages if they are due. Only one process at a time installs in a folder, and
    /// only one builds a package that is a folder: pip does it in this folder, for each module.
    pub async fn install(&self, module: &str, group: Group) -> Result<(), InstallError> {
        if self.due().is_none() {
            return Ok(());
        }
        let mut locks = vec![self.lock(&self.dir, module).await];
        if self.due().is_none() {
            return Ok(());
        }
        for folder in sources::built_in_place(self.kind, &self.dir) {
            locks.push(self.lock(&folder, module).await);
        }
        let what = self.what();
        let with = if self.kind == Kind::Npm { "npm" } else { "pip" };
        eprint(&format!("{module}: installing {what} with {with} ..\n"));
        let begun = Instant::now();
        let denied = |source| InstallError::Folder {
            module: module.to_owned(),
            folder: shown(&self.folder).to_string(),
            source,
        };
        if self.stamp().as_deref() == Some(UNFINISHED) || self.lacks_python() {
            self.clear().map_err(denied)?;
        }
        self.set_stamp(UNFINISHED).map_err(denied)?;
        let mut commands = self.commands().into_iter().peekable();
        while let Some(command) = commands.next() {
            self.run(command, module, group, commands.peek().is_none()).await?;
        }
        // The installer may have written a lock file, which counts from now on.
        self.set_stamp(&self.digest()).map_err(denied)?;
        eprint(&format!("{module}: installed {what} in {:.1} s\n", begun.elapsed().as_secs_f64()));
        Ok(())
    }

    /// Removes the folder with the packages. Leaves one that the user has named: it may hold more.
    fn clear(&self) -> io::Result<()> {
        if !OWN.iter().any(|name| self.folder == self.dir.join(name)) {
            return Ok(());
        }
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn what(&self) -> &'static str {
        if matches!(self.kind, Kind::Compiler(_)) { "the compiler and its tools" } else { "packages" }
    }

    fn set_stamp(&self, text: &str) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        files::write_whole(&self.folder.join(STAMP), text.as_bytes(), files::PUBLIC)
    }

    /// Locks a folder until the file is dropped or this process ends. `None` if the file system has
    /// no locks.
    async fn lock(&self, folder: &Path, module: &str) -> Option<File> {
        let folder = File::open(folder).ok()?;
        let mut is_told = false;
        loop {
            match folder.try_lock() {
                Ok(()) => return Some(folder),
                Err(TryLockError::Error(_)) => return None,
                Err(TryLockError::WouldBlock) if !is_told => {
                    is_told = true;
                    eprint(&format!("{module}: waiting for another process that installs {}\n", self.what()));
                }
                Err(TryLockError::WouldBlock) => sleep(POLL).await,
            }
        }
    }

    /// The commands that install the packages, each with the program first.
    fn commands(&self) -> Vec<Vec<String>> {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let pip = ["pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];
        match self.kind {
            Kind::Npm => {
                // A linked package, npm's default for `file:`, has no packages of its own.
                let flags = ["--install-links", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"];
                // Fails in seconds without a network.
                let retries = ["--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"];
                let mut command = owned(&[&["npm", "install"][..], &flags, &retries].concat());
                command.extend(sources::outdated_links(&self.dir));
                vec![command]
            }
            Kind::Pip(file) => {
                let python = ".venv/bin/python";
                let packages = match file {
                    "requirements.txt" => owned(&[&[python, "-m"], &pip[..], &["-r", file]].concat()),
                    _ => owned(&[&[python, "-c", INSTALL_PROJECT], &pip[..]].concat()),
                };
                let venv = owned(&["python3", "-m", "venv", ".venv"]);
                if self.lacks_python() { vec![venv, packages] } else { vec![packages] }
            }
            Kind::Compiler(_) => vec![owned(&["./build", "--install"])],
        }
    }

    /// A folder in which setuptools builds packages that are folders, so that it leaves nothing in
    /// those of the author. `None` if other settings are in effect, or the installer is not pip.
    fn scratch(&self) -> io::Result<Option<TempDir>> {
        if !matches!(self.kind, Kind::Pip(_)) || std::env::var_os(SETUPTOOLS).is_some() {
            return Ok(None);
        }
        let scratch = tempfile::tempdir()?;
        let place = scratch.path().display();
        let settings = format!("[build]\nbuild_base = {place}/build\n[egg_info]\negg_base = {place}\n");
        fs::write(scratch.path().join(SETTINGS), settings)?;
        Ok(Some(scratch))
    }

    /// Runs an installer, and prints what it says if it fails. `is_last`: only the last one can be
    /// repeated in the folder that it leaves when it fails.
    async fn run(&self, words: Vec<String>, module: &str, group: Group, is_last: bool) -> Result<(), InstallError> {
        let program = match words.as_slice() {
            [python, flag, name, ..] if flag == "-m" => format!("{python} -m {name}"),
            [program, first, ..] if first != "-c" => format!("{program} {first}"),
            _ => "pip install".to_owned(),
        };
        let failed = |source| InstallError::Program { module: module.to_owned(), program: program.clone(), source };
        let mut output = tempfile::tempfile().map_err(failed)?;
        let mut command = Command::new(words.first().map(String::as_str).unwrap_or_default());
        command.args(words.get(1..).unwrap_or_default()).current_dir(&self.dir).stdin(Stdio::null());
        command.stdout(output.try_clone().map_err(failed)?).stderr(output.try_clone().map_err(failed)?);
        let scratch = self.scratch().map_err(failed)?;
        if let Some(scratch) = &scratch {
            command.env(SETUPTOOLS, scratch.path().join(SETTINGS));
        }
        let begun = Instant::now();
        let mut interval = interval_at(tokio::time::Instant::now() + INTERVAL, INTERVAL);
        let mut running = std::pin::pin!(run_in(group, &mut command));
        let status = loop {
            tokio::select! {
                status = &mut running => break status.map_err(failed)?,
                _ = interval.tick() => {
                    eprint(&format!("{module}: still installing, {} s so far\n", begun.elapsed().as_secs()));
                }
            }
        };
        if status.success() {
            return Ok(());
        }
        let mut said = Vec::new();
        output.rewind().and_then(|()| output.read_to_end(&mut said)).map_err(failed)?;
        let said = String::from_utf8_lossy(&said);
        eprint(&format!("{}\n", said.trim_end()));
        // An installer that no signal ended has left packages that it can begin with.
        if is_last && status.code().is_some() {
            // Without a stamp, nothing counts as installed.
            _ = fs::remove_file(self.folder.join(STAMP));
        }
        let remedy = self.remedy(&said);
        Err(InstallError::Failed { module: module.to_owned(), what: self.what(), program, status, remedy })
    }

    /// What to do about a failure.
    fn remedy(&self, said: &str) -> String {
        if sources::is_of_network(said) {
            return "it did not reach the registry, so check the network and the proxy".to_owned();
        }
        match self.kind {
            Kind::Npm => "correct package.json as it says".to_owned(),
            Kind::Pip(file) => format!("correct {file} as it says"),
            Kind::Compiler(_) => "do what it says".to_owned(),
        }
    }
}

/// Reads a JSON file. `None` if it is not there, or no JSON.
fn json(file: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

#[cfg(test)]
mod tests;
