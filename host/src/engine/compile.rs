//! Compiles components in a child process with low priority and with limits on memory, time and
//! size. [`child`](super::child) is the other side.
//!
//! The child gets the digest of the component, so that a file that was replaced meanwhile is not
//! stored under the old digest. It ends with its parent, and at a limit of processor time derived
//! from `engine.compileTimeout`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::child::{COMMAND, REFUSED, UNWRITTEN};
use super::format::BUILD_AGAIN;
use super::functions::FunctionCounts;
use crate::blocking::remedy;
use crate::files::{self, ReadError, relative};

/// Starts the child processes that compile.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// A program that calls [`compile_if_asked`](super::compile_if_asked).
    pub program: PathBuf,
    /// The most bytes of address space of a child: `engine.compileMemory`.
    pub memory: u64,
    /// The longest that a child may run: `engine.compileTimeout`.
    pub timeout: Duration,
    /// The most bytes of a component: `engine.maxComponent`.
    pub max_component: u64,
    /// The most bytes of compiled functions on disk: `engine.functionCacheSize`.
    pub functions: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error("{}: {source}", relative(.path).display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} has {size} bytes: more than engine.maxComponent, {max}", relative(.path).display())]
    TooLarge { path: PathBuf, size: u64, max: u64 },
    #[error("{program}: could not start this program, which compiles components: {source}{hint}", hint = remedy(.source))]
    Spawn { program: PathBuf, source: io::Error },
    #[error("compiling took longer than engine.compileTimeout, {0:?}: raise it, or build a smaller component")]
    Timeout(Duration),
    #[error("{}: {why}", relative(.path).display())]
    Refused { path: PathBuf, why: String },
    #[error("{folder}: could not write a compiled component to this folder of stateDir: {why}; {STATE_DIR}")]
    Unwritten { folder: PathBuf, why: String },
    #[error("the compiler ended with {status}; it may have reached engine.compileMemory: {output}")]
    Died { status: std::process::ExitStatus, output: String },
}

impl Compiler {
    /// Fails if a component with this number of bytes is too large.
    pub fn check_size(&self, component: &Path, size: u64) -> Result<(), CompileError> {
        let (path, max) = (component.to_owned(), self.max_component);
        if size > max { Err(CompileError::TooLarge { path, size, max }) } else { Ok(()) }
    }

    /// Reads a component of at most `max_component` bytes.
    pub fn read(&self, component: &Path) -> Result<Vec<u8>, CompileError> {
        let (path, max) = (component.to_owned(), self.max_component);
        files::read(component, max).map_err(|error| match error {
            ReadError::Io(source) => CompileError::Read { path, source },
            ReadError::TooLarge(size) => CompileError::TooLarge { path, size, max },
        })
    }

    /// Compiles a component file into an artefact, which appears whole or not at all. Fails when
    /// the file no longer has this digest. Returns how many functions were compiled, if the
    /// component is large enough for its functions to be kept.
    pub async fn run(
        &self,
        component: &Path,
        digest: &str,
        artefact: &Path,
        threads: usize,
    ) -> Result<Option<FunctionCounts>, CompileError> {
        let spawn = |source| CompileError::Spawn { program: self.program.clone(), source };
        // A file without metadata cannot be compiled either.
        let size = tokio::fs::metadata(component).await.map_or(0, |meta| meta.len());
        let functions = (self.functions > 0 && size >= KEPT_FROM).then(|| format!("--functions={}", self.functions));
        let mut child = Command::new(&self.program)
            .arg(COMMAND)
            .arg(component)
            .arg(artefact)
            .arg(format!("--digest={digest}"))
            .arg(format!("--memory={}", self.memory))
            .arg(format!("--threads={threads}"))
            .arg(format!("--parent={}", std::process::id()))
            .arg(format!("--cpu={}", cpu_seconds(self.timeout, threads)))
            .args(functions)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(spawn)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let finish = async {
            let (counts, output) = tokio::try_join!(read(stdout, 256), read(stderr, 16 * 1024)).map_err(spawn)?;
            let status = child.wait().await.map_err(spawn)?;
            Ok((status, counts, output))
        };
        let (status, counts, output) =
            tokio::time::timeout(self.timeout, finish).await.map_err(|_| CompileError::Timeout(self.timeout))??;
        match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(0) => Ok(FunctionCounts::parse(&counts)),
            Some(REFUSED) => {
                let why = invalid(&output).unwrap_or(output);
                Err(CompileError::Refused { path: component.to_owned(), why })
            }
            Some(UNWRITTEN) => {
                let folder = artefact.parent().unwrap_or(artefact).to_owned();
                Err(CompileError::Unwritten { folder, why: output })
            }
            _ => Err(CompileError::Died { status, output }),
        }
    }
}

/// Says that a file is invalid and what to do, without the name of the function, which is mangled
/// and cut. `None` if the compiler refused the file for another reason.
fn invalid(why: &str) -> Option<String> {
    const ERRORS: [&str; 2] = ["WebAssembly translation error: ", "failed to parse WebAssembly module: "];
    let (_, fault) = ERRORS.iter().find_map(|error| why.split_once(error))?;
    Some(format!("is not valid WebAssembly: {fault}; {BUILD_AGAIN}"))
}

/// Returns the trimmed text of at most `most` bytes that a child writes.
async fn read(pipe: Option<impl AsyncRead + Unpin>, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(most).read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// The bytes of a component from which its functions are kept. Smaller ones compile in a second,
/// and theirs would fill the space for the large ones.
const KEPT_FROM: u64 = 1 << 20;

/// How to fix a state folder that the host cannot write.
pub(super) const STATE_DIR: &str = "free space, make it writable, or set stateDir to another folder";

/// Returns the processor time that a child can use within `engine.compileTimeout`, plus some more,
/// so that the host's own timeout comes first and reports the reason.
fn cpu_seconds(timeout: Duration, threads: usize) -> u64 {
    let threads = u64::try_from(threads).unwrap_or(u64::MAX).max(1);
    timeout.as_secs().saturating_add(GRACE).saturating_mul(threads)
}

/// The seconds by which a child may outlast `engine.compileTimeout` when the host does not end it.
const GRACE: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_file_is_named_without_mangled_names_and_with_a_remedy() {
        let fault = "Invalid input WebAssembly code at offset 7: type mismatch";
        for why in [
            format!("failed to compile: wasm[0]::function[1]::_ZN4core3ptr1: WebAssembly translation error: {fault}"),
            format!("failed to parse WebAssembly module: {fault}"),
        ] {
            let shown = invalid(&why).unwrap();
            assert!(
                shown.starts_with(&format!("is not valid WebAssembly: {fault}; build the component again")),
                "{shown}"
            );
            assert!(shown.ends_with("(for Rust with `cargo clean`)") && !shown.contains("_ZN"), "{shown}");
        }
        assert_eq!(invalid("it is not a component"), None);
    }
}
