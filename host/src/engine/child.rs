//! The child process that compiles one component.
//!
//! The child runs the program that `Builder::compiler` names. A program can name itself if its
//! `main` first calls `fanfare::compile_if_asked`. `Builder::bind` fails in a child, because a
//! program that does not call it would start itself again and again.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use rustix::process::{Rlimit, Signal};
use sha2::{Digest, Sha256};

use super::functions::Functions;
use super::{compatibility, format};
use crate::files::{self, ReadError};

/// The first argument of a child process that compiles. No other program should have a command of
/// this name.
pub(super) const COMMAND: &str = "compile-component";

/// The most files that the child may have open.
const FILES: u64 = 256;

/// The child's exit code when the component cannot be compiled.
pub(super) const REFUSED: u8 = 3;

/// The child's exit code when it could not write the artefact.
pub(super) const UNWRITTEN: u8 = 4;

/// The exit code of a compilation that had no memory left and noticed it. Mostly the process is
/// aborted instead.
const OUT_OF_MEMORY: u8 = 5;

/// The child's exit code when it does not understand its arguments.
const USAGE: u8 = 2;

/// The arguments of a child process that compiles: a component and the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CompileJob {
    /// The component to compile.
    component: PathBuf,
    /// The file that the child writes the artefact to, by rename.
    artefact: PathBuf,
    /// The SHA-256 that the component must have, in hexadecimal.
    digest: Option<String>,
    /// The most bytes of address space.
    memory: u64,
    /// The number of threads.
    threads: usize,
    /// The id of the process that waits for the artefact. The child ends with it.
    parent: Option<u32>,
    /// The most seconds of processor time.
    cpu: Option<u64>,
    /// The most bytes of the folder's compiled functions. `None` to use and keep none.
    functions: Option<u64>,
}

/// The address space of a child whose parent sets no limit, in bytes.
const MEMORY: u64 = 4 << 30;

impl CompileJob {
    /// Reads `<component> <artefact> [--digest=..] [--memory=..] [--threads=..] [--parent=..]
    /// [--cpu=..] [--functions=..]`.
    fn parse(mut args: impl Iterator<Item = OsString>) -> Result<CompileJob, String> {
        let (Some(component), Some(artefact)) = (args.next(), args.next()) else {
            return Err(format!("write {COMMAND} <component> <artefact>"));
        };
        let mut job = CompileJob {
            component: component.into(),
            artefact: artefact.into(),
            digest: None,
            memory: MEMORY,
            threads: 1,
            parent: None,
            cpu: None,
            functions: None,
        };
        for arg in args {
            let text = arg.to_string_lossy();
            let unknown = || format!("{COMMAND}: {text} is not an argument of this command");
            let (name, value) = text.split_once('=').ok_or_else(unknown)?;
            let number = || value.parse::<u64>().map_err(|_| format!("{COMMAND}: {text} must be a number"));
            let whole = |number: u64| number.try_into().map_err(|_| unknown());
            match name {
                "--digest" => job.digest = Some(value.to_owned()),
                "--memory" => job.memory = number()?,
                "--threads" => job.threads = number()?.try_into().map_err(|_| unknown())?,
                "--parent" => job.parent = Some(whole(number()?)?),
                "--cpu" => job.cpu = Some(number()?),
                "--functions" => job.functions = Some(number()?),
                _ => return Err(unknown()),
            }
        }
        Ok(job)
    }
}

/// Whether this process was started to compile a component.
pub fn is_compiler() -> bool {
    std::env::args_os().nth(1).as_deref() == Some(OsStr::new(COMMAND))
}

/// Compiles a component if a host has started this process to do so, and returns the exit code for
/// `main` to return. Returns `None` in every other process, at once.
///
/// A host starts the program that [`Builder::compiler`](crate::Builder::compiler) names as a child
/// process, with arguments that only this function understands. So a program that names itself must
/// call this function before it does anything else. It neither exits nor changes anything outside
/// of that child process, which gets the limits of `engine.compileMemory` and
/// `engine.compileTimeout`.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use fanfare::Host;
///
/// fn main() -> ExitCode {
///     if let Some(code) = fanfare::compile_if_asked() { return code; }
///
///     let runtime = tokio::runtime::Runtime::new().unwrap();
///     let this_program = std::env::current_exe().unwrap();
///     let host = runtime.block_on(Host::builder().compiler(this_program).start()).unwrap();
///     runtime.block_on(host.shutdown());
///     ExitCode::SUCCESS
/// }
/// ```
pub fn compile_if_asked() -> Option<ExitCode> {
    is_compiler().then(|| match CompileJob::parse(std::env::args_os().skip(2)) {
        Ok(job) => ExitCode::from(run(&job)),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(USAGE)
        }
    })
}

/// Asks the kernel to end this process with its parent, and returns whether the parent still runs.
/// The kernel sends the signal when the *thread* that started this process ends. That is safe here,
/// because the threads of the host's runtimes end with the host.
fn ends_with_parent(parent: u32) -> bool {
    // Without this signal the limit of processor time still ends the process.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let now = rustix::process::getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    now == Some(parent)
}

/// Compiles and returns the exit code. The limits apply to the whole process.
fn run(args: &CompileJob) -> u8 {
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
    let (artefact, functions) = match compile(args) {
        Ok(compiled) => compiled,
        Err(error) => {
            eprintln!("{error:#}");
            return code_of(&error);
        }
    };
    if let Err(error) = files::write_whole(&args.artefact, &artefact, files::PRIVATE) {
        eprintln!("{error}");
        return UNWRITTEN;
    }
    if let Some(functions) = functions {
        // Without them the component is only compiled in full the next time.
        let _ = functions.save();
        let _ = writeln!(std::io::stdout(), "{}", functions.counts());
    }
    0
}

