//! Reads `fanfare.json` again while the host runs.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::{Config, load};
use crate::document::fault::{Fault, Faults, ValueOrigin};
use crate::document::{Node, source};

impl Config {
    /// Reads the sources again. Returns this configuration with the new values of its live
    /// sections, and the other keys that have changed, which need a restart. `last` is the file
    /// that was read last. It must still exist, because a missing file would mean defaults.
    pub fn reread(&self, last: Option<&Path>) -> Result<(Config, Vec<String>), Faults> {
        if let Some(file) = last
            && let Err(error) = std::fs::metadata(file)
        {
            let message = match error.kind() {
                io::ErrorKind::NotFound => {
                    "was removed: restore it, because a restart without it would use the defaults"
                }
                _ => &format!("cannot be read: {error}"),
            };
            return Err(Fault::new(&ValueOrigin::start_of(&source::shown(file)), "", message.to_owned()).into());
        }
        let Some(sources) = &self.sources else { return Ok((self.clone(), Vec::new())) };
        let (new, faults) = load::load_with_faults(sources);
        if !faults.is_empty() {
            return Err(faults);
        }
        let restart = different(&self.effective, &new.effective);
        Ok((self.with_live_sections_of(new), restart))
    }
}

/// Returns the keys outside the live sections whose values differ.
fn different(a: &Node, b: &Node) -> Vec<String> {
    let fixed = |node: &Node| -> BTreeSet<(String, String)> {
        let leaves = node.leaves().into_iter().map(|(path, value)| (path.to_string(), value.to_json().to_string()));
        leaves.filter(|(path, _)| !Config::LIVE.iter().any(|part| path.starts_with(&format!("{part}.")))).collect()
    };
    let (a, b) = (fixed(a), fixed(b));
    let keys: BTreeSet<String> = a.symmetric_difference(&b).map(|(key, _)| key.clone()).collect();
    keys.into_iter().collect()
}
