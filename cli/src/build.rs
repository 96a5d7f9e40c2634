//! `fanfare build`: runs the `build.command` of modules and checks the components.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

use super::config::{FileArgs, warnings};
use super::descriptors::original_limit;
use super::error::CommandError;
use super::inspect::Bytes;
use super::project::Selection;
use super::terminal::{eprint, exit_code, print};
use super::{check, component, progress};
use cargo::Cargo;
use fanfare::Config;
use fanfare::tooling::document::source;
use fanfare::tooling::manifest::{ManifestError, check_grants};
use fanfare::tooling::{Manifest, files};
use packages::{InstallError, Packages};
use tools::{Lacking, Missing};

mod cargo;
pub mod packages;
pub mod tools;

/// The folder below `stateDir` in which cargo builds the modules.
pub const SHARED: &str = "build";

/// Flags of `fanfare build`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct BuildArgs {
    /// A module, by its name or folder, or any folder of the project [default: the current folder].
    /// The command builds only this module, or every one of the project that has a build.command.
    #[arg(value_name = "MODULE|DIR", env = "FANFARE_DIR")]
    pub dir: Option<PathBuf>,
    #[command(flatten)]
    pub settings: FileArgs,
}

/// A module that was built and that a host would accept once its capabilities are granted.
#[derive(Debug, Clone)]
pub struct Built {
    pub manifest: Manifest,
    /// The size of the component in bytes.
    pub size: usize,
    /// The time that the command took.
    pub build_time: Duration,
    /// The time that compiling and checking the component took.
    pub check_time: Duration,
}

/// Why a build failed. The text ends with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    #[error(
        "{file}: build.command is missing; add \"build\": {{ \"command\": \"cargo build --release --target wasm32-wasip2\" }}"
    )]
    NoCommand { file: String },
    #[error("{0}")]
    Tools(Lacking),
    #[error("not built, because of the missing tools above: {0}")]
    NotBuilt(String),
    #[error("{0}")]
    Packages(#[from] InstallError),
    #[error("{module}: `{command}` failed with {status}{hint}")]
    Command { module: String, command: String, status: ExitStatus, hint: &'static str },
    #[error("{}: cannot create this folder, in which cargo builds the modules: {source}; set stateDir to another folder", .folder.display())]
    Folder { folder: PathBuf, source: std::io::Error },
    #[error("cannot start the shell: {0}")]
    Shell(std::io::Error),
    #[error("`{command}` did not create {component}; set `component` to the file that it creates{found}")]
    Missing { component: String, command: String, found: String },
    #[error("cannot write {component}: {source}")]
    Write { component: String, source: std::io::Error },
    /// A host would refuse the module. One fault per line.
    #[error("{0}")]
    Refused(String),
}

/// Builds the modules; exits with 1 if a build fails.
pub fn run(args: &BuildArgs) -> ExitCode {
    let built = Selection::new(args.dir.as_deref(), &args.settings.alone())
        .and_then(|selection| super::runtime()?.block_on(build_all(&selection)));
    exit_code(built.map(|()| ExitCode::SUCCESS))
}

async fn build_all(selection: &Selection) -> Result<(), CommandError> {
    let mut failed = Vec::new();
    let mut manifests = Vec::new();
    for dir in &selection.modules {
        match Manifest::load(dir) {
            // Skips modules without a command, unless the user named the module.
            Ok(manifest) if manifest.build.is_none() && !selection.is_single_module => {}
            Ok(manifest) => manifests.push(manifest),
            Err(error) => failed.push(BuildError::Manifest(error)),
        }
    }
    let (ready, lacking, unprepared) = prepare_all(&manifests).await;
    failed.extend(unprepared.into_iter().map(|(_, error)| error));
    match lacking.0.is_empty() {
        true => {}
        false if ready.is_empty() => failed.push(BuildError::Tools(lacking)),
        false => {
            eprint(&format!("{lacking}\n"));
            failed.push(BuildError::NotBuilt(lacking.modules()));
        }
    }
    let mut built = 0;
    for prepared in &ready {
        match build(prepared, &selection.config).await {
            Ok(done) => {
                built += 1;
                print(&format!("{done}\n"));
            }
            Err(error) => failed.push(error),
        }
    }
    match (failed.is_empty(), built) {
        (true, 0) => Err(CommandError::NothingToBuild(source::shown(&selection.config.modules_dir).to_string())),
        (true, _) => Ok(()),
        (false, _) => Err(CommandError::Builds(failed)),
    }
}

/// A module with a command, and the tools that it needs.
#[derive(Debug)]
pub struct Prepared<'a> {
    pub manifest: &'a Manifest,
    command: &'a str,
    packages: Vec<Packages>,
    cargo: Option<Cargo>,
    /// The toolchain of Rust, if it is not the default one.
    toolchain: Option<String>,
}

