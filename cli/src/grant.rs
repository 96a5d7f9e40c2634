//! `fanfare grant`: shows what a module asks for and what it is granted, and writes the rest into `fanfare.json`.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::io::{self, BufRead, IsTerminal, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::FalseyValueParser;
use jsonc_parser::cst::{CstInputValue, CstRootNode};
use serde_json::json;

use super::config::SettingsArgs;
use super::terminal::{complain, print};
use fanfare::settings::Capabilities;
use fanfare::tooling::config::{self, formats};
use fanfare::tooling::document::source;
use fanfare::tooling::files;
use fanfare::tooling::{KeyPath, Manifest};
use fanfare::{Config, Sources};

/// Flags of `fanfare grant`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct GrantArgs {
    /// The module.
    #[arg(env = "FANFARE_MODULE")]
    pub module: String,
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Write without asking.
    #[arg(long, visible_alias = "write", env = "FANFARE_YES", value_parser = FalseyValueParser::new())]
    pub yes: bool,
    /// Print JSON.
    #[arg(long, env = "FANFARE_JSON", value_parser = FalseyValueParser::new())]
    pub json: bool,
}

/// Shows, asks on a terminal, writes. Exits 1 if something stays ungranted.
pub fn run(args: &GrantArgs) -> ExitCode {
    match grant(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            complain(&format!("{message}\n"));
            ExitCode::FAILURE
        }
    }
}

fn grant(args: &GrantArgs) -> Result<(), String> {
    let sources = args.settings.sources(PathBuf::new());
    let config = Config::load(sources.clone()).map_err(|faults| faults.to_string())?;
    if !formats::is_module(&args.module) {
        return Err(format!("{} is not {}", args.module, formats::MODULE_RULE));
    }
    let dir = config.modules_dir.join(&args.module);
    let manifest = Manifest::load(&dir).map_err(|error| error.to_string())?;
    let granted = config.module(&args.module).grants;
    let lacking = manifest.capabilities.lacking(&granted);
    let file = config.file.clone().unwrap_or_else(|| config.root.join(config::FILE_NAME));
    let say = |text: String| {
        if !args.json {
            print(&text)
        }
    };
    say(format!("{} asks for {}\n", args.module, words(&manifest.capabilities)));
    say(format!("granted: {}\n", words(&granted)));
    let written = if lacking.is_empty() {
        say("nothing is missing\n".to_owned());
        Ok(false)
    } else {
        say(format!("missing: {}\n", words(&lacking)));
        let agreed = if args.yes { Ok(()) } else { confirm(&file) };
        agreed.and_then(|()| write_grants(&file, &args.module, &lacking, &sources)).map(|()| true)
    };
    if written == Ok(true) {
        say(format!("written to {}\n", source::shown(&file)));
    }
    if args.json {
        let whole = json!({
            "module": args.module, "asked": manifest.capabilities, "granted": granted, "missing": lacking,
            "file": &*source::shown(&file), "written": written == Ok(true),
        });
        print(&format!("{whole:#}\n"));
    }
    written.map(drop)
}

fn words(capabilities: &Capabilities) -> String {
    let list = capabilities.missing(&Capabilities::default());
    if list.is_empty() { "nothing".to_owned() } else { list.join(", ") }
}

fn confirm(file: &Path) -> Result<(), String> {
    if !io::stdin().is_terminal() {
        return Err("nothing is written: there is no terminal to ask on; run it with --yes".to_owned());
    }
    complain(&format!("write it to {}? [y/N] ", source::shown(file)));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| format!("cannot read the answer: {error}"))?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err("nothing is written".to_owned()),
    }
}

