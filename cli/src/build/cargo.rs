//! Support for `cargo build`: finds a toolchain with the target, and the file that cargo writes.

use std::path::{Component, Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::tools::Missing;

/// The variable that selects a toolchain for rustup.
pub const TOOLCHAIN: &str = "RUSTUP_TOOLCHAIN";

/// The variable that names cargo's folder for everything but the results of a build.
pub const BUILD_DIR: &str = "CARGO_BUILD_BUILD_DIR";

/// A command that runs cargo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cargo {
    /// The argument of `--target`.
    target: Option<String>,
    /// Whether the command names its toolchain, as in `cargo +nightly ..`.
    has_toolchain: bool,
    /// The folder of the profile. `None` if the command does more than build, so that its output
    /// file is unknown.
    profile: Option<String>,
}

/// Where a command writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The component.
    pub component: PathBuf,
    /// Where everything else goes.
    build_dir: Option<PathBuf>,
    /// `target/` in the module's own folder.
    own_dir: PathBuf,
}

/// Whether the standard library of a target is installed.
enum Installed {
    Yes,
    No,
    /// The program that knows does not run.
    Unknown,
}

impl Cargo {
    /// Parses a command. `None` if it does not run cargo.
    pub fn parse(command: &str) -> Option<Cargo> {
        let words: Vec<&str> = command.split_whitespace().collect();
        let is_assignment = |word: &&str| word.split_once('=').is_some_and(|(name, _)| !name.starts_with('-'));
        let mut words = words.into_iter().skip_while(is_assignment).peekable();
        if words.next() != Some("cargo") {
            return None;
        }
        let has_toolchain = words.next_if(|word| word.starts_with('+')).is_some();
        let subcommand = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        let value = |flag: &str| {
            let mut rest = rest.iter();
            rest.find_map(|word| match word.strip_prefix(flag)? {
                "" => Some(None),
                with => with.strip_prefix('=').map(Some),
            })
            .and_then(|joined| joined.map(str::to_owned).or_else(|| rest.next().map(|word| (*word).to_owned())))
        };
        let elsewhere = ["--target-dir", "--manifest-path", "--out-dir", "--artifact-dir", "--config"];
        let plain = !command.contains(|c: char| "&|;<>$`(\n\"'".contains(c))
            && !command.contains("TARGET_DIR=")
            && matches!(subcommand, "build" | "b")
            && !rest.iter().any(|word| elsewhere.iter().any(|flag| word.starts_with(flag)));
        let release = rest.iter().any(|word| matches!(*word, "--release" | "-r"));
        let profile = match value("--profile") {
            Some(profile) if profile == "dev" => "debug".to_owned(),
            Some(profile) => profile,
            None if release => "release".to_owned(),
            None => "debug".to_owned(),
        };
        Some(Cargo { target: value("--target"), has_toolchain, profile: plain.then_some(profile) })
    }

    /// Returns a toolchain with the target if the default one lacks it.
    pub async fn toolchain(&self, dir: &Path) -> Result<Option<String>, Missing> {
        let rustup = "install Rust with rustup (https://rustup.rs), then run `rustup target add";
        if stdout("cargo", &["--version"], dir).await.is_none() {
            return Err(Missing::new("cargo", format!("{rustup} wasm32-wasip2`")));
        }
        let Some(target) = self.target.as_deref().filter(|_| !self.has_toolchain) else { return Ok(None) };
        match installed("rustc", &[], target, dir).await {
            Installed::Unknown if !finds_compiler(target, dir).await => {
                return Err(Missing::new("rustc", format!("{rustup} {target}`")));
            }
            Installed::Yes | Installed::Unknown => return Ok(None),
            Installed::No => {}
        }
        let Some(toolchains) = stdout("rustup", &["toolchain", "list"], dir).await else {
            return Err(Missing::new(&format!("the target {target} of Rust"), format!("{rustup} {target}`")));
        };
        for toolchain in toolchains.lines().filter_map(|line| line.split_whitespace().next()) {
            if let Installed::Yes = installed("rustup", &["run", toolchain, "rustc"], target, dir).await {
                return Ok(Some(toolchain.to_owned()));
            }
        }
        Err(Missing::new(&format!("the target {target} of Rust"), format!("run `rustup target add {target}`")))
    }

    /// Where the command writes. `None` if that is unknown.
    pub async fn layout(&self, dir: &Path) -> Option<Layout> {
        let (target, profile) = (self.target.as_deref()?, self.profile.as_deref()?);
        let args = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
        let metadata: Value = serde_json::from_str(&stdout("cargo", &args, dir).await?).ok()?;
        let module = std::fs::canonicalize(dir).ok()?;
        let name = component_of(&metadata, &module.join("Cargo.toml"))?;
        let folder = |key: &str| metadata.get(key).and_then(Value::as_str).map(Path::new);
        Some(Layout {
            component: folder("target_directory")?.join(target).join(profile).join(name),
            build_dir: folder("build_directory").map(without_parents),
            own_dir: module.join("target"),
        })
    }
}

impl Layout {
    /// Whether the command may build in `shared`: it would do so anyway, or in a folder that no
    /// other module uses. A workspace, cargo's settings or a variable may name another folder.
    pub fn may_share(&self, shared: &Path) -> bool {
        self.build_dir.as_deref().is_some_and(|dir| dir == self.own_dir || dir == shared)
    }
}

