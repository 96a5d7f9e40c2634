//! What `fanfare check` finds in a module's component.

use super::progress::{Line, progress};
use crate::config::{Config, Fault, Origin, source};
use crate::host::Inspector;
use crate::registry::Manifest;

/// Compiles and links the component, and asks it which handlers it has.
pub fn faults(manifest: &Manifest, config: &Config) -> Vec<Fault> {
    let fault = |message: &str| Fault::new(&Origin::start_of(&source::shown(&manifest.file)), "component", message);
    let inspect = || -> Result<(), String> {
        let compiler = std::env::current_exe().map_err(|error| format!("the program does not find itself: {error}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("the runtime does not start: {error}"))?;
        let inspector =
            Inspector::new(config, compiler, progress(Line::on_terminal())).map_err(|error| error.to_string())?;
        runtime.block_on(inspector.inspect(manifest.clone()))
    };
    inspect().err().map(|why| why.lines().map(fault).collect()).unwrap_or_default()
}
