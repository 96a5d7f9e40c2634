//! Checks a module's component for `fanfare check`, `build` and `test`.

use super::backtrace::{is_frame, shortened};
use super::error::CommandError;
use super::progress;
use fanfare::tooling::{Inspector, KeyPath, Manifest};
use fanfare::{Config, Fault};

/// [`faults`] outside an async runtime.
pub fn faults_blocking(manifest: &Manifest, config: &Config) -> Vec<Fault> {
    match super::runtime() {
        Ok(runtime) => runtime.block_on(faults(manifest, config)),
        Err(error) => vec![fault(manifest, &error.to_string())],
    }
}

/// Compiles and links the component, and asks it for its handlers. Returns the faults.
pub async fn faults(manifest: &Manifest, config: &Config) -> Vec<Fault> {
    let inspector = match inspector(config) {
        Ok(inspector) => inspector,
        Err(error) => return vec![fault(manifest, &error.to_string())],
    };
    let Err(error) = inspector.check(manifest.clone()).await else { return Vec::new() };
    match error.faults() {
        Some(faults) => {
            let more = (faults.more() > 0).then(|| fault(manifest, &format!("and {} more", faults.more())));
            faults.list().iter().cloned().chain(more).collect()
        }
        None => lines(&error.to_string()).iter().map(|line| fault(manifest, line)).collect(),
    }
}

/// An inspector that shows progress.
pub fn inspector(config: &Config) -> Result<Inspector, CommandError> {
    Ok(Inspector::new(config, super::program()?, progress::without_log())?)
}

/// The lines of a report. The frame of the author belongs to the line before it.
fn lines(report: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in shortened(report).lines() {
        match lines.last_mut().filter(|_| is_frame(line)) {
            Some(last) => *last = format!("{last} {}", line.trim_start()),
            None => lines.push(line.to_owned()),
        }
    }
    lines
}

fn fault(manifest: &Manifest, message: &str) -> Fault {
    let key = KeyPath::of(&["component"]);
    Fault::new(&manifest.source.nearest(&key).origin, key, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_one_fault() {
        let report = "a.wasm: unreachable\n    at abort\n    at hello::warm (src/lib.rs:9)\nb.wasm: another fault";
        assert_eq!(lines(report), ["a.wasm: unreachable at hello::warm (src/lib.rs:9)", "b.wasm: another fault"]);
    }
}
