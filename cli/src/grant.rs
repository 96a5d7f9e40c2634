//! `fanfare grant`: shows the capabilities that modules ask for, and grants the missing ones of one
//! module in `fanfare.json`.

use std::fs::Permissions;
use std::io::{self, BufRead, IsTerminal, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use jsonc_parser::cst::{CstInputValue, CstRootNode};
use jsonc_parser::errors::ParseError;
use serde_json::json;

use super::config::FileArgs;
use super::error::CommandError;
use super::project::{self, Selection};
use super::terminal::{eprint, exit_code, print};
use fanfare::settings::Capabilities;
use fanfare::tooling::config::{self, formats};
use fanfare::tooling::document::source;
use fanfare::tooling::files;
use fanfare::tooling::manifest::check_grants;
use fanfare::tooling::{KeyPath, Manifest};
use fanfare::{Config, Faults, Sources};

/// Flags of `fanfare grant`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct GrantArgs {
    /// The module: its name or its folder. Without one, the command lists what the modules of the
    /// project ask for and do not have.
    #[arg(env = "FANFARE_MODULE")]
    pub module: Option<String>,
    #[command(flatten)]
    pub settings: FileArgs,
    /// Write without asking for confirmation.
    #[arg(long, requires = "module", visible_alias = "write", env = "FANFARE_YES", value_parser = FalseyValueParser::new())]
    pub yes: bool,
    /// Print JSON.
    #[arg(long, env = "FANFARE_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// Shows the capabilities, asks on a terminal, and writes the grants, or lists those of all
/// modules. Exits with 1 if a capability stays ungranted, or if a module still lacks a secret.
pub fn run(args: &GrantArgs) -> ExitCode {
    exit_code(match args.module.as_deref().filter(|module| !module.is_empty()) {
        Some(module) => grant(module, args),
        None => list(args),
    })
}

/// Prints the capabilities that modules ask for and that are not granted.
fn list(args: &GrantArgs) -> Result<ExitCode, CommandError> {
    let Selection { config, modules, .. } = Selection::of_project(&args.settings.alone())?;
    let (mut text, mut entries) = (String::new(), Vec::new());
    for dir in &modules {
        // `fanfare check` reports a manifest with faults.
        let Ok(manifest) = Manifest::load(dir) else { continue };
        let granted = config.module(&manifest.name).grants;
        let lacking = manifest.capabilities.lacking(&granted);
        if !lacking.is_empty() {
            let name = &manifest.name;
            text.push_str(&format!("{name}: {}; run `fanfare grant {name}`\n", described(&lacking)));
            entries.push(json!({ "module": name, "missing": lacking }));
        }
    }
    let code = if entries.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    match args.json {
        true => print(&format!("{:#}\n", serde_json::Value::from(entries))),
        false if entries.is_empty() => print("every capability that a module asks for is granted\n"),
        false => print(&format!("asked for, and not granted:\n{text}")),
    }
    Ok(code)
}

fn grant(module: &str, args: &GrantArgs) -> Result<ExitCode, CommandError> {
    let (name, folder) = project::module_of(module);
    if !formats::is_module(&name) {
        return Err(CommandError::ModuleName(name));
    }
    let place = project::around(folder.as_deref().unwrap_or(Path::new(".")));
    let sources = args.settings.alone().sources(place.project);
    let config = Config::load(sources.clone())?;
    let dir = folder.unwrap_or_else(|| config.modules_dir.join(&name));
    if !dir.is_dir() {
        return Err(project::no_module(&name, &config.modules_dir));
    }
    let manifest = Manifest::load(&dir)?;
    let granted = config.module(&name).grants;
    let lacking = manifest.capabilities.lacking(&granted);
    let file = config.file.clone().unwrap_or_else(|| config.root.join(config::FILE_NAME));
    let say = |text: String| {
        if !args.json {
            print(&text)
        }
    };
    say(format!("{name} asks for {}\n", described(&manifest.capabilities)));
    say(format!("granted: {}\n", described(&granted)));
    let result = if lacking.is_empty() {
        say("nothing to grant\n".to_owned());
        Ok(false)
    } else {
        say(format!("missing: {}\n", described(&lacking)));
        let agreed = if args.yes { Ok(()) } else { confirm(&file) };
        agreed.and_then(|()| write_grants(&file, &name, &lacking, &sources)).map(|()| true)
    };
    let written = matches!(result, Ok(true));
    if written {
        say(format!("written to {}\n", source::shown(&file)));
    }
    let mut faults = Faults::default();
    if result.is_ok() {
        // A secret needs a place, too, which only the operator knows.
        faults = check_grants(&manifest, &Config::load(sources)?).err().unwrap_or_default();
        for fault in faults.list() {
            say(format!("still missing: {fault}\n"));
        }
    }
    if args.json {
        let whole = json!({
            "module": name, "asked": manifest.capabilities, "granted": granted, "missing": lacking,
            "file": &*source::shown(&file), "written": written,
            "stillMissing": faults.list().iter().map(ToString::to_string).collect::<Vec<_>>(),
        });
        print(&format!("{whole:#}\n"));
    }
    result.map(|_| if faults.list().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn described(capabilities: &Capabilities) -> String {
    let list = capabilities.missing(&Capabilities::default());
    if list.is_empty() { "nothing".to_owned() } else { list.join(", ") }
}

fn confirm(file: &Path) -> Result<(), CommandError> {
    if !io::stdin().is_terminal() {
        return Err(CommandError::Unconfirmed);
    }
    eprint(&format!("grant this in {}? [y/N] ", source::shown(file)));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(CommandError::Confirmation)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CommandError::Declined),
    }
}

/// Adds the grants to the file, and creates the file if necessary. Checks first that the grants
/// take effect.
fn write_grants(file: &Path, module: &str, lacking: &Capabilities, sources: &Sources) -> Result<(), CommandError> {
    let text = if file.exists() { source::read(file).map_err(Faults::from)? } else { "{}\n".to_owned() };
    let text = with_grants(&text, module, lacking)?;
    let root = file.parent().unwrap_or(Path::new("."));
    let after = config::from_text(Some(&text), root, sources)?;
    let still = lacking.lacking(&after.module(module).grants);
    if !still.is_empty() {
        let kind = still.requests().next().map_or("grants", |(kind, _)| kind.key);
        let origin = after.origin(&KeyPath::of(&["modules", module, "grants", kind]));
        return Err(CommandError::Overridden { origin: origin.to_string(), missing: described(&still) });
    }
    replace(file, &text).map_err(|error| CommandError::Write { file: file.display().to_string(), error })
}

/// Returns the text with the grants added and everything else unchanged, comments included.
fn with_grants(text: &str, module: &str, lacking: &Capabilities) -> Result<String, ParseError> {
    let (mark, body) = text.strip_prefix('\u{feff}').map_or(("", text), |body| ("\u{feff}", body));
    let root = CstRootNode::parse(body, &source::OPTIONS)?;
    let modules = root.object_value_or_set().object_value_or_set("modules");
    let grants = modules.object_value_or_set(module).object_value_or_set("grants");
    for (path, access) in &lacking.dirs.0 {
        let dirs = grants.object_value_or_set("dirs");
        let access = CstInputValue::String(access.to_string());
        match dirs.get(path) {
            Some(property) => property.set_value(access),
            None => drop(dirs.append(path, access)),
        }
    }
    for (kind, name) in lacking.requests().filter(|(kind, _)| kind.key != "dirs") {
        match (name, grants.get(kind.key)) {
            (Some(name), _) => drop(grants.array_value_or_set(kind.key).append(CstInputValue::String(name))),
            (None, Some(property)) => property.set_value(CstInputValue::Bool(true)),
            (None, None) => drop(grants.append(kind.key, CstInputValue::Bool(true))),
        }
    }
    Ok(format!("{mark}{root}"))
}

/// Replaces the file by rename, so that no reader sees half of it. Keeps a symbolic link and the
/// file mode.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let target = if file.exists() { std::fs::canonicalize(file)? } else { file.to_owned() };
    let folder = target.parent().unwrap_or(Path::new(""));
    let public = Permissions::from_mode(files::PUBLIC);
    let mut new = tempfile::Builder::new().permissions(public).tempfile_in(folder)?;
    new.write_all(text.as_bytes())?;
    if let Ok(old) = std::fs::metadata(&target) {
        new.as_file().set_permissions(old.permissions())?;
    }
    new.persist(&target)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use fanfare::settings::{DirAccess, Dirs, Modules};

    use super::*;

    fn lacking() -> Capabilities {
        Capabilities { broadcast: Modules(vec!["flags".into()]), reload: true, ..Capabilities::default() }
    }

    #[test]
    fn a_grant_keeps_comments_and_layout() {
        let text = "{\n  // mine\n  \"workers\": 2, // two\n  \"modules\": {\n    \"m\": { \"grants\": { \"broadcast\": [\"a\"] }, }\n  }\n}\n";
        let after = with_grants(text, "m", &lacking()).unwrap();
        let want = "{\n  // mine\n  \"workers\": 2, // two\n  \"modules\": {\n    \"m\": { \"grants\": {\n        \"broadcast\": [\"a\", \"flags\"],\n        \"reload\": true\n      }, }\n  }\n}\n";
        assert_eq!(after, want);
    }

    #[test]
    fn a_grant_creates_the_missing_sections() {
        let after = with_grants("{}\n", "m", &lacking()).unwrap();
        let config = Config::from_text(&after, Path::new("/")).unwrap();
        assert!(lacking().missing(&config.module("m").grants).is_empty(), "{after}");
        let after = with_grants("{\n\t\"modules\": null\n}", "m", &lacking()).unwrap();
        assert!(Config::from_text(&after, Path::new("/")).is_ok(), "{after}");
    }

    #[test]
    fn a_folder_is_granted_with_its_access() {
        let dirs = Dirs([("/data".to_owned(), DirAccess::Rw), ("/shared".to_owned(), DirAccess::Ro)].into());
        let lacking = Capabilities { dirs, ..Capabilities::default() };
        let text = "{\"modules\": {\"m\": {\"grants\": {\"dirs\": {\"/data\": \"ro\"}}}}}";
        let after = Config::from_text(&with_grants(text, "m", &lacking).unwrap(), Path::new("/")).unwrap();
        assert_eq!(after.module("m").grants, lacking);
        assert_eq!(described(&lacking), "dirs: /data (rw), dirs: /shared (ro)");
    }

    #[test]
    fn a_grant_that_would_have_no_effect_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::fs::create_dir_all(dir.join("modules/m")).unwrap();
        let file = dir.join("fanfare.json");
        write_grants(&file, "m", &lacking(), &Sources::default()).unwrap();
        let made = std::fs::read_to_string(&file).unwrap();
        assert!(Config::from_text(&made, dir).unwrap().module("m").grants.broadcast.allow("flags"), "{made}");

        let overridden =
            "{\"environments\": {\"development\": {\"modules\": {\"m\": {\"grants\": {\"broadcast\": []}}}}}}";
        std::fs::write(&file, overridden).unwrap();
        let error = write_grants(&file, "m", &lacking(), &Sources::default()).unwrap_err().to_string();
        assert!(error.contains("so broadcast: flags would stay missing; grant it there"), "{error}");
        assert!(error.starts_with("nothing was written: environments.development fanfare.json:"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), overridden);
    }

    #[test]
    fn replacing_a_file_keeps_its_link_and_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("real.json"), dir.path().join("fanfare.json"));
        std::fs::write(&file, "{}").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        std::os::unix::fs::symlink("real.json", &link).unwrap();
        replace(&link, "{ }").unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{ }");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o666);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file remains");
    }
}
