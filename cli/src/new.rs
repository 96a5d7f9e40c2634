//! `fanfare new`: creates a module that builds and passes its tests.

use std::io::{IsTerminal as _, stderr, stdin};
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum as _;

use super::build::SHARED;
use super::config::FileArgs;
use super::error::CommandError;
use super::project;
use super::terminal::{eprint, exit_code, print};
use fanfare::Config;
use fanfare::tooling::config::formats;
use fanfare::tooling::document::source;
use fanfare::tooling::files;
use names::{crate_of, file_of};
use sdk::Placement;
pub use sdk::contract;
use template::{Language, Template};

mod names;
mod sdk;
mod template;

/// Flags of `fanfare new`.
#[derive(Debug, Clone, clap::Args)]
pub struct NewArgs {
    /// The name of the module and of its folder.
    #[arg(env = "FANFARE_MODULE")]
    pub name: String,
    /// The language of the module [default: asks on a terminal, elsewhere rust].
    #[arg(long, value_enum, env = "FANFARE_LANG")]
    pub lang: Option<Language>,
    /// What the module shows.
    #[arg(long, value_enum, env = "FANFARE_TEMPLATE", default_value = "http")]
    pub template: Template,
    #[command(flatten)]
    pub settings: FileArgs,
}

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
    let language = match args.lang {
        Some(language) => language,
        None if stdin().is_terminal() && stderr().is_terminal() => ask(args.template)?,
        None => Language::Rust,
    };
    let Some(files) = args.template.files(language) else {
        return Err(CommandError::NoTemplate {
            template: word(args.template),
            language: word(language),
            templates: words(Template::of(language)),
            languages: words(args.template.languages()),
        });
    };
    std::fs::create_dir_all(&config.modules_dir).map_err(CommandError::at(&config.modules_dir))?;
    let (sdk, mut note) = find_sdk(&config.modules_dir)?;
    let listen = config.http.listen.to_string();
    let module = Module { name, language, template: args.template, sdk: &sdk, listen: &listen };
    let files: Vec<_> = files.iter().map(|(path, text)| (module.filled(path), module.filled(text))).collect();
    sdk::write_folder(&dir, files.iter().cloned(), None).map_err(CommandError::at(&dir))?;
    if language == Language::Rust {
        note += &share_builds(&config, &sdk)?;
    }
    note += &no_project(args, here.is_project);
    note += &missing_tools(language, &config.root)?;
    let main =
        files.iter().map(|(path, _)| path.as_str()).filter(|path| !path.starts_with('.') && *path != "Cargo.lock");
    let (main, example) = (main.collect::<Vec<_>>().join(", "), module.filled(args.template.example(language)));
    Ok(format!(
        "created {shown}: {main}\n{note}\nnext:\n  fanfare build {shown}\n  fanfare test {shown}\n  fanfare dev\n  \
         {example}\n"
    ))
}

/// Asks for the language on the terminal.
fn ask(template: Template) -> Result<Language, CommandError> {
    eprint(&format!("language ({}) [{}]: ", words(template.languages()), word(Language::Rust)));
    let mut line = String::new();
    stdin().read_line(&mut line).map_err(CommandError::at(Path::new("standard input")))?;
    chosen(&line)
}

/// The language that a line names, which is Rust if the line is empty.
fn chosen(line: &str) -> Result<Language, CommandError> {
    match line.trim() {
        "" => Ok(Language::Rust),
        name => Language::from_str(name, true).map_err(|_| CommandError::NoLanguage {
            name: name.to_owned(),
            languages: words(Language::value_variants().iter().copied()),
        }),
    }
}

