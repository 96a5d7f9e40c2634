//! `fanfare types`: writes stubs, with which modules call the routes and broadcasts of the project
//! as functions with types.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::FalseyValueParser;

use super::build::tools;
use super::config::FileArgs;
use super::error::CommandError;
use super::project::Selection;
use super::terminal::{exit_code, print};
use fanfare::Faults;
use fanfare::tooling::document::source::shown;
use fanfare::tooling::files;
use fanfare::tooling::manifest::{self, FolderState};

mod c;
mod javascript;
mod model;
mod names;
mod python;
mod rust;

/// The folder of the stubs, in the folder of the modules. The host ignores it because of the `_`.
const FOLDER: &str = "_types";

/// The first line of every file.
const HEAD: &str = "Written by `fanfare types`: do not edit it, run the command again.";

/// Flags of `fanfare types`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TypesArgs {
    /// A module, by its name or folder, whose language counts, or any folder of the project
    /// [default: the current folder].
    #[arg(value_name = "MODULE|DIR", env = "FANFARE_DIR")]
    pub dir: Option<PathBuf>,
    #[command(flatten)]
    pub settings: FileArgs,
    /// The languages of the stubs, separated by commas [default: those of the modules].
    #[arg(long, value_enum, value_delimiter = ',', env = "FANFARE_LANG")]
    pub lang: Vec<Language>,
    /// Write nothing, and exit with 1 if a file is not up to date.
    #[arg(long, env = "FANFARE_CHECK", value_parser = FalseyValueParser::new())]
    pub check: bool,
}

/// A language that has stubs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// Rust
    Rust,
    /// JavaScript
    Js,
    /// TypeScript
    Ts,
    /// Python
    Python,
    /// C
    C,
}

impl Language {
    /// The language, by whose files a module shows that it uses it.
    fn tools(self) -> &'static tools::Language {
        match self {
            Language::Rust => &tools::RUST,
            Language::Js | Language::Ts => &tools::JAVASCRIPT,
            Language::Python => &tools::PYTHON,
            Language::C => &tools::C,
        }
    }

    /// The files of the stubs: the name and the text of each.
    fn stubs(self, modules: &[model::Module]) -> Vec<(&'static str, String)> {
        match self {
            Language::Js | Language::Ts => vec![
                ("fanfare-types.d.ts", javascript::types(modules)),
                ("fanfare-types.js", javascript::code(modules)),
            ],
            Language::Rust => vec![("fanfare_types.rs", rust::code(modules))],
            Language::Python => vec![("fanfare_types.py", python::code(modules))],
            Language::C => vec![("fanfare_types.h", c::code(modules))],
        }
    }
}

pub fn run(args: &TypesArgs) -> ExitCode {
    exit_code(types(args).map(|text| {
        print(&text);
        ExitCode::SUCCESS
    }))
}

/// Writes or checks the stubs. Returns what was done.
fn types(args: &TypesArgs) -> Result<String, CommandError> {
    let Selection { config, modules: folders, .. } = Selection::new(args.dir.as_deref(), &args.settings.alone())?;
    let all = <Language as clap::ValueEnum>::value_variants();
    let mut languages: Vec<Language> = if args.lang.is_empty() {
        all.iter().copied().filter(|language| folders.iter().any(|folder| language.tools().is_in(folder))).collect()
    } else {
        all.iter().copied().filter(|language| args.lang.contains(language)).collect()
    };
    // Both have the same files.
    if languages.contains(&Language::Js) {
        languages.retain(|language| *language != Language::Ts);
    }
    if languages.is_empty() {
        return Err(CommandError::NoModuleLanguage(shown(&config.modules_dir).to_string()));
    }
    let modules = modules(&config.modules_dir)?;
    let dir = config.modules_dir.join(FOLDER);
    let (mut done, mut stale) = (String::new(), Vec::new());
    for (name, text) in languages.iter().flat_map(|language| language.stubs(&modules)) {
        let file = dir.join(name);
        let old = match std::fs::read(&file) {
            Ok(old) => Some(String::from_utf8_lossy(&old).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(CommandError::at(&file)(error)),
        };
        let shown = shown(&file);
        if old.as_deref() == Some(&text) {
            done.push_str(&format!("{shown} is up to date\n"));
        } else if args.check {
            stale.push(old.map_or_else(|| format!("{shown} does not exist"), |old| difference(&shown, &old, &text)));
        } else {
            std::fs::create_dir_all(&dir).map_err(CommandError::at(&dir))?;
            files::write_whole(&file, text.as_bytes(), files::PUBLIC).map_err(CommandError::at(&file))?;
            done.push_str(&format!("wrote {shown}\n"));
        }
    }
    if stale.is_empty() { Ok(done) } else { Err(CommandError::StaleTypes(stale)) }
}

/// The stubs of every module that has something to call.
fn modules(dir: &Path) -> Result<Vec<model::Module>, CommandError> {
    let scanned =
        manifest::scan(dir).map_err(|error| CommandError::ModulesDir { path: shown(dir).to_string(), error })?;
    let (mut modules, mut faults) = (Vec::new(), Faults::default());
    for folder in scanned {
        let manifest = match folder.state {
            FolderState::Ready(manifest) | FolderState::Waiting(manifest) => manifest,
            FolderState::Refused(error) => {
                faults.extend(error.faults);
                continue;
            }
        };
        let wrong = manifest.schema_faults();
        match if wrong.is_empty() { model::module(&manifest) } else { Err(wrong) } {
            Ok(module) => modules.push(module),
            Err(wrong) => faults.extend(wrong),
        }
    }
    modules.retain(|module| !module.functions.is_empty() || !module.broadcasts.is_empty());
    if faults.is_empty() { Ok(modules) } else { Err(faults.into()) }
}

/// Names the first line that differs.
fn difference(file: &str, old: &str, new: &str) -> String {
    let (mut olds, mut news) = (old.lines(), new.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (olds.next(), news.next()) {
            (old, new) if old == new && old.is_some() => {}
            (old, new) => {
                let shown = |line: Option<&str>| line.map_or("nothing".to_owned(), |line| format!("`{}`", line.trim()));
                return format!("{file}:{number}: has {} in place of {}", shown(old), shown(new));
            }
        }
    }
}

/// A text literal of JavaScript, Python and C.
fn text(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

#[cfg(test)]
mod tests;
