//! The tools that build modules, for each language.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::{Finding, State};
use crate::build::cargo::Cargo;
use fanfare::Config;
use fanfare::tooling::manifest;

/// A language that modules are written in.
struct Language {
    name: &'static str,
    /// Whether a file of a module's folder belongs to the language.
    has_file: fn(&str) -> bool,
    tools: &'static [Tool],
}

/// A program that a language needs.
struct Tool {
    command: &'static [&'static str],
    /// What its output must contain. Empty for nothing.
    output: &'static str,
    /// What to do when it is missing.
    remedy: &'static str,
}

/// The command of a module in Rust.
const CARGO: &str = "cargo build --release --target wasm32-wasip2";

const VENV: Tool = Tool {
    command: &["python3", "-c", "import ensurepip, venv"],
    output: "",
    remedy: "install Python 3 with its module venv (`apt-get install python3-venv`)",
};

const LANGUAGES: &[Language] = &[
    Language { name: "Rust", has_file: |name| name == "Cargo.toml", tools: &[] },
    Language {
        name: "JavaScript",
        has_file: |name| name == "package.json",
        tools: &[
            Tool {
                command: &["node", "-e", "console.log(process.versions.node.split('.')[0] >= 20)"],
                output: "true",
                remedy: "install Node.js 20 or later (https://nodejs.org, or `apt-get install nodejs`)",
            },
            Tool { command: &["npm", "--version"], output: "", remedy: "install npm (`apt-get install npm`)" },
        ],
    },
    Language {
        name: "Python",
        has_file: |name| name == "pyproject.toml" || name.ends_with(".py"),
        tools: &[
            Tool {
                command: &["python3", "-c", "import sys; print(sys.version_info >= (3, 11))"],
                output: "True",
                remedy: "install Python 3.11 or later (https://www.python.org, or `apt-get install python3`)",
            },
            VENV,
        ],
    },
    // The SDK installs the compiler, which is in PyPI.
    Language { name: "C", has_file: |name| name.ends_with(".c"), tools: &[VENV] },
];

/// A finding for each language: a fault if a module of the project uses it and a tool is missing.
pub async fn languages(config: &Config) -> Vec<Finding> {
    let folders: Vec<PathBuf> =
        manifest::scan(&config.modules_dir).into_iter().flatten().map(|module| module.dir).collect();
    let mut findings = Vec::new();
    for language in LANGUAGES {
        let missing = match language.tools {
            [] => cargo(&config.root).await.into_iter().collect(),
            tools => missing(tools, &config.root).await,
        };
        findings.push(match (missing.is_empty(), folders.iter().find(|folder| language.is_in(folder))) {
            (true, _) => Finding::new("tools", State::Ok, language.name),
            (false, None) => Finding::new(
                "tools",
                State::Note,
                format!("{}, which no module here uses: {}", language.name, missing.join("; ")),
            ),
            (false, Some(folder)) => {
                let module = folder.file_name().unwrap_or_default().to_string_lossy();
                Finding::new(
                    "tools",
                    State::Fault,
                    format!("{}, which {module} uses: {}", language.name, missing.join("; ")),
                )
            }
        });
    }
    findings
}

impl Language {
    fn is_in(&self, folder: &Path) -> bool {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        files.into_iter().any(|file| file.file_name().to_str().is_some_and(self.has_file))
    }
}

/// What Rust lacks.
async fn cargo(dir: &Path) -> Option<String> {
    Cargo::parse(CARGO)?.toolchain(dir).await.err().map(|missing| missing.to_string())
}

/// The remedies of the tools that do not run or are too old.
async fn missing(tools: &[Tool], dir: &Path) -> Vec<String> {
    let mut missing = Vec::new();
    for tool in tools {
        if !tool.works(dir).await {
            missing.push(tool.remedy.to_owned());
        }
    }
    missing
}

impl Tool {
    async fn works(&self, dir: &Path) -> bool {
        let Some((program, args)) = self.command.split_first() else { return true };
        let mut command = Command::new(program);
        command.args(args).current_dir(dir).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await;
        output.is_ok_and(|output| {
            output.status.success() && String::from_utf8_lossy(&output.stdout).contains(self.output)
        })
    }
}
