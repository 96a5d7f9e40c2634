//! The project of a folder, and the modules that a command works on.

use std::path::{Path, PathBuf};

use super::config::SettingsArgs;
use super::error::CommandError;
use fanfare::Config;
use fanfare::tooling::document::source::shown;
use fanfare::tooling::{config, manifest};

/// The folder of the project that contains a module: the nearest folder above the module with a
/// `fanfare.json`. Without one, the parent of the folder `modules` that contains the module, else
/// the module's own folder.
pub fn of(module: &Path) -> PathBuf {
    let full: PathBuf = std::path::absolute(module).unwrap_or_else(|_| module.to_owned()).components().collect();
    let named = full.ancestors().skip(1).find(|above| above.join(config::FILE_NAME).is_file());
    let usual = full.parent().filter(|parent| parent.ends_with("modules")).and_then(Path::parent);
    named.or(usual).unwrap_or(&full).to_owned()
}

/// Whether a folder is that of a module and not of a project.
pub fn is_module(dir: &Path) -> bool {
    dir.join(manifest::FILE_NAME).exists() && !dir.join(config::FILE_NAME).exists()
}

/// The settings and modules that a command works on.
pub struct Selection {
    pub config: Config,
    /// The folders of the modules, sorted by name.
    pub modules: Vec<PathBuf>,
    /// Whether the user named a single module.
    pub is_single_module: bool,
}

impl Selection {
    /// The module in `dir`, or all modules of the project in `dir`. By default `dir` is the current
    /// folder.
    pub fn new(dir: Option<&Path>, settings: &SettingsArgs) -> Result<Selection, CommandError> {
        let dir = dir.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !dir.is_dir() {
            return Err(CommandError::NotAFolder(shown(dir).to_string()));
        }
        let is_single_module = is_module(dir);
        let project = if is_single_module { of(dir) } else { dir.to_owned() };
        let config = Config::load(settings.sources(project))?;
        if is_single_module {
            return Ok(Selection { config, modules: vec![dir.to_owned()], is_single_module });
        }
        let modules_dir = &config.modules_dir;
        let scanned = manifest::scan(modules_dir)
            .map_err(|error| CommandError::ModulesDir { path: shown(modules_dir).to_string(), error })?;
        let modules = scanned.into_iter().map(|module| module.dir).collect();
        Ok(Selection { config, modules, is_single_module })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_of_a_module_is_above_it() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        let module = root.join("a/modules/m");
        std::fs::create_dir_all(&module).unwrap();
        assert_eq!(of(&module), root.join("a"));
        assert_eq!(of(&root.join("a")), root.join("a"), "no folder above has a fanfare.json");
        std::fs::write(root.join("fanfare.json"), "{}").unwrap();
        assert_eq!(of(&module), root);
        assert_eq!(of(&module.join(".")), root);
    }
}
