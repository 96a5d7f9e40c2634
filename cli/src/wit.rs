//! `fanfare wit`: writes the contract between modules and the host, for authors without a checkout.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::FalseyValueParser;

use super::error::CommandError;
use super::new::contract;
use super::terminal::{exit_code, print};
use fanfare::tooling::document::source::shown;
use fanfare::tooling::files;

/// Flags of `fanfare wit`.
#[derive(Debug, Clone, clap::Args)]
pub struct WitArgs {
    /// The folder to write to. The default is where the tools of a module look for it.
    #[arg(value_name = "DIR", default_value = "wit/deps/fanfare-module")]
    pub dir: PathBuf,
    /// Replace files that differ from those of this version.
    #[arg(long, env = "FANFARE_FORCE", value_parser = FalseyValueParser::new())]
    pub force: bool,
}

pub fn run(args: &WitArgs) -> ExitCode {
    exit_code(write(&args.dir, args.force).map(|text| {
        print(&text);
        ExitCode::SUCCESS
    }))
}

/// Writes the files that the folder lacks. Returns what was done. Changes nothing if a file
/// differs, unless `force`.
fn write(dir: &Path, force: bool) -> Result<String, CommandError> {
    let (mut missing, mut differing) = (Vec::new(), Vec::new());
    for (name, text) in contract() {
        let file = dir.join(name);
        match fs::read(&file) {
            Ok(old) if old == text.as_bytes() => {}
            Ok(_) => differing.push((file, text)),
            Err(error) if error.kind() == ErrorKind::NotFound => missing.push((file, text)),
            Err(error) => return Err(CommandError::at(&file)(error)),
        }
    }
    let names = |files: &[(PathBuf, &str)]| {
        files.iter().map(|(file, _)| shown(file).to_string()).collect::<Vec<_>>().join(", ")
    };
    if !differing.is_empty() && !force {
        return Err(CommandError::Differs(names(&differing)));
    }
    fs::create_dir_all(dir).map_err(CommandError::at(dir))?;
    for (file, text) in missing.iter().chain(&differing) {
        files::write_whole(file, text.as_bytes(), files::PUBLIC).map_err(CommandError::at(file))?;
    }
    let (version, dir) = (version(), shown(dir));
    let mut text = match missing.len() {
        0 if differing.is_empty() => format!("{dir} has the contract {version}\n"),
        _ => format!("wrote the contract {version} to {dir}\n"),
    };
    if !differing.is_empty() {
        text.push_str(&format!("replaced: {}\n", names(&differing)));
    }
    Ok(text)
}

/// The package and version that the files declare: `fanfare:module@0.1.0`.
fn version() -> &'static str {
    let lines = contract().flat_map(|(_, text)| text.lines());
    lines.filter_map(|line| line.strip_prefix("package ")?.strip_suffix(';')).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_is_whole_and_has_a_version() {
        assert_eq!(version(), "fanfare:module@0.1.0");
        let mut names: Vec<&str> = contract().map(|(name, _)| name).collect();
        names.sort_unstable();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        let mut there: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".wit"))
            .collect();
        there.sort();
        assert_eq!(names, there);
    }

    #[test]
    fn a_file_that_differs_is_replaced_only_with_force() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("wit/deps/fanfare-module");
        assert!(write(&dir, false).unwrap().starts_with("wrote the contract fanfare:module@0.1.0 to "));
        assert!(write(&dir, false).unwrap().ends_with(" has the contract fanfare:module@0.1.0\n"));
        let (mine, gone) = (dir.join("types.wit"), dir.join("host.wit"));
        fs::write(&mine, "mine").unwrap();
        fs::remove_file(&gone).unwrap();
        let error = write(&dir, false).unwrap_err().to_string();
        assert!(error.contains("types.wit") && error.contains("--force"), "{error}");
        assert!(!gone.exists(), "nothing was written");
        let done = write(&dir, true).unwrap();
        assert!(done.contains("\nreplaced: ") && done.ends_with("types.wit\n"), "{done}");
        assert!(gone.exists() && fs::read_to_string(&mine).unwrap().starts_with("package fanfare:module@"));
    }
}
