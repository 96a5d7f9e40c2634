//! Checks a module's component for `fanfare check`, `build` and `test`.

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
        None => error.to_string().lines().map(|line| fault(manifest, line)).collect(),
    }
}

/// An inspector that shows progress.
pub fn inspector(config: &Config) -> Result<Inspector, CommandError> {
    Ok(Inspector::new(config, super::program()?, progress::without_log())?)
}

fn fault(manifest: &Manifest, message: &str) -> Fault {
    let key = KeyPath::of(&["component"]);
    Fault::new(&manifest.source.nearest(&key).origin, key, message)
}
