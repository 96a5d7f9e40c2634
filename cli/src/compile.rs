//! `fanfare compile`: the child process that compiles one component for a host.

use std::path::PathBuf;
use std::process::ExitCode;

use fanfare::tooling::{Compilation, run_child};

/// Arguments of `fanfare compile`, which the host's `Compiler` writes.
#[derive(Debug, clap::Args)]
pub struct CompileArgs {
    /// The component to compile.
    component: PathBuf,
    /// Where the artefact goes, by rename.
    artefact: PathBuf,
    /// The SHA-256 that the component must have, in hexadecimal.
    #[arg(long)]
    digest: Option<String>,
    /// Bytes of address space to use at most.
    #[arg(long, default_value_t = 4 << 30)]
    memory: u64,
    /// Threads to use.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The process that waits for the artefact: without it there is nothing to compile for.
    #[arg(long)]
    parent: Option<u32>,
    /// Seconds of processor time to use at most.
    #[arg(long)]
    cpu: Option<u64>,
}

/// Compiles, and exits with the code that the host expects.
pub fn run(args: CompileArgs) -> ExitCode {
    let CompileArgs { component, artefact, digest, memory, threads, parent, cpu } = args;
    let code = run_child(&Compilation { component, artefact, digest, memory, threads, parent, cpu });
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}
