//! Checks a module's component for `fanfare check`, `build` and `test`.

use super::progress::{Line, progress};
use fanfare::tooling::document::source;
use fanfare::tooling::{Inspector, Manifest};
use fanfare::{Config, Fault, Origin};

/// Compiles and links the component, and asks it for its handlers. Returns the faults.
pub fn faults(manifest: &Manifest, config: &Config) -> Vec<Fault> {
    match super::runtime() {
        Ok(runtime) => runtime.block_on(inspect(manifest, config)),
        Err(why) => vec![fault(manifest, &why)],
    }
}

/// [`faults`] within an async runtime.
pub async fn inspect(manifest: &Manifest, config: &Config) -> Vec<Fault> {
    let inspected = match inspector(config) {
        Ok(inspector) => inspector.inspect(manifest.clone()).await.map_err(|error| error.to_string()),
        Err(why) => Err(why),
    };
    inspected.err().map(|why| why.lines().map(|line| fault(manifest, line)).collect()).unwrap_or_default()
}

/// An inspector that shows progress on a terminal.
pub fn inspector(config: &Config) -> Result<Inspector, String> {
    let compiler = super::program()?;
    Inspector::new(config, compiler, progress(Line::on_terminal())).map_err(|error| error.to_string())
}

fn fault(manifest: &Manifest, message: &str) -> Fault {
    Fault::new(&Origin::start_of(&source::shown(&manifest.file)), "component", message)
}
