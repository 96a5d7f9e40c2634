//! The tools that each language needs to build modules, and the commands that install them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::geteuid;
use tokio::process::Command;

use super::cargo::Cargo;

/// A language that modules are written in.
pub struct Language {
    pub name: &'static str,
    /// Whether a file of a module's folder belongs to the language.
    has_file: fn(&str) -> bool,
    tools: &'static [Tool],
}

/// A program that a language needs.
struct Tool {
    name: &'static str,
    program: &'static str,
    /// Arguments with which the program prints `output` if it is the right one. Without any, it
    /// only has to exist.
    args: &'static [&'static str],
    output: &'static str,
    /// The page of the tool, for where no package manager has it, or an older version. Empty if it
    /// is a part of another tool.
    page: &'static str,
    /// The names of its packages, in the order of [`MANAGERS`].
    packages: [&'static str; 4],
}

/// Package managers of systems, and the commands that install packages with them.
const MANAGERS: [(&str, &str); 4] =
    [("apt-get", "apt-get install"), ("dnf", "dnf install"), ("apk", "apk add"), ("brew", "brew install")];

/// The command of a module in Rust.
const CARGO: &str = "cargo build --release --target wasm32-wasip2";

const VENV: Tool = Tool {
    name: "Python 3 with venv and pip",
    program: "python3",
    args: &["-c", "import ensurepip, venv"],
    output: "",
    page: "",
    packages: ["python3-venv", "python3", "python3", "python"],
};

pub const RUST: Language = Language { name: "Rust", has_file: |name| name == "Cargo.toml", tools: &[] };

pub const JAVASCRIPT: Language = Language {
    name: "JavaScript",
    has_file: |name| name == "package.json",
    tools: &[
        Tool {
            name: "Node.js 20 or later",
            program: "node",
            args: &["-e", "console.log(process.versions.node.split('.')[0] >= 20)"],
            output: "true",
            page: "https://nodejs.org",
            packages: ["nodejs", "nodejs", "nodejs", "node"],
        },
        Tool {
            name: "npm",
            program: "npm",
            args: &[],
            output: "",
            page: "https://nodejs.org",
            packages: ["npm", "nodejs-npm", "npm", "node"],
        },
    ],
};

pub const PYTHON: Language = Language {
    name: "Python",
    has_file: |name| matches!(name, "pyproject.toml" | "requirements.txt") || name.ends_with(".py"),
    tools: &[
        Tool {
            name: "Python 3.11 or later",
            program: "python3",
            args: &["-c", "import sys; print(sys.version_info >= (3, 11))"],
            output: "True",
            page: "https://www.python.org",
            packages: ["python3", "python3", "python3", "python"],
        },
        VENV,
    ],
};

const BASH: Tool = Tool { name: "bash", program: "bash", args: &[], output: "", page: "", packages: ["bash"; 4] };

/// A script of the SDK builds modules, and installs the compiler, which is in PyPI.
const OF_SDK: &[Tool] = &[BASH, VENV];

pub const C: Language = Language { name: "C", has_file: |name| name.ends_with(".c"), tools: OF_SDK };

/// With the SDK for C.
pub const ZIG: Language = Language { name: "Zig", has_file: |name| name.ends_with(".zig"), tools: OF_SDK };

pub const GO: Language = Language { name: "Go", has_file: |name| name == "go.mod", tools: OF_SDK };

pub const LANGUAGES: [&Language; 6] = [&RUST, &JAVASCRIPT, &PYTHON, &C, &ZIG, &GO];

/// A tool that a build lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    name: String,
    remedy: Remedy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Remedy {
    /// A package of the system's package manager.
    Package { manager: &'static str, package: &'static str },
    /// What to do, in words.
    Text(String),
}

impl Language {
    pub fn is_in(&self, folder: &Path) -> bool {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        files.into_iter().any(|file| file.file_name().to_str().is_some_and(self.has_file))
    }

    /// The tools that do not work.
    pub async fn missing(&self, dir: &Path) -> Vec<Missing> {
        if let ([], Some(cargo)) = (self.tools, Cargo::parse(CARGO)) {
            return cargo.toolchain(dir).await.err().into_iter().collect();
        }
        let mut missing = Vec::new();
        for tool in self.tools {
            if !tool.works(dir).await {
                missing.push(tool.missing());
            }
        }
        missing
    }

