//! Checks a module's component for `fanfare check`, `build` and `test`.

use super::error::CommandError;
use super::progress;
use fanfare::tooling::document::source;
use fanfare::tooling::{Inspector, Manifest};
use fanfare::{Config, Fault, ValueOrigin};

/// [`faults`] outside an async runtime.
pub fn faults_blocking(manifest: &Manifest, config: &Config) -> Vec<Fault> {
    match super::runtime() {
        Ok(runtime) => runtime.block_on(faults(manifest, config)),
        Err(error) => vec![fault(manifest, &error.to_string())],
    }
}

/// Compiles and links the component, and asks it for its handlers. Returns the faults.
pub async fn faults(manifest: &Manifest, config: &Config) -> Vec<Fault> {
    let inspected = match inspector(config) {
        Ok(inspector) => inspector.check(manifest.clone()).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    inspected.err().map(|why| why.lines().map(|line| fault(manifest, line)).collect()).unwrap_or_default()
}

/// An inspector that shows progress.
pub fn inspector(config: &Config) -> Result<Inspector, CommandError> {
    Ok(Inspector::new(config, super::program()?, progress::without_log())?)
}

fn fault(manifest: &Manifest, message: &str) -> Fault {
    Fault::new(&ValueOrigin::start_of(&source::shown(&manifest.file)), "component", message)
}