/// Looks for the tools of modules: returns the modules that have them, those that lack some, and
/// the names and errors of the others.
pub async fn prepare_all<'a>(
    manifests: impl IntoIterator<Item = &'a Manifest>,
) -> (Vec<Prepared<'a>>, Lacking, Vec<(String, BuildError)>) {
    let (mut ready, mut lacking, mut failed) = (Vec::new(), Lacking::default(), Vec::new());
    for manifest in manifests {
        match prepare(manifest).await {
            Ok(prepared) => ready.push(prepared),
            Err(BuildError::Tools(Lacking(tools))) => lacking.0.extend(tools),
            Err(error) => failed.push((manifest.name.clone(), error)),
        }
    }
    (ready, lacking, failed)
}

/// Looks for the tools of a module.
pub async fn prepare(manifest: &Manifest) -> Result<Prepared<'_>, BuildError> {
    let Some(build) = &manifest.build else {
        return Err(BuildError::NoCommand { file: source::shown(&manifest.file).to_string() });
    };
    let packages = Packages::of(manifest);
    let mut missing: Vec<Missing> = Vec::new();
    for packages in &packages {
        let language = packages.language();
        if packages.due().is_some() {
            missing.extend(language.missing(&manifest.dir).await);
        } else if packages.is_run_by_tools() {
            missing.extend(language.absent());
        }
    }
    let cargo = Cargo::parse(&build.command);
    let mut toolchain = None;
    if let Some(cargo) = &cargo {
        match cargo.toolchain(&manifest.dir).await {
            Ok(other) => toolchain = other,
            Err(lacks) => missing.push(lacks),
        }
    }
    match missing.is_empty() {
        true => Ok(Prepared { manifest, command: &build.command, packages, cargo, toolchain }),
        false => Err(BuildError::Tools(Lacking(vec![(manifest.name.clone(), missing)]))),
    }
}

/// Builds and checks one module. The output of its command is not redirected.
async fn build(prepared: &Prepared<'_>, config: &Config) -> Result<Built, BuildError> {
    let manifest = prepared.manifest;
    let build_time = prepared.run(config, Group::OfTerminal).await?;
    let begun = Instant::now();
    check(manifest, config).await?;
    let size = std::fs::metadata(&manifest.component).map_or(0, |meta| meta.len());
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    Ok(Built { manifest: manifest.clone(), size, build_time, check_time: begun.elapsed() })
}

/// The process group that a build runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The group of this program: Ctrl-C in a terminal ends both.
    OfTerminal,
    /// A group of its own, which ends if the build is no longer awaited. This program must not end
    /// at a signal before.
    Own,
}

/// Ends a process group when it is dropped.
struct EndGroup(Option<Pid>);

impl Drop for EndGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Fails if all its processes have ended.
            _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs a command to its end, and ends it if it is no longer awaited.
async fn run_in(group: Group, command: &mut Command) -> std::io::Result<ExitStatus> {
    if group == Group::Own {
        command.process_group(0);
    }
    let mut child = command.kill_on_drop(true).spawn()?;
    let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
    // Dropped before the child, whose id is the group's.
    let mut end = EndGroup(pid.filter(|_| group == Group::Own));
    let status = child.wait().await?;
    // What a finished command leaves running, such as the server of a compiler, stays.
    end.0 = None;
    Ok(status)
}