    /// The tools that do not exist. Starts no program, so it costs little.
    pub fn absent(&self) -> Vec<Missing> {
        self.tools.iter().filter(|tool| in_path(tool.program).is_none()).map(Tool::missing).collect()
    }
}

impl Tool {
    async fn works(&self, dir: &Path) -> bool {
        if self.args.is_empty() || in_path(self.program).is_none() {
            return in_path(self.program).is_some();
        }
        let mut command = Command::new(self.program);
        command.args(self.args).current_dir(dir).stdin(Stdio::null()).kill_on_drop(true);
        command.output().await.is_ok_and(|output| {
            output.status.success() && String::from_utf8_lossy(&output.stdout).contains(self.output)
        })
    }

    fn missing(&self) -> Missing {
        let is_old = in_path(self.program).is_some() && !self.page.is_empty();
        self.remedied(is_old, manager(&std::env::var_os("PATH").unwrap_or_default()))
    }

    /// Says what to do, with the package manager at this place of [`MANAGERS`].
    fn remedied(&self, is_old: bool, manager: Option<usize>) -> Missing {
        let package = manager.and_then(|place| Some((MANAGERS.get(place)?.1, *self.packages.get(place)?)));
        let remedy = match package {
            Some((manager, package)) if !is_old => Remedy::Package { manager, package },
            _ if self.page.is_empty() => Remedy::Text("install it with the package manager of the system".to_owned()),
            _ => Remedy::Text(format!("install it from {}", self.page)),
        };
        let found = if is_old { format!(" (the {} in PATH is older)", self.program) } else { String::new() };
        Missing { name: format!("{}{found}", self.name), remedy }
    }
}

/// The place in [`MANAGERS`] of the package manager in these folders.
fn manager(path: &OsStr) -> Option<usize> {
    MANAGERS.iter().position(|(program, _)| in_folders(path, program).is_some())
}

impl Missing {
    pub fn new(name: &str, remedy: String) -> Missing {
        Missing { name: name.to_owned(), remedy: Remedy::Text(remedy) }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.remedy {
            Remedy::Package { manager, package } => write!(f, "{}: run `{}`", self.name, run(manager, [*package])),
            Remedy::Text(text) => write!(f, "{}: {text}", self.name),
        }
    }
}

/// The modules that cannot be built, with the tools that each lacks. The text names each tool once,
/// and one command that installs all packages of the system.
#[derive(Debug, Default)]
pub struct Lacking(pub Vec<(String, Vec<Missing>)>);

impl Lacking {
    pub fn modules(&self) -> String {
        self.0.iter().map(|(module, _)| module.as_str()).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "these tools are missing:")?;
        let mut all: Vec<&Missing> = Vec::new();
        for missing in self.0.iter().flat_map(|(_, missing)| missing) {
            if !all.contains(&missing) {
                all.push(missing);
            }
        }
        let (mut packages, mut with) = (BTreeSet::new(), None);
        for missing in all {
            let needing = self.0.iter().filter(|(_, lacks)| lacks.contains(missing));
            let needing = needing.map(|(module, _)| module.as_str()).collect::<Vec<_>>().join(", ");
            write!(f, "\n  {}, for {needing}", missing.name)?;
            match &missing.remedy {
                Remedy::Package { manager, package } => {
                    packages.insert(*package);
                    with = Some(*manager);
                }
                Remedy::Text(text) => write!(f, ": {text}")?,
            }
        }
        match with {
            Some(manager) => write!(f, "\nrun: {}", run(manager, packages.iter().copied())),
            None => Ok(()),
        }
    }
}

/// The command that installs packages. Only `brew` runs without root.
fn run<'a>(manager: &str, packages: impl IntoIterator<Item = &'a str>) -> String {
    let sudo = if geteuid().is_root() || manager.starts_with("brew") { "" } else { "sudo " };
    format!("{sudo}{manager} {}", packages.into_iter().collect::<Vec<_>>().join(" "))
}

/// The program with this name in PATH.
fn in_path(program: &str) -> Option<PathBuf> {
    in_folders(&std::env::var_os("PATH")?, program)
}

