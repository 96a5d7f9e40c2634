//! Reports components in `modulesDir` that no module loads, because a manifest is missing.

use std::sync::Arc;

use super::swapper::Swapper;
use crate::blocking::run_blocking;
use crate::registry::manifest::{Stray, strays};

/// The subject of the notice: see [`Roster::set_notice`](crate::registry::Roster::set_notice).
const STRAYS: &str = "modules";

impl Swapper {
    /// Looks for components without a manifest, and reports them.
    pub(super) async fn report_strays(self: &Arc<Swapper>) {
        let swapper = self.clone();
        run_blocking(move || swapper.set_strays(&strays(&swapper.config.modules_dir))).await;
    }

    /// Reports these components in the status and, if they are others than before, in the log.
    pub(super) fn set_strays(&self, strays: &[Stray]) {
        let lines: Vec<String> = strays.iter().map(ToString::to_string).collect();
        let text = lines.join("\n");
        let notice = (!strays.is_empty()).then_some(text);
        if self.roster.set_notice(STRAYS, notice) {
            lines.iter().for_each(|line| tracing::warn!("{line}"));
        }
    }
}