impl Prepared<'_> {
    /// Installs the packages that are due, then runs `build.command`; returns the time that the
    /// command took. On success the component exists and matches the sources.
    ///
    /// A plain `cargo build` gets a folder that all modules share for what it builds on the way to
    /// the component, so that it builds their common crates once.
    pub async fn run(&self, config: &Config, group: Group) -> Result<Duration, BuildError> {
        let manifest = self.manifest;
        for packages in &self.packages {
            packages.install(&manifest.name, group).await?;
        }
        let begun = Instant::now();
        let mut command = Command::new("sh");
        // `fanfare dev` has raised the limit of open files, but programs that use `select` need the
        // original one.
        let limit = original_limit().map(|limit| format!("ulimit -S -n {limit}\n")).unwrap_or_default();
        command.arg("-c").arg(limit + self.command).current_dir(&manifest.dir).stdin(Stdio::null());
        if let Some(toolchain) = &self.toolchain {
            eprint(&format!(
                "{}: building with the toolchain {toolchain}, because the default one lacks the target\n",
                manifest.name
            ));
            command.env(cargo::TOOLCHAIN, toolchain);
        }
        let layout = match &self.cargo {
            Some(cargo) => cargo.layout(&manifest.dir).await,
            None => None,
        };
        let folder = std::path::absolute(config.shared_dir().join(SHARED)).map_err(BuildError::Shell)?;
        if layout.as_ref().is_some_and(|layout| layout.may_share(&folder)) {
            files::make_private(&folder).map_err(|source| BuildError::Folder { folder: folder.clone(), source })?;
            command.env(cargo::BUILD_DIR, folder);
        }
        let pause = progress::pause();
        let status = run_in(group, &mut command).await.map_err(BuildError::Shell)?;
        drop(pause);
        if !status.success() {
            let hint = if status.code() == Some(127) { ": the shell did not find a program; install it" } else { "" };
            let (module, command) = (manifest.name.clone(), self.command.to_owned());
            return Err(BuildError::Command { module, command, status, hint });
        }
        if let Some(layout) = layout.filter(|layout| layout.component.is_file()) {
            copy(&layout.component, &manifest.component)?;
        }
        if manifest.has_component() { Ok(begun.elapsed()) } else { Err(missing(manifest, self.command)) }
    }
}

/// Copies the file that cargo wrote to the path in the manifest, by rename. Does nothing if they
/// are the same file or have the same content.
fn copy(output: &Path, component: &Path) -> Result<(), BuildError> {
    let failed = |source| BuildError::Write { component: source::shown(component).to_string(), source };
    if std::fs::canonicalize(output).ok() == std::fs::canonicalize(component).ok() {
        return Ok(());
    }
    let bytes = std::fs::read(output).map_err(failed)?;
    if std::fs::read(component).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    if let Some(above) = component.parent() {
        std::fs::create_dir_all(above).map_err(failed)?;
    }
    files::write_whole(component, &bytes, files::PUBLIC).map_err(failed)
}

fn missing(manifest: &Manifest, command: &str) -> BuildError {
    let folder = manifest.component.parent().and_then(|dir| std::fs::read_dir(dir).ok());
    let paths = folder.into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<String> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .map(|path| source::shown(&path).to_string())
        .take(8)
        .collect();
    found.sort();
    BuildError::Missing {
        component: source::shown(&manifest.component).to_string(),
        command: command.to_owned(),
        found: if found.is_empty() { String::new() } else { format!("; its folder has {}", found.join(", ")) },
    }
}

/// Whether a host would accept the module. The same as `fanfare check`, except that a missing grant
/// is a warning only, because the operator grants, not the author.
pub async fn check(manifest: &Manifest, config: &Config) -> Result<(), BuildError> {
    eprint(&warnings(&manifest.warnings()));
    let mut faults = check::faults_besides_grants(manifest, config);
    faults.extend(manifest.schema_faults());
    if !faults.is_empty() {
        return Err(BuildError::Refused(faults.to_string()));
    }
    if let Err(missing) = check_grants(manifest, config) {
        eprint(&warnings(missing.list()));
    }
    let faults = component::faults(manifest, &check::granted(manifest, config)).await;
    if faults.is_empty() {
        return Ok(());
    }
    Err(BuildError::Refused(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

impl std::fmt::Display for Built {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Built { manifest, size, build_time, check_time } = self;
        let (built, checked) = (build_time.as_secs_f64(), check_time.as_secs_f64());
        let (name, component) = (&manifest.name, source::shown(&manifest.component));
        write!(f, "{name}: built in {built:.1} s, checked in {checked:.1} s: {component}, {}", Bytes(*size))
    }
}
