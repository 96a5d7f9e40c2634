//! `fanfare grant`: shows the capabilities that a module asks for, and grants the missing ones in
//! `fanfare.json`.

use std::fs::Permissions;
use std::io::{self, BufRead, IsTerminal, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use jsonc_parser::cst::{CstInputValue, CstRootNode};
use jsonc_parser::errors::ParseError;
use serde_json::json;

use super::config::SettingsArgs;
use super::error::CommandError;
use super::terminal::{eprint, exit_code, print};
use fanfare::settings::Capabilities;
use fanfare::tooling::config::{self, formats};
use fanfare::tooling::document::shape::did_you_mean;
use fanfare::tooling::document::source;
use fanfare::tooling::{KeyPath, Manifest};
use fanfare::tooling::{files, manifest};
use fanfare::{Config, Faults, Sources};

/// Flags of `fanfare grant`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct GrantArgs {
    /// The name of the module.
    #[arg(env = "FANFARE_MODULE")]
    pub module: String,
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Write without asking for confirmation.
    #[arg(long, visible_alias = "write", env = "FANFARE_YES", value_parser = FalseyValueParser::new())]
    pub yes: bool,
    /// Print JSON.
    #[arg(long, env = "FANFARE_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// Shows the capabilities, asks on a terminal, and writes the grants. Exits with 1 if a capability
/// stays ungranted.
pub fn run(args: &GrantArgs) -> ExitCode {
    exit_code(grant(args).map(|()| ExitCode::SUCCESS))
}

fn grant(args: &GrantArgs) -> Result<(), CommandError> {
    let sources = args.settings.sources(PathBuf::new());
    let config = Config::load(sources.clone())?;
    if !formats::is_module(&args.module) {
        return Err(CommandError::ModuleName(args.module.clone()));
    }
    let dir = config.modules_dir.join(&args.module);
    if !dir.is_dir() {
        return Err(no_module(&args.module, &config.modules_dir));
    }
    let manifest = Manifest::load(&dir)?;
    let granted = config.module(&args.module).grants;
    let lacking = manifest.capabilities.lacking(&granted);
    let file = config.file.clone().unwrap_or_else(|| config.root.join(config::FILE_NAME));
    let say = |text: String| {
        if !args.json {
            print(&text)
        }
    };
    say(format!("{} asks for {}\n", args.module, described(&manifest.capabilities)));
    say(format!("granted: {}\n", described(&granted)));
    let result = if lacking.is_empty() {
        say("nothing to grant\n".to_owned());
        Ok(false)
    } else {
        say(format!("missing: {}\n", described(&lacking)));
        let agreed = if args.yes { Ok(()) } else { confirm(&file) };
        agreed.and_then(|()| write_grants(&file, &args.module, &lacking, &sources)).map(|()| true)
    };
    let written = matches!(result, Ok(true));
    if written {
        say(format!("written to {}\n", source::shown(&file)));
    }
    if args.json {
        let whole = json!({
            "module": args.module, "asked": manifest.capabilities, "granted": granted, "missing": lacking,
            "file": &*source::shown(&file), "written": written,
        });
        print(&format!("{whole:#}\n"));
    }
    result.map(drop)
}

fn no_module(name: &str, modules_dir: &Path) -> CommandError {
    let existing = manifest::folder_names(modules_dir).unwrap_or_default();
    let existing: Vec<&str> = existing.iter().map(String::as_str).collect();
    CommandError::NoModule {
        name: name.to_owned(),
        modules_dir: source::shown(modules_dir).to_string(),
        hint: did_you_mean(name, &existing),
    }
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
    for (kind, name) in lacking.requests() {
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
    use fanfare::settings::Modules;

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
