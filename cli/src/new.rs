//! `fanfare new`: creates a module that builds and passes its tests.

use std::path::Path;
use std::process::ExitCode;

use super::build::SHARED;
use super::config::FileArgs;
use super::error::CommandError;
use super::project;
use super::terminal::{exit_code, print};
use fanfare::Config;
use fanfare::tooling::config::formats;
use fanfare::tooling::document::source;
use fanfare::tooling::files;
pub use sdk::contract;
use sdk::{LOCK, Placement};

mod sdk;

/// Flags of `fanfare new`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct NewArgs {
    /// The name of the module and of its folder.
    #[arg(env = "FANFARE_MODULE")]
    pub name: String,
    #[command(flatten)]
    pub settings: FileArgs,
}

/// The files of a module: name and text, both with `{{placeholders}}`.
const TEMPLATE: &[(&str, &str)] = &[
    ("module.json", include_str!("new/template/module.json")),
    ("Cargo.toml", include_str!("new/template/Cargo.toml.txt")),
    ("Cargo.lock", LOCK),
    ("src/lib.rs", include_str!("new/template/lib.rs.txt")),
    ("{{name}}.test.json", include_str!("new/template/test.json")),
    (".gitignore", "target/\n"),
];

/// Names that a crate cannot have, because Rust reserves them or the standard library uses them.
const RESERVED: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "union",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// Creates the module and prints the next steps.
pub fn run(args: &NewArgs) -> ExitCode {
    exit_code(new(args).map(|text| {
        print(&text);
        ExitCode::SUCCESS
    }))
}

fn new(args: &NewArgs) -> Result<String, CommandError> {
    let name = &args.name;
    if !formats::is_module(name) {
        return Err(CommandError::ModuleName(name.clone()));
    }
    let here = project::around(Path::new("."));
    if args.settings.config.is_none() && args.settings.modules.is_none() && !here.is_project && here.module.is_some() {
        return Err(CommandError::InModule);
    }
    let config = project::settings(&args.settings.alone())?;
    let dir = config.modules_dir.join(name);
    let shown = source::shown(&dir);
    if dir.symlink_metadata().is_ok() {
        return Err(CommandError::Exists(shown.to_string()));
    }
    std::fs::create_dir_all(&config.modules_dir).map_err(CommandError::at(&config.modules_dir))?;
    let (sdk, note) = find_sdk(&config.modules_dir)?;
    write(&dir, name, &sdk).map_err(CommandError::at(&dir))?;
    let note = note + &share_builds(&config, &sdk)? + &no_project(args, here.is_project);
    let listen = config.http.listen;
    Ok(format!(
        "created {shown}: module.json, Cargo.toml, src/lib.rs, {name}.test.json\n{note}\nnext:\n  fanfare build {shown}\n  \
         fanfare test {shown}\n  fanfare dev\n  curl http://{listen}/api/{name}/Ada\n"
    ))
}

/// Says that the module is in no project, unless it is in one.
fn no_project(args: &NewArgs, is_project: bool) -> String {
    if is_project || args.settings.config.is_some() || args.settings.modules.is_some() {
        return String::new();
    }
    "no fanfare.json is here or above, so the defaults are used: `fanfare init` makes this folder a project\n"
        .to_owned()
}

/// Paths of the SDK, relative to the module's folder.
struct Sdk {
    crates: &'static str,
    schemas: &'static str,
}

/// cargo's settings for all modules.
const CARGO_SETTINGS: &str = ".cargo/config.toml";

