//! Compiles components in a child process with low priority and with limits on memory, time and
//! size.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Rlimit, Signal};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use wasmparser::Parser;

use crate::files::{self, ReadError};

/// Starts the child processes that compile.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// A program with the command `compile <component> <artefact> ..`: the `fanfare` executable.
    pub program: PathBuf,
    /// The most bytes of address space of a child: `engine.compileMemory`.
    pub memory: u64,
    /// The longest that a child may run: `engine.compileTimeout`.
    pub timeout: Duration,
    /// The most bytes of a component: `engine.maxComponent`.
    pub max_component: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} has {size} bytes: more than engine.maxComponent, {max}")]
    TooLarge { path: PathBuf, size: u64, max: u64 },
    #[error("could not start the compiler: {0}")]
    Spawn(io::Error),
    #[error("compiling took longer than engine.compileTimeout, {0:?}: raise it, or build a smaller component")]
    Timeout(Duration),
    #[error("{path}: {why}")]
    Refused { path: PathBuf, why: String },
    #[error("{folder}: could not write a compiled component to this folder of stateDir: {why}; {STATE_DIR}")]
    Unwritten { folder: PathBuf, why: String },
    #[error("the compiler ended with {status}; it may have reached engine.compileMemory: {output}")]
    Died { status: std::process::ExitStatus, output: String },
}

impl Compiler {
    /// Reads a component of at most `max_component` bytes.
    pub fn read(&self, component: &Path) -> Result<Vec<u8>, CompileError> {
        let (path, max) = (component.to_owned(), self.max_component);
        files::read(component, max).map_err(|error| match error {
            ReadError::Io(source) => CompileError::Read { path, source },
            ReadError::TooLarge(size) => CompileError::TooLarge { path, size, max },
        })
    }