/// The word that the command line has for a value.
fn word(value: impl clap::ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn words(values: impl Iterator<Item = impl clap::ValueEnum>) -> String {
    values.map(word).collect::<Vec<_>>().join(", ")
}

/// Says what the builds of a language lack on this machine.
fn missing_tools(language: Language, dir: &Path) -> Result<String, CommandError> {
    let tools = language.tools();
    let missing = super::runtime()?.block_on(tools.missing(dir));
    Ok(match missing.is_empty() {
        true => String::new(),
        false => {
            let list: Vec<_> = missing.iter().map(ToString::to_string).collect();
            format!("{} lacks tools here: {}\n", tools.name, list.join("; "))
        }
    })
}

/// Says that the module is in no project, unless it is in one.
fn no_project(args: &NewArgs, is_project: bool) -> String {
    if is_project || args.settings.config.is_some() || args.settings.modules.is_some() {
        return String::new();
    }
    "no fanfare.json is here or above, so the defaults are used: `fanfare init` makes this folder a project\n"
        .to_owned()
}

/// Paths of the SDKs, relative to the module's folder.
struct Sdk {
    /// The folder of the crate `fanfare-sdk`.
    crates: &'static str,
    /// The folder of the SDKs of the other languages.
    others: &'static str,
    schemas: &'static str,
}

/// cargo's settings for all modules.
const CARGO_SETTINGS: &str = ".cargo/config.toml";

/// Lets `cargo test` and `cargo build` by hand use what `fanfare build` has built: writes cargo's
/// settings for the modules, unless they exist, or `stateDir` is not beside the modules.
fn share_builds(config: &Config, sdk: &Sdk) -> Result<String, CommandError> {
    let (file, state) = (config.modules_dir.join(CARGO_SETTINGS), config.shared_dir());
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

/// The SDKs of a checkout.
const CHECKOUT: Sdk = Sdk { crates: "../../sdk/rust", others: "../../sdk", schemas: "../../schema" };

/// The SDKs that are written beside the modules.
const OUTSIDE: Sdk = Sdk { crates: "../_sdk", others: "../_sdk", schemas: "../_sdk/schema" };

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
        Placement::Written => format!("created {shown}: the SDKs that all modules here use\n"),
        Placement::Replaced => format!("replaced {shown}: its SDKs were those of another version of fanfare\n"),
        Placement::Modified => {
            format!(
                "kept {shown}: its SDKs are those of another version of fanfare, and files were changed; remove it to get this version's\n"
            )
        }
        Placement::Current => String::new(),
    };
    Ok((OUTSIDE, note))
}

/// What the placeholders of a template stand for.
struct Module<'a> {
    name: &'a str,
    language: Language,
    template: Template,
    sdk: &'a Sdk,
    listen: &'a str,
}

impl Module<'_> {
    /// Replaces the placeholders of a text.
    fn filled(&self, text: &str) -> String {
        let Module { name, language, template, sdk, listen } = self;
        let crate_name = crate_of(name);
        let file = file_of(*language, name);
        let component = match language {
            Language::Rust => "target/wasm32-wasip2/release/{{file}}.wasm",
            _ => "{{file}}.wasm",
        };
        let watch = match language {
            Language::Rust => "\"src\", \"Cargo.toml\"",
            Language::Go => "\"{{entry}}\", \"go.mod\"",
            _ => "\"{{entry}}\"",
        };
        let entry = language.entry(&file);
        // What has placeholders itself comes first.
        let pairs = [
            ("command", template.command(*language)),
            ("component", component),
            ("watch", watch),
            ("entry", &entry),
            ("name", name),
            ("crate", &crate_name),
            ("file", &file),
            ("crates", sdk.crates),
            ("sdk", sdk.others),
            ("schema", sdk.schemas),
            ("listen", listen),
        ];
        pairs.into_iter().fold(text.to_owned(), |text, (key, value)| text.replace(&format!("{{{{{key}}}}}"), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_a_language_or_is_empty() {
        for (line, language) in
            [("\n", Language::Rust), ("js\n", Language::Js), (" Python \n", Language::Python), ("c", Language::C)]
        {
            assert_eq!(chosen(line).unwrap(), language, "{line:?}");
        }
        let error = chosen("lua\n").unwrap_err().to_string();
        assert_eq!(error, "`lua` is not a language of `fanfare new`; choose one of rust, js, ts, python, c, zig, go");
    }

    #[test]
    fn the_guides_show_the_template() {
        for (page, language, name, sdk, tests) in [
            ("first-module", Language::Rust, "hello", CHECKOUT, "\n#[cfg(test)]"),
            ("javascript", Language::Js, "greeting", OUTSIDE, "\0"),
            ("python", Language::Python, "greeting", OUTSIDE, "\0"),
            ("zig", Language::Zig, "greeting", OUTSIDE, "\0"),
            ("go", Language::Go, "greeting", OUTSIDE, "\0"),
        ] {
            let file = format!("../docs/{page}.md");
            let guide = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file)).unwrap();
            let template = Template::Http;
            let module = Module { name, language, template, sdk: &sdk, listen: "" };
            for (path, text) in template.files(language).unwrap() {
                let path = module.filled(&path);
                let endings = [".rs", ".js", ".py", ".zig", ".go", ".mod"];
                if path == "module.json" || endings.iter().any(|ending| path.ends_with(ending)) {
                    let text = module.filled(&text);
                    let shown = text.split(tests).next().unwrap().trim_end();
                    assert!(guide.contains(shown), "{file} shows another {path} than `fanfare new` writes");
                }
            }
        }
    }
}
