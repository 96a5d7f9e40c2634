//! What `fanfare check` and `fanfare build` find in a module's component.

use super::progress::{Line, progress};
use fanfare::tooling::document::source;
use fanfare::tooling::{Inspector, Manifest};
use fanfare::{Config, Fault, Origin};

/// Compiles and links the component, and asks it which handlers it has.
pub fn faults(manifest: &Manifest, config: &Config) -> Vec<Fault> {
    match super::runtime() {
        Ok(runtime) => runtime.block_on(inspect(manifest, config)),
        Err(why) => vec![fault(manifest, &why)],
    }
}

/// The same for those who wait already.
pub async fn inspect(manifest: &Manifest, config: &Config) -> Vec<Fault> {
    let inspected = match inspector(config) {
        Ok(inspector) => inspector.inspect(manifest.clone()).await.map_err(|error| error.to_string()),
        Err(why) => Err(why),
    };
    inspected.err().map(|why| why.lines().map(|line| fault(manifest, line)).collect()).unwrap_or_default()
}

/// With the line of progress, if there is a terminal.
pub fn inspector(config: &Config) -> Result<Inspector, String> {
    let compiler = super::program()?;
    Inspector::new(config, compiler, progress(Line::on_terminal())).map_err(|error| error.to_string())
}

fn fault(manifest: &Manifest, message: &str) -> Fault {
    Fault::new(&Origin::start_of(&source::shown(&manifest.file)), "component", message)
}