fn in_folders(path: &OsStr, program: &str) -> Option<PathBuf> {
    let is_program = |file: &PathBuf| {
        std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path).map(|dir| dir.join(program)).find(is_program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, package: &'static str) -> Missing {
        Missing { name: name.to_owned(), remedy: Remedy::Package { manager: "brew install", package } }
    }

    #[test]
    fn each_tool_is_named_once_with_one_command_for_all() {
        let node = package("Node.js 20 or later", "node");
        let lacking = Lacking(vec![
            ("greeting".to_owned(), vec![node.clone(), package("npm", "node")]),
            ("scorer".to_owned(), vec![package("Python 3 with venv and pip", "python")]),
            ("shout".to_owned(), vec![node, Missing::new("cargo", "install Rust".to_owned())]),
        ]);
        let expected = "these tools are missing:\n  Node.js 20 or later, for greeting, shout\n  npm, for greeting\n  \
                        Python 3 with venv and pip, for scorer\n  cargo, for shout: install Rust\n\
                        run: brew install node python";
        assert_eq!(lacking.to_string(), expected);
        assert_eq!(lacking.modules(), "greeting, scorer, shout");
    }

    /// A tool that the shell stands for, which prints `1`.
    fn shell(output: &'static str, page: &'static str) -> Tool {
        Tool { name: "Shell 2", program: "sh", args: &["-c", "echo 1"], output, page, packages: ["a", "b", "c", "d"] }
    }

    #[tokio::test]
    async fn a_tool_works_if_it_prints_what_it_should() {
        let dir = Path::new("/");
        assert!(shell("1", "").works(dir).await);
        assert!(!shell("2", "").works(dir).await);
        assert!(!Tool { args: &["-c", "echo 1; exit 1"], ..shell("1", "") }.works(dir).await);
        let unknown = Tool { program: "fanfare-no-such-program", ..shell("", "") };
        assert!(!unknown.works(dir).await && !Tool { args: &[], ..unknown }.works(dir).await);
    }

    #[test]
    fn a_tool_that_is_too_old_is_named_with_its_page() {
        let text = shell("2", "https://shell.example").missing().to_string();
        assert_eq!(text, "Shell 2 (the sh in PATH is older): install it from https://shell.example");
    }

    #[test]
    fn a_tool_without_a_package_manager_has_its_page_or_words() {
        let remedy = |page| shell("2", page).remedied(false, None).to_string();
        assert_eq!(remedy("https://shell.example"), "Shell 2: install it from https://shell.example");
        assert_eq!(remedy(""), "Shell 2: install it with the package manager of the system");
    }

    #[test]
    fn the_package_manager_that_exists_installs_its_own_package() {
        let sudo = if geteuid().is_root() { "" } else { "sudo " };
        let text = |manager| shell("2", "https://x").remedied(false, manager_in(manager)).to_string();
        assert_eq!(text("apk"), format!("Shell 2: run `{sudo}apk add c`"));
        assert_eq!(text("brew"), "Shell 2: run `brew install d`");
    }

    /// The package manager where this is the only program.
    fn manager_in(name: &str) -> Option<usize> {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join(name), "").unwrap();
        assert_eq!(manager(temp.path().as_os_str()), None, "the file is no program");
        std::fs::set_permissions(temp.path().join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        manager(temp.path().as_os_str())
    }

    #[test]
    fn each_language_is_known_by_its_files() {
        let languages = |file: &str| {
            let temp = tempfile::tempdir().unwrap();
            std::fs::write(temp.path().join(file), "").unwrap();
            let found = LANGUAGES.iter().filter(|language| language.is_in(temp.path())).map(|language| language.name);
            found.collect::<Vec<_>>().join(",")
        };
        for (file, language) in [
            ("Cargo.toml", "Rust"),
            ("package.json", "JavaScript"),
            ("pyproject.toml", "Python"),
            ("requirements.txt", "Python"),
            ("a.py", "Python"),
            ("a.c", "C"),
            ("a.zig", "Zig"),
            ("go.mod", "Go"),
            ("a.js", ""),
        ] {
            assert_eq!(languages(file), language, "{file}");
        }
    }
}