/// Lets `cargo test` and `cargo build` by hand use what `fanfare build` has built: writes cargo's
/// settings for the modules, unless they exist, or `stateDir` is not beside the modules.
fn share_builds(config: &Config, sdk: &Sdk) -> Result<String, CommandError> {
    let (file, state) = (config.modules_dir.join(CARGO_SETTINGS), &config.state_dir);
    let name = state.file_name().and_then(|name| name.to_str()).filter(|name| !name.contains(['"', '\\']));
    let name = name.filter(|_| state.parent() == config.modules_dir.parent());
    let (Some(name), false) = (name, sdk.crates == CHECKOUT.crates || file.exists()) else { return Ok(String::new()) };
    let shared = state.join(SHARED);
    // The host refuses a folder that others can write to, and cargo would create such a one.
    files::make_private(&shared).map_err(CommandError::at(&shared))?;
    let text = format!(
        "# `cargo test` and `cargo build` by hand use the crates that `fanfare build` has built.\n\
         [build]\nbuild-dir = \"../{name}/{SHARED}\"\n"
    );
    let folder = config.modules_dir.join(".cargo");
    std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, text)).map_err(CommandError::at(&file))?;
    Ok(format!("created {}: all modules here build their crates in {}\n", source::shown(&file), source::shown(&shared)))
}

/// The SDK of a checkout.
const CHECKOUT: Sdk = Sdk { crates: "../../sdk/rust", schemas: "../../schema" };

/// Finds the SDK of the Fanfare checkout around the modules. Outside a checkout, writes the SDK
/// beside the modules.
fn find_sdk(modules_dir: &Path) -> Result<(Sdk, String), CommandError> {
    let checkout = modules_dir.parent().filter(|above| {
        ["sdk/rust/fanfare-sdk/Cargo.toml", "wit/worlds.wit", "schema/test.schema.json"]
            .iter()
            .all(|file| above.join(file).is_file())
    });
    if checkout.is_some() {
        return Ok((CHECKOUT, String::new()));
    }
    let dir = modules_dir.join("_sdk");
    let shown = source::shown(&dir);
    let note = match sdk::place(&dir)? {
        Placement::Written => format!("created {shown}: the SDK that all modules here use\n"),
        Placement::Replaced => format!("replaced {shown}: it was the SDK of another version of fanfare\n"),
        Placement::Modified => {
            format!(
                "kept {shown}: it is the SDK of another version of fanfare, and its files were changed; remove it to get this version's\n"
            )
        }
        Placement::Current => String::new(),
    };
    Ok((Sdk { crates: "../_sdk", schemas: "../_sdk/schema" }, note))
}

/// Writes the module's folder: whole or not at all.
fn write(dir: &Path, name: &str, sdk: &Sdk) -> std::io::Result<()> {
    let crate_name = crate_of(name);
    let filled = |text: &str| {
        let pairs = [("name", name), ("crate", &crate_name), ("sdk", sdk.crates), ("schema", sdk.schemas)];
        let file = crate_name.replace('-', "_");
        let pairs = pairs.into_iter().chain([("file", file.as_str())]);
        pairs.fold(text.to_owned(), |text, (key, value)| text.replace(&format!("{{{{{key}}}}}"), value))
    };
    let files = TEMPLATE.iter().map(|(file, text)| (filled(file), filled(text)));
    sdk::write_folder(dir, files, None)
}

/// The name of the module's crate: that of the module, unless it is reserved or a dependency has
/// it.
fn crate_of(name: &str) -> String {
    let locked = format!("name = \"{name}\"");
    let taken = RESERVED.contains(&name) || LOCK.lines().any(|line| line == locked);
    if taken { format!("{name}-module") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_has_the_name_of_its_module_unless_it_is_taken() {
        for (name, crate_name) in [
            ("hello", "hello"),
            ("my-module", "my-module"),
            ("test", "test-module"),
            ("async", "async-module"),
            ("serde", "serde-module"),
            ("fanfare-sdk", "fanfare-sdk-module"),
        ] {
            assert_eq!(crate_of(name), crate_name);
        }
    }

    #[test]
    fn docs_first_module_shows_the_template() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/first-module.md");
        let page = std::fs::read_to_string(page).unwrap();
        for (file, text) in [("module.json", TEMPLATE[0].1), ("src/lib.rs", TEMPLATE[3].1)] {
            let text = text.replace("{{schema}}", "../../schema").replace("{{file}}", "hello");
            let shown = text.split("\n#[cfg(test)]").next().unwrap().trim_end();
            assert!(page.contains(shown), "docs/first-module.md shows another {file} than `fanfare new` writes");
        }
    }
}
