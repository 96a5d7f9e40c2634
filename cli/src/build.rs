//! `fanfare build`: runs the `build.command` of modules, and checks what came out.

use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::config::SettingsArgs;
use super::inspect::Bytes;
use super::project::Wanted;
use super::terminal::{complain, print};
use super::{check, component};
use cargo::Cargo;
use fanfare::Config;
use fanfare::tooling::document::source;
use fanfare::tooling::manifest::ManifestError;
use fanfare::tooling::{Manifest, files, original_limit};

mod cargo;

/// Flags of `fanfare build`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct BuildArgs {
    /// The folder of one module, or that of fanfare.json for all modules that have a build.command [default: the current one].
    #[arg(value_name = "DIR", env = "FANFARE_DIR")]
    pub dir: Option<PathBuf>,
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// A module that has been built, and that a host would take.
#[derive(Debug, Clone)]
pub struct Built {
    pub manifest: Manifest,
    /// Bytes of the component.
    pub size: usize,
    /// How long the command took.
    pub took: Duration,
    /// How long compiling and checking took.
    pub checked: Duration,
}

/// Why a module is not built. The text ends with the way out.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    #[error(
        "{file}: it has no build.command: say how it is built, such as {{ \"command\": \"cargo build --release --target wasm32-wasip2\" }}"
    )]
    NoCommand { file: String },
    /// What is to be installed.
    #[error("{0}")]
    Lacking(String),
    #[error("`{command}` ended with {status}{hint}")]
    Command { command: String, status: ExitStatus, hint: &'static str },
    #[error("the shell does not start: {0}")]
    Shell(std::io::Error),
    #[error("{component} is not there after `{command}`: name in `component` what it builds{found}")]
    Missing { component: String, command: String, found: String },
    #[error("{component}: {source}")]
    Put { component: String, source: std::io::Error },
    /// It is built, and a host would not take it: a fault a line.
    #[error("{0}")]
    Refused(String),
}

/// Builds; exits 1 if something fails, with the reason last.
pub fn run(args: &BuildArgs) -> ExitCode {
    let done = Wanted::new(args.dir.as_deref(), &args.settings)
        .and_then(|wanted| super::runtime()?.block_on(build_all(&wanted)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&format!("fanfare: {why}\n"));
            ExitCode::FAILURE
        }
    }
}

async fn build_all(wanted: &Wanted) -> Result<(), String> {
    let (mut built, mut failed) = (0, Vec::new());
    for dir in &wanted.modules {
        match build(dir, &wanted.config).await {
            Ok(done) => {
                built += 1;
                print(&format!("{done}\n"));
            }
            // Of several, one without a command is none of ours.
            Err(BuildError::NoCommand { .. }) if !wanted.alone => {}
            Err(error) => failed.push(error.to_string()),
        }
    }
    match (failed.is_empty(), built) {
        (true, 0) => Err(format!("{}: no module there has a build.command", source::shown(&wanted.config.modules_dir))),
        (true, _) => Ok(()),
        (false, _) => Err(failed.join("\n")),
    }
}

/// Builds one module and checks it: the whole of `fanfare build`. What the command prints goes where ours goes.
pub async fn build(dir: &Path, config: &Config) -> Result<Built, BuildError> {
    let manifest = Manifest::load(dir)?;
    let begun = Instant::now();
    make(&manifest).await?;
    let took = begun.elapsed();
    check(&manifest, config).await?;
    let size = std::fs::metadata(&manifest.component).map_or(0, |meta| meta.len());
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    Ok(Built { manifest, size, took, checked: begun.elapsed().saturating_sub(took) })
}

/// Runs the command. Afterwards the component is there, and new if its sources are.
pub async fn make(manifest: &Manifest) -> Result<(), BuildError> {
    let Some(build) = &manifest.build else {
        return Err(BuildError::NoCommand { file: source::shown(&manifest.file).to_string() });
    };
    let cargo = Cargo::of(&build.command);
    let mut command = Command::new("sh");
    // `fanfare dev` has raised its limit of open files; programs that use `select` need the usual one.
    let limit = original_limit().map(|limit| format!("ulimit -S -n {limit}\n")).unwrap_or_default();
    command.arg("-c").arg(limit + &build.command).current_dir(&manifest.dir).stdin(Stdio::null()).kill_on_drop(true);
    if let Some(cargo) = &cargo
        && let Some(toolchain) = cargo.toolchain(&manifest.dir).await.map_err(BuildError::Lacking)?
    {
        complain(&format!("{}: built with the toolchain {toolchain}, the first that can\n", manifest.name));
        command.env(cargo::TOOLCHAIN, toolchain);
    }
    let status = command.status().await.map_err(BuildError::Shell)?;
    if !status.success() {
        let hint = if status.code() == Some(127) { ": install the program that the shell does not find" } else { "" };
        return Err(BuildError::Command { command: build.command.clone(), status, hint });
    }
    if let Some(cargo) = &cargo
        && let Some(made) = cargo.made(&manifest.dir).await
    {
        put(&made, &manifest.component)?;
    }
    if manifest.has_component() { Ok(()) } else { Err(missing(manifest, &build.command)) }
}

/// Brings what cargo has made to where the manifest has it, whole, when it is another place and another component.
fn put(made: &Path, component: &Path) -> Result<(), BuildError> {
    let failed = |source| BuildError::Put { component: source::shown(component).to_string(), source };
    if std::fs::canonicalize(made).ok() == std::fs::canonicalize(component).ok() {
        return Ok(());
    }
    let bytes = std::fs::read(made).map_err(failed)?;
    if std::fs::read(component).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(above) = component.parent() {
        std::fs::create_dir_all(above).map_err(failed)?;
    }
    files::write_whole(component, &bytes, files::PUBLIC).map_err(failed)
}

fn missing(manifest: &Manifest, command: &str) -> BuildError {
    let beside = manifest.component.parent().and_then(|dir| std::fs::read_dir(dir).ok());
    let paths = beside.into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<String> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .map(|path| source::shown(&path).to_string())
        .take(8)
        .collect();
    found.sort();
    BuildError::Missing {
        component: source::shown(&manifest.component).to_string(),
        command: command.to_owned(),
        found: if found.is_empty() { String::new() } else { format!("; there is {}", found.join(", ")) },
    }
}

/// Whether a host would take it: what `fanfare check` says of the module.
pub async fn check(manifest: &Manifest, config: &Config) -> Result<(), BuildError> {
    let faults = check::operators(manifest, config);
    if !faults.is_empty() {
        return Err(BuildError::Refused(faults.to_string()));
    }
    let faults = component::inspect(manifest, config).await;
    if faults.is_empty() {
        return Ok(());
    }
    Err(BuildError::Refused(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))
}

impl std::fmt::Display for Built {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Built { manifest, size, took, checked } = self;
        let (took, checked) = (took.as_secs_f64(), checked.as_secs_f64());
        let (name, component) = (&manifest.name, source::shown(&manifest.component));
        write!(f, "{name}: built in {took:.1} s, checked in {checked:.1} s: {component}, {}", Bytes(*size))
    }
}
