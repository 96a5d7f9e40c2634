//! The errors of commands. A text says what is wrong, where, and how to fix it.

use std::io;
use std::path::Path;

use tracing_subscriber::filter::ParseError;

use super::backtrace::shortened;
use super::build::BuildError;
use super::test::file::{EXAMPLE, SUFFIX};
use fanfare::tooling::ComponentInfoError;
use fanfare::tooling::config::formats::MODULE_RULE;
use fanfare::tooling::document::source::shown;
use fanfare::tooling::manifest::ManifestError;
use fanfare::{Fault, Faults, StartError};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Faults(#[from] Faults),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Host(#[from] StartError),
    #[error("cannot locate the fanfare executable: {0}")]
    Executable(io::Error),
    #[error("cannot start the async runtime: {0}")]
    Runtime(io::Error),
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    #[error("cannot create a temporary folder: {0}")]
    TemporaryFolder(io::Error),
    #[error("{path}: {error}")]
    Path { path: String, error: io::Error },
    #[error("{0}: neither a folder nor the name of a module")]
    NotAFolder(String),
    #[error("{path}: {error}; create this folder, or pass the folder of a module")]
    ModulesDir { path: String, error: io::Error },
    #[error("{0}; run `fanfare init` to make it one, then `fanfare new hello`")]
    NoProject(String),
    #[error("{0:?} is not {MODULE_RULE}")]
    ModuleName(String),
    #[error("there is no module {name} in {modules_dir}{hint}")]
    NoModule { name: String, modules_dir: String, hint: String },

    // serve
    #[error("--log {filter}: {error}; use a level such as `info`, or directives such as `fanfare=debug,guest=warn`")]
    LogFilter { filter: String, error: ParseError },
    #[error("--stop-on-eof: standard input must be a pipe: {0}; remove the flag, or start this command with a pipe")]
    Pipe(io::Error),
    #[error("--strict: not every module is ready:\n{}", shortened(&.0.join("\n")))]
    Strict(Vec<String>),

    // cluster
    #[error("{0}")]
    Cluster(String),

    // events serve
    #[error(
        "the settings have events.connect {0}, so that hosts use that service: remove it from the settings of this \
         service, or set FANFARE_CONFIG to others"
    )]
    ServesAndConnects(String),

    // build
    #[error("{}", joined(.0))]
    Builds(Vec<BuildError>),
    #[error("{0}: no module here has a build.command in its module.json")]
    NothingToBuild(String),

    // new
    #[error("this is the folder of a module without a project; run the command in the folder of a project")]
    InModule,
    #[error("{0} already exists; choose another name or remove it")]
    Exists(String),
    #[error("`{name}` is not a language of `fanfare new`; choose one of {languages}")]
    NoLanguage { name: String, languages: String },
    #[error(
        "there is no template {template} in {language}: {language} has {templates}, and {template} exists in {languages}"
    )]
    NoTemplate { template: String, language: String, templates: String, languages: String },
    #[error("{0} exists, but `fanfare new` did not write it and needs the folder for the SDK; move it elsewhere")]
    ForeignSdk(String),

    // types
    #[error("{0}: no module here shows a language that has stubs; name one with --lang")]
    NoModuleLanguage(String),
    #[error("{}\nrun `fanfare types` to write what is not up to date", .0.join("\n"))]
    StaleTypes(Vec<String>),

    // wit
    #[error(
        "nothing was written, because these files differ from the contract of this version: {0}; replace them with --force"
    )]
    Differs(String),

    // inspect
    #[error(
        "{} is not the folder of a module; name a component or a module: `fanfare inspect hello` or \
         `fanfare inspect hello.wasm`",
        .0.as_deref().filter(|dir| !dir.is_empty()).unwrap_or("the current folder")
    )]
    NoComponent(Option<String>),
    #[error("{file}: cannot read the file: {error}")]
    Unreadable { file: String, error: io::Error },
    #[error("{file}: the file has {size} bytes, more than engine.maxComponent, {most}")]
    TooLarge { file: String, size: u64, most: u64 },
    #[error("{file}: {error}")]
    Component { file: String, error: ComponentInfoError },

    // grant
    #[error("nothing was written: confirm with --yes, because standard input is not a terminal")]
    Unconfirmed,
    #[error("nothing was written")]
    Declined,
    #[error("cannot read the answer: {0}")]
    Confirmation(io::Error),
    #[error("nothing was written: {origin} overrides the grants, so {missing} would stay missing; grant it there")]
    Overridden { origin: String, missing: String },
    #[error("cannot parse the settings file: {0}")]
    Syntax(#[from] jsonc_parser::errors::ParseError),
    #[error("cannot write {file}: {error}")]
    Write { file: String, error: io::Error },

    // test
    #[error("no test cases found; write {dir}/<name>{SUFFIX} with {{ \"cases\": [{EXAMPLE}] }} (see docs/testing.md)")]
    NoCases { dir: String },
    #[error("{component} does not exist yet; run `fanfare build {module}`")]
    NotBuilt { component: String, module: String },
    #[error("{}", joined(.0))]
    Refused(Vec<Fault>),
    #[error("the module is not ready:\n{}", shortened(&.0.join("\n")))]
    NotReady(Vec<String>),
    #[error("cannot capture the log: {0}")]
    Log(#[from] tracing::subscriber::SetGlobalDefaultError),
}

impl CommandError {
    /// An error of the system about a file or folder.
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> CommandError {
        |error| CommandError::Path { path: shown(path).to_string(), error }
    }
}

/// One error per line.
fn joined(errors: &[impl ToString]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_is_not_ready_shows_one_frame_of_a_backtrace() {
        let reasons = || vec!["hello: unreachable\n    at abort\n    at hello::warm\n    at std::x".to_owned()];
        let short = "\nhello: unreachable\n    at hello::warm";
        let strict = CommandError::Strict(reasons()).to_string();
        assert_eq!(strict, format!("--strict: not every module is ready:{short}"));
        assert_eq!(CommandError::NotReady(reasons()).to_string(), format!("the module is not ready:{short}"));
    }
}