/// Removes each `..` together with the folder before it.
fn without_parents(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut whole, part| {
        match part {
            Component::ParentDir => _ = whole.pop(),
            part => whole.push(part),
        }
        whole
    })
}

/// Whether cargo finds a compiler although PATH has no rustc: that of rustup knows its toolchain,
/// and settings or variables may name one. It describes an empty package for the target.
async fn finds_compiler(target: &str, dir: &Path) -> bool {
    let Some((_empty, manifest)) = empty_package().ok() else { return true };
    let described = ["metadata", "--offline", "--format-version", "1", "--filter-platform", target, "--manifest-path"];
    let args: Vec<&str> = described.into_iter().chain(manifest.to_str()).collect();
    stdout("cargo", &args, dir).await.is_some()
}

fn empty_package() -> std::io::Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let manifest = folder.path().join("Cargo.toml");
    let text = "[workspace]\n[package]\nname = \"empty\"\nversion = \"0.0.0\"\n[lib]\npath = \"lib.rs\"\n";
    std::fs::write(&manifest, text)?;
    std::fs::write(folder.path().join("lib.rs"), "")?;
    Ok((folder, manifest))
}

/// The name of the component of the package that a Cargo.toml describes.
fn component_of(metadata: &Value, manifest: &Path) -> Option<String> {
    let packages = metadata.get("packages")?.as_array()?;
    let path = |package: &Value| Some(package.get("manifest_path")?.as_str()? == manifest.to_str()?);
    let package = packages.iter().find(|package| path(package) == Some(true))?;
    let is = |target: &&Value, kind: &str| {
        let kinds = target.get("crate_types").and_then(Value::as_array);
        kinds.is_some_and(|kinds| kinds.iter().any(|named| named == kind))
    };
    let library = package.get("targets")?.as_array()?.iter().find(|target| is(target, "cdylib"))?;
    Some(format!("{}.wasm", library.get("name")?.as_str()?.replace('-', "_")))
}

/// Runs `program`, with `before` ahead of the arguments of rustc, to look for a target.
async fn installed(program: &str, before: &[&str], target: &str, dir: &Path) -> Installed {
    let args: Vec<&str> = before.iter().copied().chain(["--print", "target-libdir", "--target", target]).collect();
    let Some(output) = output(program, &args, dir).await else { return Installed::Unknown };
    let libraries = String::from_utf8_lossy(&output.stdout);
    let files = std::fs::read_dir(libraries.trim()).into_iter().flatten().flatten();
    let is_core = |name: &str| name.starts_with("libcore-") && name.ends_with(".rlib");
    match output.status.success() && files.into_iter().any(|file| is_core(&file.file_name().to_string_lossy())) {
        true => Installed::Yes,
        false => Installed::No,
    }
}

/// The standard output of a program. `None` if the program does not run or fails.
async fn stdout(program: &str, args: &[&str], dir: &Path) -> Option<String> {
    let output = output(program, args, dir).await.filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

async fn output(program: &str, args: &[&str], dir: &Path) -> Option<std::process::Output> {
    Command::new(program).args(args).current_dir(dir).stdin(Stdio::null()).kill_on_drop(true).output().await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(command: &str) -> Option<(Option<String>, bool, Option<String>)> {
        Cargo::parse(command).map(|cargo| (cargo.target, cargo.has_toolchain, cargo.profile))
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_cargo_command_is_parsed() {
        let usual = Some((some("wasm32-wasip2"), false, some("release")));
        for command in [
            "cargo build --release --target wasm32-wasip2",
            "A=b cargo  build --target=wasm32-wasip2 -r",
            "cargo build --profile release --target wasm32-wasip2",
        ] {
            assert_eq!(parts(command), usual, "{command}");
        }
        assert_eq!(parts("cargo +nightly build"), Some((None, true, some("debug"))));
        assert_eq!(parts("cargo build --profile dev --target t"), Some((some("t"), false, some("debug"))));
        assert_eq!(parts("make wasm"), None);
        assert_eq!(parts(""), None);
    }

    #[test]
    fn the_output_of_more_than_a_plain_build_is_unknown() {
        for command in [
            "cargo build --target t && wasm-tools component new a.wasm -o b.wasm",
            "cargo component build --target t",
            "cargo build --target t --target-dir /elsewhere",
            "cargo build --target t --manifest-path ../Cargo.toml",
            "cargo build --target t --config build.target-dir=elsewhere",
            "CARGO_TARGET_DIR=elsewhere cargo build --target t",
        ] {
            assert_eq!(parts(command), Some((some("t"), false, None)), "{command}");
        }
    }

    #[test]
    fn the_component_is_named_after_the_library_of_the_package() {
        let metadata = serde_json::json!({ "packages": [
            { "manifest_path": "/a/Cargo.toml", "targets": [{ "name": "other", "crate_types": ["cdylib"] }] },
            { "manifest_path": "/m/Cargo.toml", "targets": [
                { "name": "test", "crate_types": ["bin"] },
                { "name": "my-module", "crate_types": ["cdylib", "rlib"] },
            ] },
        ] });
        assert_eq!(component_of(&metadata, Path::new("/m/Cargo.toml")), some("my_module.wasm"));
        assert_eq!(component_of(&metadata, Path::new("/x/Cargo.toml")), None);
    }
}
