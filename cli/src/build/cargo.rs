//! What is known of `cargo build`: which toolchain can do it, and where its component goes.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

/// The variable that tells rustup which toolchain to take.
pub const TOOLCHAIN: &str = "RUSTUP_TOOLCHAIN";

/// A command that is cargo's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cargo {
    /// What it builds for, if it says so.
    target: Option<String>,
    /// Whether it names its toolchain: `cargo +nightly ..`.
    chosen: bool,
    /// The folder of its profile, when the command is a build and nothing else, so that what comes out is known.
    profile: Option<String>,
}

/// Whether the standard library of a target is installed.
enum Installed {
    Yes,
    No,
    /// There is no such program.
    NoProgram,
}

impl Cargo {
    pub fn of(command: &str) -> Option<Cargo> {
        let words: Vec<&str> = command.split_whitespace().collect();
        let is_assignment = |word: &&str| word.split_once('=').is_some_and(|(name, _)| !name.starts_with('-'));
        let mut words = words.into_iter().skip_while(is_assignment).peekable();
        if words.next() != Some("cargo") {
            return None;
        }
        let chosen = words.next_if(|word| word.starts_with('+')).is_some();
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
        let elsewhere = ["--target-dir", "--manifest-path", "--out-dir", "--artifact-dir"];
        let plain = !command.contains(|c: char| "&|;<>$`(\n\"'".contains(c))
            && matches!(subcommand, "build" | "b")
            && !rest.iter().any(|word| elsewhere.iter().any(|flag| word.starts_with(flag)));
        let release = rest.iter().any(|word| matches!(*word, "--release" | "-r"));
        let profile = match value("--profile") {
            Some(profile) if profile == "dev" => "debug".to_owned(),
            Some(profile) => profile,
            None if release => "release".to_owned(),
            None => "debug".to_owned(),
        };
        Some(Cargo { target: value("--target"), chosen, profile: plain.then_some(profile) })
    }

    /// A toolchain to build with in place of the one that cargo would take, when that lacks the target.
    pub async fn toolchain(&self, dir: &Path) -> Result<Option<String>, String> {
        if ran("cargo", &["--version"], dir).await.is_none() {
            return Err("cargo does not run: install Rust with rustup (https://rustup.rs), then run `rustup target add wasm32-wasip2`".to_owned());
        }
        let Some(target) = self.target.as_deref().filter(|_| !self.chosen) else { return Ok(None) };
        match installed("rustc", &[], target, dir).await {
            Installed::Yes | Installed::NoProgram => return Ok(None),
            Installed::No => {}
        }
        let Some(toolchains) = ran("rustup", &["toolchain", "list"], dir).await else {
            return Err(format!(
                "the Rust here has no target {target}, and there is no rustup: install Rust with rustup (https://rustup.rs), then run `rustup target add {target}`"
            ));
        };
        for toolchain in toolchains.lines().filter_map(|line| line.split_whitespace().next()) {
            if let Installed::Yes = installed("rustup", &["run", toolchain, "rustc"], target, dir).await {
                return Ok(Some(toolchain.to_owned()));
            }
        }
        Err(format!("no toolchain has the target {target}: run `rustup target add {target}`"))
    }

    /// The file that the command makes, if that can be told.
    pub async fn made(&self, dir: &Path) -> Option<PathBuf> {
        let (target, profile) = (self.target.as_deref()?, self.profile.as_deref()?);
        let args = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
        let metadata: Value = serde_json::from_str(&ran("cargo", &args, dir).await?).ok()?;
        let name = component_of(&metadata, &std::fs::canonicalize(dir.join("Cargo.toml")).ok()?)?;
        let made = Path::new(metadata.get("target_directory")?.as_str()?).join(target).join(profile).join(name);
        made.is_file().then_some(made)
    }
}

/// The name of the file that the package of a manifest is built to.
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

async fn installed(program: &str, before: &[&str], target: &str, dir: &Path) -> Installed {
    let args: Vec<&str> = before.iter().copied().chain(["--print", "target-libdir", "--target", target]).collect();
    let Some(output) = output(program, &args, dir).await else { return Installed::NoProgram };
    let libraries = String::from_utf8_lossy(&output.stdout);
    let there = std::fs::read_dir(libraries.trim()).into_iter().flatten().flatten();
    let is_core = |name: &str| name.starts_with("libcore-") && name.ends_with(".rlib");
    match output.status.success() && there.into_iter().any(|file| is_core(&file.file_name().to_string_lossy())) {
        true => Installed::Yes,
        false => Installed::No,
    }
}

/// What a program prints that ends well.
async fn ran(program: &str, args: &[&str], dir: &Path) -> Option<String> {
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
        Cargo::of(command).map(|cargo| (cargo.target, cargo.chosen, cargo.profile))
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_command_is_taken_apart() {
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
    fn what_comes_out_of_more_than_a_build_is_not_known() {
        for command in [
            "cargo build --target t && wasm-tools component new a.wasm -o b.wasm",
            "cargo component build --target t",
            "cargo build --target t --target-dir /elsewhere",
            "cargo build --target t --manifest-path ../Cargo.toml",
        ] {
            assert_eq!(parts(command), Some((some("t"), false, None)), "{command}");
        }
    }

    #[test]
    fn the_library_of_the_package_is_found() {
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
