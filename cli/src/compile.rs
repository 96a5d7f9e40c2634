//! `fanfare compile`: the child process in which a host compiles one component.

use std::path::PathBuf;
use std::process::ExitCode;

use fanfare::tooling::{CompileJob, run_child};

/// Arguments of `fanfare compile`. The host's `Compiler` passes them.
#[derive(Debug, clap::Args)]
pub struct CompileArgs {
    /// The component to compile.
    component: PathBuf,
    /// The artefact to write, by rename.
    artefact: PathBuf,
    /// The SHA-256 that the component must have, in hexadecimal.
    #[arg(long)]
    digest: Option<String>,
    /// The most bytes of address space.
    #[arg(long, default_value_t = 4 << 30)]
    memory: u64,
    /// The number of threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The process that waits for the artefact. Compiling stops when it ends.
    #[arg(long)]
    parent: Option<u32>,
    /// The most seconds of processor time.
    #[arg(long)]
    cpu: Option<u64>,
}

/// Compiles the component; exits with the code that the host expects.
pub fn run(args: CompileArgs) -> ExitCode {
    let CompileArgs { component, artefact, digest, memory, threads, parent, cpu } = args;
    let code = run_child(&CompileJob { component, artefact, digest, memory, threads, parent, cpu });
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}
