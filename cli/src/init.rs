//! `fanfare init`: makes a folder a project.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::error::CommandError;
use super::terminal::{exit_code, print};
use fanfare::tooling::config::FILE_NAME;
use fanfare::tooling::document::source::shown;

/// Flags of `fanfare init`.
#[derive(Debug, Clone, clap::Args)]
pub struct InitArgs {
    /// The folder of the project, which the command creates if necessary.
    #[arg(value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
}

/// The first `fanfare.json`.
const SETTINGS: &str = r#"// Every key is optional. `fanfare config` prints all settings, with their origins.
{
  "http": { "listen": "127.0.0.1:8080" },
  "admin": { "listen": "127.0.0.1:8081" }
}
"#;

const IGNORE: &str = ".gitignore";

/// What the repository of a project must not have: the host's own files, and the files of secrets.
const IGNORED: [&str; 2] = [".fanfare/", "secrets/"];

pub fn run(args: &InitArgs) -> ExitCode {
    exit_code(init(&args.dir).map(|text| {
        print(&text);
        ExitCode::SUCCESS
    }))
}

/// Creates what the folder lacks and changes nothing else, so that it may run again. Returns what
/// was done.
fn init(dir: &Path) -> Result<String, CommandError> {
    let (settings, modules, ignore) = (dir.join(FILE_NAME), dir.join("modules"), dir.join(IGNORE));
    let mut done = Vec::new();
    fs::create_dir_all(dir).map_err(CommandError::at(dir))?;
    if !settings.exists() {
        fs::write(&settings, SETTINGS).map_err(CommandError::at(&settings))?;
        done.push(format!("created {}", shown(&settings)));
    }
    if !modules.exists() {
        fs::create_dir(&modules).map_err(CommandError::at(&modules))?;
        done.push(format!("created {}/", shown(&modules)));
    }
    let ignored = match fs::read_to_string(&ignore) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(CommandError::at(&ignore)(error)),
    };
    let text = ignored.as_deref().unwrap_or_default();
    let has = |folder: &str| text.lines().any(|line| line.trim().trim_matches('/') == folder.trim_matches('/'));
    let missing: Vec<&str> = IGNORED.into_iter().filter(|folder| !has(folder)).collect();
    if !missing.is_empty() {
        let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let lines = missing.join("\n");
        fs::write(&ignore, format!("{text}{newline}{lines}\n")).map_err(CommandError::at(&ignore))?;
        let names = missing.join(" and ");
        done.push(match ignored {
            Some(_) => format!("added {names} to {}", shown(&ignore)),
            None => format!("created {} with {names}", shown(&ignore)),
        });
    }
    let is_here = dir == Path::new(".");
    if done.is_empty() {
        let folder = if is_here { "this folder".into() } else { shown(dir) };
        return Ok(format!("{folder} is a project already\n"));
    }
    // A project that has modules needs no example.
    let has_modules = fs::read_dir(&modules).is_ok_and(|mut entries| entries.next().is_some());
    let create = if has_modules { "" } else { "fanfare new hello\n  " };
    let change = if is_here { String::new() } else { format!("cd {}\n  ", shown(dir)) };
    Ok(format!("{}\n\nnext:\n  {change}{create}fanfare dev\n", done.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare::Config;

    #[test]
    fn init_creates_what_is_missing_and_changes_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("a/b");
        let done = init(&dir).unwrap();
        for name in ["fanfare.json", "modules/", ".gitignore with .fanfare/ and secrets/"] {
            assert!(done.lines().any(|line| line.starts_with("created ") && line.ends_with(name)), "{done}");
        }
        let config = Config::from_text(&fs::read_to_string(dir.join("fanfare.json")).unwrap(), &dir).unwrap();
        assert_eq!((config.http.listen.port(), config.admin.listen.port()), (8080, 8081));
        assert!(done.ends_with("fanfare new hello\n  fanfare dev\n"), "{done}");
        assert!(init(&dir).unwrap().ends_with(" is a project already\n"));

        fs::create_dir(dir.join("modules/party")).unwrap();
        fs::write(dir.join("fanfare.json"), "{}").unwrap();
        fs::write(dir.join(".gitignore"), "target").unwrap();
        let done = init(&dir).unwrap();
        assert!(done.starts_with("added .fanfare/ and secrets/ to "), "{done}");
        assert!(!done.contains("fanfare new") && done.ends_with("fanfare dev\n"), "it has a module: {done}");
        assert_eq!(fs::read_to_string(dir.join(".gitignore")).unwrap(), "target\n.fanfare/\nsecrets/\n");
        assert_eq!(fs::read_to_string(dir.join("fanfare.json")).unwrap(), "{}");
        for line in [".fanfare", "/.fanfare/", ".fanfare/"] {
            fs::write(dir.join(".gitignore"), format!("/secrets\n{line}")).unwrap();
            assert!(init(&dir).unwrap().ends_with(" is a project already\n"), "{line}");
        }
    }
}