    /// Compiles a component file into an artefact, which appears whole or not at all. Fails when
    /// the file no longer has this digest.
    pub async fn run(
        &self,
        component: &Path,
        digest: &str,
        artefact: &Path,
        threads: usize,
    ) -> Result<(), CompileError> {
        let mut child = Command::new(&self.program)
            .arg("compile")
            .arg(component)
            .arg(artefact)
            .arg(format!("--digest={digest}"))
            .arg(format!("--memory={}", self.memory))
            .arg(format!("--threads={threads}"))
            .arg(format!("--parent={}", std::process::id()))
            .arg(format!("--cpu={}", cpu_seconds(self.timeout, threads)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(CompileError::Spawn)?;
        let stderr = child.stderr.take();
        let finish = async {
            let mut output = Vec::new();
            if let Some(stderr) = stderr {
                stderr.take(16 * 1024).read_to_end(&mut output).await.map_err(CompileError::Spawn)?;
            }
            let status = child.wait().await.map_err(CompileError::Spawn)?;
            Ok((status, String::from_utf8_lossy(&output).trim().to_owned()))
        };
        let (status, output) =
            tokio::time::timeout(self.timeout, finish).await.map_err(|_| CompileError::Timeout(self.timeout))??;
        match status.code() {
            Some(0) => Ok(()),
            Some(REFUSED) => Err(CompileError::Refused { path: component.to_owned(), why: output }),
            Some(UNWRITTEN) => {
                let folder = artefact.parent().unwrap_or(artefact).to_owned();
                Err(CompileError::Unwritten { folder, why: output })
            }
            _ => Err(CompileError::Died { status, output }),
        }
    }
}

/// The most files that the child may have open.
const FILES: u64 = 256;

/// The child's exit code when the component cannot be compiled.
const REFUSED: i32 = 3;

/// The child's exit code when it could not write the artefact.
const UNWRITTEN: i32 = 4;

/// How to fix a state folder that the host cannot write.
pub(super) const STATE_DIR: &str = "free space, make it writable, or set stateDir to another folder";

/// The arguments of a child process that compiles: a component and the limits.
#[derive(Debug, Clone)]
pub struct CompileJob {
    /// The component to compile.
    pub component: PathBuf,
    /// The file that the child writes the artefact to, by rename.
    pub artefact: PathBuf,
    /// The SHA-256 that the component must have, in hexadecimal.
    pub digest: Option<String>,
    /// The most bytes of address space.
    pub memory: u64,
    /// The number of threads.
    pub threads: usize,
    /// The id of the process that waits for the artefact. The child ends with it.
    pub parent: Option<u32>,
    /// The most seconds of processor time.
    pub cpu: Option<u64>,
}

/// Returns the processor time that a child can use within `engine.compileTimeout`, plus some more,
/// so that the host's own timeout comes first and reports the reason.
fn cpu_seconds(timeout: Duration, threads: usize) -> u64 {
    let threads = u64::try_from(threads).unwrap_or(u64::MAX).max(1);
    timeout.as_secs().saturating_add(GRACE).saturating_mul(threads)
}

/// The seconds by which a child may outlast `engine.compileTimeout` when the host does not end it.
const GRACE: u64 = 5;

/// Asks the kernel to end this process with its parent, and returns whether the parent still runs.
/// The kernel sends the signal when the *thread* that started this process ends. That is safe here,
/// because the threads of the host's runtimes end with the host.
fn ends_with_parent(parent: u32) -> bool {
    // Without this signal the limit of processor time still ends the process.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let now = rustix::process::getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    now == Some(parent)
}

/// Runs the child's side, which is the program's command `compile`, and returns the exit code. The
/// limits apply to the whole process.
pub fn run_child(args: &CompileJob) -> i32 {
    if args.parent.is_some_and(|parent| !ends_with_parent(parent)) {
        eprintln!("the process that started this compilation has ended");
        return REFUSED;
    }
    if let Some(seconds) = args.cpu {
        let limit = Rlimit { current: Some(seconds), maximum: Some(seconds.saturating_add(1)) };
        let _ = rustix::process::setrlimit(rustix::process::Resource::Cpu, limit);
    }
    let limit = Rlimit { current: Some(args.memory), maximum: Some(args.memory) };
    // A system may forbid to set a limit. Compiling still works, with less protection.
    let _ = rustix::process::setrlimit(rustix::process::Resource::As, limit);
    let _ = rustix::process::nice(10);
    // When memory runs out, the kernel ends this process and not the host.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    // The host raises its own limit for its connections; a compiler needs only a handful of files.
    let open = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let current = open.current.map(|limit| limit.min(FILES));
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, Rlimit { current, ..open });
    let artefact = match compile(args) {
        Ok(artefact) => artefact,
        Err(error) => {
            eprintln!("{error:#}");
            return REFUSED;
        }
    };
    match files::write_whole(&args.artefact, &artefact, files::PRIVATE) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            UNWRITTEN
        }
    }
}

/// Returns the artefact of a component.
fn compile(args: &CompileJob) -> wasmtime::Result<Vec<u8>> {
    let mut config = super::settings();
    config.parallel_compilation(args.threads > 1);
    let engine = wasmtime::Engine::new(&config)?;
    // The host has checked the size of the file that it compiles.
    let component = files::read(&args.component, u64::MAX)?;
    if let Some(why) = not_a_component(&component) {
        return Err(wasmtime::Error::msg(why));
    }
    let changed = |digest: &String| *digest != files::hex(&Sha256::digest(&component));
    if args.digest.as_ref().is_some_and(changed) {
        return Err(wasmtime::Error::msg("the file was replaced during the load: load the module again"));
    }
    engine.precompile_component(&component)
}

/// Returns why a file is not a component, by its first bytes.
fn not_a_component(bytes: &[u8]) -> Option<&'static str> {
    if Parser::is_component(bytes) {
        None
    } else if Parser::is_core_wasm(bytes) {
        Some("the file is a core module, not a component: build it for wasm32-wasip2")
    } else {
        Some("the file is not a WebAssembly component")
    }
}
