//! Finds the project and the modules that a command works on.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Once;

use super::config::SettingsArgs;
use super::error::CommandError;
use super::terminal::eprint;
use fanfare::Config;
use fanfare::tooling::config::formats;
use fanfare::tooling::document::shape::did_you_mean;
use fanfare::tooling::document::source::shown;
use fanfare::tooling::{config, manifest};

/// The usual name of the folder with the modules.
const MODULES: &str = "modules";

/// What surrounds a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The folder of the project. Without a project, the folder itself.
    pub project: PathBuf,
    /// Whether there is a project: a folder with a `fanfare.json` or with modules.
    pub is_project: bool,
    /// The folder of the module that contains the folder, or is it.
    pub module: Option<PathBuf>,
}

/// Finds the project and the module around a folder. The project is the nearest folder with a
/// `fanfare.json`, the folder itself included. Without one, it is the nearest folder that has
/// modules in `modules`.
pub fn around(dir: &Path) -> Place {
    let full = whole(dir);
    let named = full.ancestors().find(|above| is_settings_of(&full, above));
    let usual = || full.ancestors().find(|above| has_modules(&above.join(MODULES)));
    let project = named.or_else(usual);
    let module = full.ancestors().take_while(|above| Some(*above) != project).find(|above| is_module(above));
    let (is_project, module) = (project.is_some(), module.map(Path::to_owned));
    let project = project.or(module.as_deref()).unwrap_or(&full).to_owned();
    Place { project, is_project, module }
}

/// The absolute path of a folder, without `.` and `..`.
fn whole(dir: &Path) -> PathBuf {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let has_parent = dir.components().any(|part| part == Component::ParentDir);
    // Resolves links only where `..` requires it, because a module has the name of its link.
    let full = if has_parent { dir.canonicalize() } else { std::path::absolute(dir) };
    full.unwrap_or_else(|_| dir.to_owned()).components().collect()
}

/// Whether a folder has settings for `dir`. Files of other users have none, because in a folder
/// such as `/tmp`, everybody can write a `fanfare.json` with commands to build modules.
fn is_settings_of(dir: &Path, above: &Path) -> bool {
    let owner = |path: &Path| std::fs::metadata(path).ok().map(|file| file.uid());
    let file = above.join(config::FILE_NAME);
    let Some(of_file) = owner(&file) else { return false };
    let counts = above == dir || of_file == 0 || Some(of_file) == owner(dir);
    if !counts {
        // Commands look for the project more than once.
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            eprint(&format!(
                "warning: {} is ignored, because it and this folder belong to different users: name it with --config\n",
                shown(&file)
            ));
        });
    }
    counts
}

fn has_modules(dir: &Path) -> bool {
    manifest::folder_names(dir).is_ok_and(|names| !names.is_empty())
}

/// Whether a folder is that of a module and not of a project.
pub fn is_module(dir: &Path) -> bool {
    dir.join(manifest::FILE_NAME).exists() && !dir.join(config::FILE_NAME).exists()
}

/// The settings of the project around the current folder.
pub fn settings(settings: &SettingsArgs) -> Result<Config, CommandError> {
    Ok(Config::load(settings.sources(around(Path::new(".")).project))?)
}

/// The name and the folder of the module that an argument names: the name itself, or the path of a
/// folder. `None` as the folder means that the argument is a name.
pub fn module_of(argument: &str) -> (String, Option<PathBuf>) {
    if formats::is_module(argument) {
        return (argument.to_owned(), None);
    }
    let module = Path::new(argument).is_dir().then(|| around(Path::new(argument)).module).flatten();
    let name = module.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    (name.unwrap_or_else(|| argument.to_owned()), module)
}

/// The settings and modules that a command works on.
#[derive(Debug)]
pub struct Selection {
    pub config: Config,
    /// The folders of the modules, sorted by name.
    pub modules: Vec<PathBuf>,
    /// Whether the user named a single module.
    pub is_single_module: bool,
}

impl Selection {
    /// The modules that an argument selects: see [`Chosen::of`].
    pub fn new(argument: Option<&Path>, settings: &SettingsArgs) -> Result<Selection, CommandError> {
        let Chosen { project, module } = Chosen::of(argument, settings)?;
        if let Some(module) = module {
            let config = Config::load(settings.sources(project))?;
            return Ok(Selection { config, modules: vec![module], is_single_module: true });
        }
        Selection::all(project, settings)
    }

    /// All modules of the project around the current folder, also in the folder of a module.
    pub fn of_project(settings: &SettingsArgs) -> Result<Selection, CommandError> {
        Selection::all(around(Path::new(".")).project, settings)
    }

    fn all(project: PathBuf, settings: &SettingsArgs) -> Result<Selection, CommandError> {
        let config = Config::load(settings.sources(project))?;
        let modules_dir = &config.modules_dir;
        let scanned = manifest::scan(modules_dir).map_err(|error| match error.kind() {
            ErrorKind::NotFound if config.file.is_none() => CommandError::NoProject(no_project(&config.root)),
            _ => CommandError::ModulesDir { path: shown(modules_dir).to_string(), error },
        })?;
        let modules = scanned.into_iter().map(|module| module.dir).collect();
        Ok(Selection { config, modules, is_single_module: false })
    }
}

/// The project, and the module in it, that an argument of a command selects.
#[derive(Debug, PartialEq, Eq)]
pub struct Chosen {
    pub project: PathBuf,
    /// `None` selects all modules of the project.
    pub module: Option<PathBuf>,
}