/// Adds the grants to the file, which is made when it is not there, after checking that they take effect.
fn write_grants(file: &Path, module: &str, lacking: &Capabilities, sources: &Sources) -> Result<(), String> {
    let text = if file.exists() { source::read(file).map_err(|fault| fault.to_string())? } else { "{}\n".to_owned() };
    let text = with_grants(&text, module, lacking)?;
    let root = file.parent().unwrap_or(Path::new("."));
    let after = config::from_text(Some(&text), root, sources).map_err(|faults| faults.to_string())?;
    let still = lacking.lacking(&after.module(module).grants);
    if !still.is_empty() {
        let kind = still.asks().next().map_or("grants", |(kind, _)| kind.key);
        let origin = after.origin(&KeyPath::of(&["modules", module, "grants", kind]));
        let mut message = format!("nothing is written: {} would still be missing", words(&still));
        let _ = write!(message, ", since another place sets the grants ({origin}): add it there");
        return Err(message);
    }
    replace(file, &text).map_err(|error| format!("{} cannot be written: {error}", file.display()))
}

/// The text with the grants in it; all else stays as it is.
fn with_grants(text: &str, module: &str, lacking: &Capabilities) -> Result<String, String> {
    let (mark, body) = text.strip_prefix('\u{feff}').map_or(("", text), |body| ("\u{feff}", body));
    let root = CstRootNode::parse(body, &source::OPTIONS).map_err(|error| error.to_string())?;
    let modules = root.object_value_or_set().object_value_or_set("modules");
    let grants = modules.object_value_or_set(module).object_value_or_set("grants");
    for (kind, name) in lacking.asks() {
        match (name, grants.get(kind.key)) {
            (Some(name), _) => drop(grants.array_value_or_set(kind.key).append(CstInputValue::String(name))),
            (None, Some(property)) => property.set_value(CstInputValue::Bool(true)),
            (None, None) => drop(grants.append(kind.key, CstInputValue::Bool(true))),
        }
    }
    Ok(format!("{mark}{root}"))
}

/// Writes beside the file, then renames, so that no reader sees half of it. A link stays a link, and the mode stays.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let target = if file.exists() { std::fs::canonicalize(file)? } else { file.to_owned() };
    let folder = target.parent().unwrap_or(Path::new(""));
    let public = Permissions::from_mode(files::PUBLIC);
    let mut beside = tempfile::Builder::new().permissions(public).tempfile_in(folder)?;
    beside.write_all(text.as_bytes())?;
    if let Ok(there) = std::fs::metadata(&target) {
        beside.as_file().set_permissions(there.permissions())?;
    }
    beside.persist(&target)?;
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
    fn comments_and_layout_stay() {
        let text = "{\n  // mine\n  \"workers\": 2, // two\n  \"modules\": {\n    \"m\": { \"grants\": { \"broadcast\": [\"a\"] }, }\n  }\n}\n";
        let after = with_grants(text, "m", &lacking()).unwrap();
        let want = "{\n  // mine\n  \"workers\": 2, // two\n  \"modules\": {\n    \"m\": { \"grants\": {\n        \"broadcast\": [\"a\", \"flags\"],\n        \"reload\": true\n      }, }\n  }\n}\n";
        assert_eq!(after, want);
    }

    #[test]
    fn what_is_not_there_is_made() {
        let after = with_grants("{}\n", "m", &lacking()).unwrap();
        let config = Config::from_text(&after, Path::new("/")).unwrap();
        assert!(lacking().missing(&config.module("m").grants).is_empty(), "{after}");
        let after = with_grants("{\n\t\"modules\": null\n}", "m", &lacking()).unwrap();
        assert!(Config::from_text(&after, Path::new("/")).is_ok(), "{after}");
    }

    #[test]
    fn grants_are_written_only_where_they_take_effect() {
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
        let error = write_grants(&file, "m", &lacking(), &Sources::default()).unwrap_err();
        assert!(error.starts_with("nothing is written: broadcast: flags would still be missing"), "{error}");
        assert!(error.contains("(environments.development fanfare.json:"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), overridden);
    }

    #[test]
    fn a_link_stays_a_link_and_the_mode_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("real.json"), dir.path().join("fanfare.json"));
        std::fs::write(&file, "{}").unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        std::os::unix::fs::symlink("real.json", &link).unwrap();
        replace(&link, "{ }").unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{ }");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o666);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside it");
    }
}