/// The exit code after an error of the compiler. What the limit of memory causes is not the fault
/// of the component.
fn code_of(error: &wasmtime::Error) -> u8 {
    let has_no_room = match error.downcast_ref() {
        Some(ReadError::Io(error)) => error.kind() == io::ErrorKind::OutOfMemory,
        _ => error.is::<wasmtime::OutOfMemory>(),
    };
    if has_no_room { OUT_OF_MEMORY } else { REFUSED }
}

/// Returns the artefact of a component, and its functions if they are kept.
fn compile(args: &CompileJob) -> wasmtime::Result<(Vec<u8>, Option<Arc<Functions>>)> {
    let mut config = super::settings();
    // If the system allows no further threads, one compiles.
    let pool = || rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global();
    config.parallel_compilation(args.threads > 1 && pool().is_ok());
    let mut engine = wasmtime::Engine::new(&config)?;
    // The host has checked the size of the file that it compiles.
    let component = files::read(&args.component, u64::MAX)?;
    format::check(&component).map_err(wasmtime::Error::msg)?;
    let changed = |digest: &String| *digest != files::hex(&Sha256::digest(&component));
    if args.digest.as_ref().is_some_and(changed) {
        return Err(wasmtime::Error::msg("the file was replaced during the load: load the module again"));
    }
    let mut functions = None;
    if let (Some(size), Some(dir)) = (args.functions, args.artefact.parent()) {
        let opened = Arc::new(Functions::open(dir, compatibility(&engine), size));
        config.enable_incremental_compilation(opened.clone())?;
        engine = wasmtime::Engine::new(&config)?;
        functions = Some(opened);
    }
    let compiled = engine.precompile_component(&component);
    if compiled.is_err() {
        // Says more than the position at which the compiler failed.
        format::check_sections(&component).map_err(wasmtime::Error::msg)?;
    }
    Ok((compiled?, functions))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<CompileJob, String> {
        CompileJob::parse(args.iter().map(OsString::from))
    }

    #[test]
    fn a_job_has_two_files_and_optional_limits() {
        let plain = parse(&["a.wasm", "b.cwasm"]).unwrap();
        assert_eq!((plain.component, plain.artefact), ("a.wasm".into(), "b.cwasm".into()));
        assert_eq!((plain.memory, plain.threads, plain.parent), (MEMORY, 1, None));
        let limited =
            parse(&["a", "b", "--digest=d", "--memory=5", "--threads=3", "--parent=7", "--cpu=9", "--functions=8"])
                .unwrap();
        assert_eq!((limited.digest.as_deref(), limited.memory, limited.threads), (Some("d"), 5, 3));
        assert_eq!((limited.parent, limited.cpu, limited.functions), (Some(7), Some(9), Some(8)));
    }

    #[test]
    fn the_limit_of_memory_is_not_the_fault_of_the_component() {
        assert_eq!(code_of(&wasmtime::OutOfMemory::new(500_000).into()), OUT_OF_MEMORY);
        let read = |kind: io::ErrorKind| wasmtime::Error::from(ReadError::Io(kind.into()));
        assert_eq!(code_of(&read(io::ErrorKind::OutOfMemory)), OUT_OF_MEMORY);
        assert_eq!(code_of(&read(io::ErrorKind::NotFound)), REFUSED);
        assert_eq!(code_of(&wasmtime::format_err!("no component")), REFUSED);
    }

    /// A component with `count` functions, of which the last one returns `last`.
    fn component(count: u32, last: u32) -> Vec<u8> {
        let function = |n: u32, value: u32| format!("(func (export \"f{n}\") (result i32) i32.const {value})");
        let most: String = (1..count).map(|n| function(n, n)).collect();
        wat::parse_str(format!("(component (core module {most} {}))", function(count, last))).unwrap()
    }

    #[test]
    fn a_changed_component_compiles_only_its_changed_functions_to_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let compiled = |component: Vec<u8>, functions: Option<&str>| {
            let file = dir.path().join("x.wasm");
            std::fs::write(&file, component).unwrap();
            let files = [file.into_os_string(), dir.path().join("x.cwasm").into_os_string()];
            let job = CompileJob::parse(files.into_iter().chain(functions.map(OsString::from))).unwrap();
            let (artefact, functions) = compile(&job).unwrap();
            let counts = functions.map(|functions| {
                functions.save().unwrap();
                functions.counts()
            });
            (artefact, counts)
        };
        let kept = |component| {
            let (artefact, counts) = compiled(component, Some("--functions=1000000"));
            let counts = counts.unwrap();
            (artefact, counts.compiled, counts.reused)
        };
        let (first, all, none) = kept(component(100, 1000));
        assert!(all >= 100 && none == 0, "{all} compiled, {none} reused");
        let (changed, one, rest) = kept(component(100, 1001));
        assert_eq!((one, rest), (1, all - 1));
        let (same, nothing, everything) = kept(component(100, 1000));
        assert_eq!((nothing, everything), (0, all));
        assert!(first == same && first != changed);
        for (artefact, last) in [(first, 1000), (changed, 1001)] {
            let (without, counts) = compiled(component(100, last), None);
            assert!(without == artefact && counts.is_none(), "the artefact with kept functions differs");
        }
    }

    #[test]
    fn arguments_that_are_missing_or_unknown_are_named() {
        for (args, says) in [
            (&["a"][..], "compile-component <component> <artefact>"),
            (&["a", "b", "--fast=1"], "--fast=1 is not an argument"),
            (&["a", "b", "c"], "c is not an argument"),
            (&["a", "b", "--memory=much"], "--memory=much must be a number"),
            (&["a", "b", "--parent=99999999999"], "--parent=99999999999 is not an argument"),
        ] {
            let error = parse(args).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
