//! Whether the tools that build modules work, for each language.

use std::path::PathBuf;

use super::{Finding, State};
use crate::build::tools::LANGUAGES;
use fanfare::Config;
use fanfare::tooling::manifest;

/// A finding for each language: a fault if a module of the project uses it and a tool is missing.
pub async fn languages(config: &Config) -> Vec<Finding> {
    let folders: Vec<PathBuf> =
        manifest::scan(&config.modules_dir).into_iter().flatten().map(|module| module.dir).collect();
    let mut findings = Vec::new();
    for language in LANGUAGES {
        let missing = language.missing(&config.root).await;
        let list = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let (name, user) = (language.name, folders.iter().find(|folder| language.is_in(folder)));
        findings.push(match user.and_then(|folder| folder.file_name()) {
            _ if missing.is_empty() => Finding::new("tools", State::Ok, name),
            None => Finding::new("tools", State::Note, format!("{name}, which no module here uses: {list}")),
            Some(module) => {
                let module = module.to_string_lossy();
                Finding::new("tools", State::Fault, format!("{name}, which {module} uses: {list}"))
            }
        });
    }
    findings
}
