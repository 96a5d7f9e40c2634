//! The machine and the checkout on it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// An empty folder below `target`, for one benchmark.
pub fn empty_dir(name: &str) -> PathBuf {
    let dir = root().join("target/tmp/bench").join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// A folder for the state of one host, with the compiled components of all, which stay from run to
/// run.
pub fn state_dir() -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let own = empty_dir(&format!("state-{}-{number}", std::process::id()));
    let cache = root().join("target/tmp/bench-state/cache");
    fs::create_dir_all(&cache).unwrap();
    symlink(cache, own.join("cache")).unwrap();
    own
}

/// The `fanfare` binary, rebuilt when it is out of date.
pub fn fanfare() -> PathBuf {
    use std::sync::OnceLock;
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            run(Command::new("cargo").current_dir(root()).args(["build", "--release", "--quiet"]));
            // A copy, because what the linker wrote starts more slowly: its pages lie one by one in
            // the page cache.
            let copy = root().join("target/bench-fanfare");
            std::fs::copy(root().join("target/release/fanfare"), &copy).unwrap();
            copy
        })
        .clone()
}

/// The baseline on `ProxyHandler`. It has its own wasmtime, so the first build takes minutes.
pub fn proxy() -> PathBuf {
    if !root().join("target/bench-proxy").exists() {
        println!("building bench/proxy with its own wasmtime: this takes some minutes, once");
    }
    baseline("proxy")
}

/// A program of one of the folders of `bench`, which is a workspace of its own.
pub fn baseline(folder: &str) -> PathBuf {
    let program = format!("bench-{folder}");
    let target = root().join("target").join(&program);
    run(Command::new("cargo")
        .current_dir(root().join("bench").join(folder))
        .args(["build", "--release", "--quiet", "--locked", "--target-dir"])
        .arg(&target));
    target.join("release").join(program)
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

/// Waits until no other benchmark runs on this machine. No other one starts until the returned
/// file is closed.
pub fn alone() -> fs::File {
    let lock = fs::File::create(std::env::temp_dir().join("fanfare-bench.lock")).unwrap();
    if lock.try_lock().is_err() {
        println!("waiting until another run has ended");
        lock.lock().unwrap();
    }
    lock
}

/// Whether `PATH` contains a program.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The circumstances of a run, which its figures depend on.
pub fn describe(rounds: usize) -> Value {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(root()).output().ok();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    json!({
        "when": said("date", &["-u", "+%Y-%m-%d %H:%M"]),
        "commit": said("git", &["describe", "--always", "--dirty"]),
        "processor": processor.map_or("unknown", |(_, name)| name),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "kernel": kernel.trim(),
        "rustc": said("rustc", &["-V"]),
        "load": load(),
        "rounds": rounds,
    })
}

/// Adds a module to a folder of modules.
pub fn module(modules: &Path, name: &str, manifest: &str, component: &Path) {
    let dir = modules.join(name);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("module.json"), manifest).unwrap();
    fs::copy(component, dir.join(component.file_name().unwrap())).unwrap();
}

/// Adds one of `bench/guests` to a folder of modules, under another name.
pub fn guest(modules: &Path, guest: &str, name: &str) {
    let dir = root().join("bench/guests").join(guest);
    let manifest = fs::read_to_string(dir.join("module.json")).unwrap();
    module(modules, name, &manifest, &component(guest));
}

/// Adds one of `tests/guests` to a folder of modules.
pub fn test_guest(modules: &Path, guest: &str) {
    let manifest = fs::read_to_string(root().join("tests/guests").join(guest).join("module.json")).unwrap();
    module(modules, guest, &manifest, &test_component(guest));
}

/// The component of one of `tests/guests`.
pub fn test_component(guest: &str) -> PathBuf {
    root().join("tests/guests").join(guest).join(format!("{}.wasm", guest.replace('-', "_")))
}

/// The component of one of `bench/guests`.
pub fn component(guest: &str) -> PathBuf {
    root().join("bench/guests").join(guest).join(format!("{}.wasm", guest.replace('-', "_")))
}
