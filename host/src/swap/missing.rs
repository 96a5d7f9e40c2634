//! Reports settings that name modules which do not exist.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::swapper::Swapper;
use crate::blocking::run_blocking;
use crate::config::Config;
use crate::registry::manifest::folder_names;

/// The subject of the notice: see [`Roster::set_notice`](crate::registry::Roster::set_notice).
const MISSING: &str = "settings of modules";

impl Swapper {
    /// Looks for settings of modules that do not exist, and reports them.
    pub(super) async fn report_missing_modules(self: &Arc<Swapper>) {
        let swapper = self.clone();
        run_blocking(move || swapper.set_missing_modules(&swapper.live_config.load())).await;
    }

    /// Reports the settings that name modules which do not exist, in the status and, if they are
    /// others than before, in the log.
    pub(super) fn set_missing_modules(&self, config: &Config) {
        let mut existing: BTreeSet<String> = self.roster.states().into_keys().collect();
        if !missing(config, &existing).is_empty() {
            // The host may not have seen a new folder yet.
            existing.extend(folder_names(&config.modules_dir).unwrap_or_default());
        }
        let lines = missing(config, &existing);
        let notice = (!lines.is_empty()).then(|| lines.join("\n"));
        if self.roster.set_notice(MISSING, notice) {
            lines.iter().for_each(|line| tracing::warn!("{line}"));
        }
    }
}

/// A line for each setting that names a module which is not in the list.
fn missing(config: &Config, existing: &BTreeSet<String>) -> Vec<String> {
    let existing: Vec<&str> = existing.iter().map(String::as_str).collect();
    let warnings = [
        config.sections_without_module(&existing),
        config.listeners_without_module(&existing),
        config.server_without_module(&existing),
        config.routers_in_vain(&existing),
    ];
    warnings.iter().flatten().map(ToString::to_string).collect()
}