impl Chosen {
    /// The argument is a folder or the name of a module; without one, the current folder counts. A
    /// folder inside a module selects this module, any other one its project.
    pub fn of(argument: Option<&Path>, settings: &SettingsArgs) -> Result<Chosen, CommandError> {
        let dir = argument.filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = dir.to_str().filter(|name| formats::is_module(name));
        let is_own = is_module(dir) || dir.join(config::FILE_NAME).exists();
        if let (Some(name), false) = (name, is_own)
            && let Some(chosen) = Chosen::named(name, dir, settings)?
        {
            return Ok(chosen);
        }
        if !dir.is_dir() {
            return Err(CommandError::NotAFolder(shown(dir).to_string()));
        }
        let Place { project, module, .. } = around(dir);
        Ok(Chosen { project, module })
    }

    /// The module with this name in the project around the current folder. `None` if the project
    /// has no such module, but there is a folder `dir`.
    fn named(name: &str, dir: &Path, settings: &SettingsArgs) -> Result<Option<Chosen>, CommandError> {
        let project = around(Path::new(".")).project;
        let (config, _) = Config::load_with_faults(&settings.sources(project.clone()));
        let module = config.modules_dir.join(name);
        match module.join(manifest::FILE_NAME).exists() {
            true => Ok(Some(Chosen { project, module: Some(module) })),
            false if dir.is_dir() => Ok(None),
            false => Err(no_module(name, &config.modules_dir)),
        }
    }
}

/// Says that a folder is in no project.
pub fn no_project(dir: &Path) -> String {
    let dir = shown(dir).to_string();
    let dir = if dir.is_empty() { "." } else { &dir };
    format!("{dir} is no project: neither this folder nor one above it has a fanfare.json or modules")
}

/// The error for a name that no module has.
pub fn no_module(name: &str, modules_dir: &Path) -> CommandError {
    let project = modules_dir.parent().unwrap_or(Path::new("."));
    if !modules_dir.exists() && !project.join(config::FILE_NAME).exists() {
        return CommandError::NoProject(no_project(project));
    }
    let existing = manifest::folder_names(modules_dir).unwrap_or_default();
    let existing: Vec<&str> = existing.iter().map(String::as_str).collect();
    CommandError::NoModule {
        name: name.to_owned(),
        modules_dir: shown(modules_dir).to_string(),
        hint: did_you_mean(name, &existing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with empty files and folders; a folder ends with `/`.
    fn tree(paths: &[&str]) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for path in paths {
            let path = temp.path().join(path);
            std::fs::create_dir_all(if path.extension().is_some() { path.parent().unwrap() } else { &path }).unwrap();
            if path.extension().is_some() {
                std::fs::write(path, "{}").unwrap();
            }
        }
        temp
    }

    #[test]
    fn the_project_and_the_module_are_found_from_every_folder_inside() {
        let temp = tree(&["fanfare.json", "modules/m/module.json", "modules/m/src/", "docs/"]);
        let root = temp.path();
        let of = |dir: &str| around(&root.join(dir));
        let module = |module: Option<&str>| Place {
            project: root.to_owned(),
            is_project: true,
            module: module.map(|module| root.join(module)),
        };
        for dir in [".", "modules", "docs"] {
            assert_eq!(of(dir), module(None), "{dir}");
        }
        for dir in ["modules/m", "modules/m/.", "modules/m/src", "modules/m/src/.."] {
            assert_eq!(of(dir), module(Some("modules/m")), "{dir}");
        }
    }

    #[test]
    fn without_settings_the_project_is_the_folder_above_the_modules() {
        let temp = tree(&["a/modules/m/module.json", "a/modules/m/src/", "alone/module.json", "b/modules/"]);
        let root = temp.path();
        for dir in ["a", "a/modules", "a/modules/m", "a/modules/m/src"] {
            assert_eq!(around(&root.join(dir)).project, root.join("a"), "{dir}");
        }
        let alone = around(&root.join("alone"));
        assert_eq!((alone.project, alone.is_project), (root.join("alone"), false));
        assert!(!around(&root.join("b")).is_project, "a folder without modules");
        std::fs::write(root.join("fanfare.json"), "{}").unwrap();
        assert_eq!(around(&root.join("a/modules/m")).project, root, "a fanfare.json counts first");
    }

    #[test]
    fn settings_of_another_user_are_those_of_no_folder_below() {
        let temp = tree(&["fanfare.json", "inside/"]);
        let (root, inside) = (temp.path(), temp.path().join("inside"));
        assert_eq!(around(&inside).project, root);
        // Only root can give a file away.
        if std::os::unix::fs::chown(root.join("fanfare.json"), Some(4_242), None).is_ok() {
            assert_eq!(around(&inside).project, inside);
            assert_eq!(around(root).project, root, "the folder itself");
        }
    }

    #[test]
    fn a_module_is_named_by_its_name_or_folder() {
        let temp = tree(&["modules/m/module.json", "modules/m/src/", "docs/"]);
        let path = |dir: &str| temp.path().join(dir).to_str().unwrap().to_owned();
        assert_eq!(module_of("m"), ("m".to_owned(), None));
        for dir in ["modules/m", "modules/m/", "modules/m/src"] {
            assert_eq!(module_of(&path(dir)), ("m".to_owned(), Some(temp.path().join("modules/m"))), "{dir}");
        }
        for other in [path("docs"), path("nothing"), "a b".to_owned()] {
            assert_eq!(module_of(&other), (other.clone(), None));
        }
    }
}
