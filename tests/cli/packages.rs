//! `fanfare build` and `fanfare dev`: the packages and tools of each language.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use tokio::process::Child;

use super::Project;
use super::build::{programs, with_command};
use super::project::CommandOutput;
use crate::harness::eventually;

/// Installs a package `left`, unless the project has a file `stop` with another script.
const NPM: &str = r#"echo "npm $*" >> ../../installs
if [ -e ../../stop ]; then . ../../stop; fi
mkdir -p node_modules/left && cp ../../left/package.json node_modules/left
echo '{}' > package-lock.json"#;

/// Makes an environment whose `python` is this script too.
const PYTHON: &str = r#"case "$1 $2" in
    "-c import "*) echo True ;;
    "-m venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python; echo venv >> ../../installs ;;
    *) echo "pip $*" >> ../../installs; if [ -e ../../stop ]; then . ../../stop; fi ;;
esac"#;

/// A project whose module `made` needs a package of npm to be built.
fn with_npm() -> Project {
    let project = with_command("cp node_modules/left/package.json used && cp source.wasm made.wasm", "made.wasm")
        .file("modules/made/package.json", r#"{ "dependencies": { "left": "file:../../left" } }"#)
        .file("left/package.json", r#"{ "version": "1.0.0" }"#);
    programs(&project, &[("npm", NPM), ("node", "echo true"), ("python3", PYTHON)]);
    project
}

fn with_programs(project: &Project, args: &[&str]) -> tokio::process::Command {
    let mut command = project.command(args);
    command.env("PATH", project.path().join("bin"));
    command
}

async fn build(project: &Project) -> CommandOutput {
    CommandOutput::of(with_programs(project, &["build"])).await
}

/// What the installers were called with, one line for each.
fn installs(project: &Project) -> Vec<String> {
    let lines = fs::read_to_string(project.path().join("installs")).unwrap_or_default();
    lines.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn packages_are_installed_once_and_again_when_their_list_changes() {
    let project = with_npm();
    let ran = build(&project).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let begins = "made: installing packages with npm ..\nmade: installed packages in ";
    assert!(ran.err.starts_with(begins), "{}", ran.err);
    let first = "npm install --install-links --include=dev --no-audit --no-fund --loglevel=error";
    assert!(installs(&project)[0].starts_with(first), "{:?}", installs(&project));
    let ran = build(&project).await;
    assert_eq!((ran.code, ran.err.as_str(), installs(&project).len()), (0, "", 1));

    let list = project.path().join("modules/made/package.json");
    for (change, count) in [("{ \"a\": 1, ", 2), ("{ \"b\": 1, ", 3)] {
        let changed = fs::read_to_string(&list).unwrap().replacen('{', change, 1);
        fs::write(&list, changed).unwrap();
        assert_eq!((build(&project).await.code, build(&project).await.code), (0, 0));
        assert_eq!(installs(&project).len(), count);
    }
    project.dir.write("modules/made/package-lock.json", "{ }");
    assert_eq!((build(&project).await.code, installs(&project).len()), (0, 4));
    assert!(!installs(&project)[3].contains("left"), "a package whose version is the same is not named");

    // npm keeps the copy of a folder until it is named.
    project.dir.write("left/package.json", r#"{ "version": "2.0.0" }"#);
    assert_eq!((build(&project).await.code, installs(&project).len()), (0, 5));
    assert!(installs(&project)[4].ends_with(" left@file:../../left"), "{:?}", installs(&project));
    assert!(project.read("modules/made/used").contains("2.0.0"));

    fs::remove_dir_all(project.path().join("modules/made/node_modules")).unwrap();
    assert_eq!((build(&project).await.code, installs(&project).len()), (0, 6));
}

#[tokio::test]
async fn an_install_that_fails_is_repeated_and_says_what_to_do() {
    let project = with_npm();
    for (says, remedy) in [
        (
            "npm error code E404",
            "npm install failed with exit status: 1: correct package.json as it says, then build again",
        ),
        (
            "npm error code ENOTFOUND",
            "exit status: 1: it did not reach the registry, so check the network and the proxy",
        ),
    ] {
        project.dir.write("stop", format!("mkdir -p node_modules/part; echo '{says}' >&2; exit 1"));
        let ran = build(&project).await;
        assert_eq!(ran.code, 1, "{}", ran.err);
        let expected = format!("{says}\nerror: made: packages were not installed, because npm install failed");
        assert!(ran.err.contains(&expected) && ran.err.contains(remedy), "{}", ran.err);
        assert!(!project.path().join("modules/made/made.wasm").exists(), "the command does not run");
    }
    fs::remove_file(project.path().join("stop")).unwrap();
    assert_eq!((build(&project).await.code, installs(&project).len()), (0, 3));
    assert!(project.path().join("modules/made/node_modules/part").exists(), "npm has left it in order");
}

#[tokio::test]
async fn an_install_that_was_interrupted_begins_with_an_empty_folder() {
    let project = with_npm();
    project.dir.write("stop", "mkdir -p node_modules/part; kill -9 $PPID");
    let ended = with_programs(&project, &["build"]).status().await.unwrap();
    assert_eq!(ended.code(), None, "a signal ends it");
    let part = project.path().join("modules/made/node_modules/part");
    assert!(part.exists());
    fs::remove_file(project.path().join("stop")).unwrap();
    let ran = build(&project).await;
    assert_eq!((ran.code, installs(&project).len(), part.exists()), (0, 2, false), "{}", ran.err);
}

#[tokio::test]
async fn only_one_of_two_builds_at_once_installs() {
    let project = with_npm();
    let gate: PathBuf = project.path().join("gate");
    mknodat(CWD, &gate, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    project.dir.write("stop", "cat ../../gate");
    let start = |log: &str| -> Child {
        let log = fs::File::create(project.path().join(log)).unwrap();
        with_programs(&project, &["build"]).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    };
    let mut first = start("first");
    eventually("the first one installs", || async { installs(&project).len() == 1 }).await;
    let mut second = start("second");
    let waits = "made: waiting for another process that installs packages\n";
    eventually("the second one waits", || async { project.read("second") == waits }).await;
    fs::write(&gate, "").unwrap();
    assert!(first.wait().await.unwrap().success() && second.wait().await.unwrap().success());
    assert_eq!((installs(&project).len(), project.read("second")), (1, waits.to_owned()));
}

/// pip builds a package that is a folder in this folder, where two builds would spoil each other.
/// setuptools does not, and leaves nothing there.
#[tokio::test]
async fn two_modules_do_not_build_one_package_of_python_at_once() {
    let project = with_command("cp source.wasm made.wasm", "made.wasm");
    let (manifest, wasm) = (project.read("modules/made/module.json"), project.path().join("modules/made/source.wasm"));
    let url = format!(
        "[project]\nname = \"third\"\ndependencies = [\"fanfare @ file://{}/sdk\"]\n",
        project.path().display()
    );
    let project = project
        .file("sdk/pyproject.toml", "[project]\nname = \"fanfare\"\n")
        .file("modules/made/requirements.txt", "../../sdk[build]\n")
        .file("modules/again/requirements.txt", "../made/../../sdk\n")
        .file("modules/again/module.json", &manifest)
        .file("modules/again/source.wasm", fs::read(&wasm).unwrap())
        .file("modules/third/pyproject.toml", url)
        .file("modules/third/module.json", &manifest)
        .file("modules/third/source.wasm", fs::read(&wasm).unwrap());
    programs(&project, &[("python3", PYTHON)]);
    let gate: PathBuf = project.path().join("gate");
    mknodat(CWD, &gate, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    project.dir.write("stop", "cat \"$DIST_EXTRA_CONFIG\" > ../../settings; cat ../../gate");
    let start = |module: &str| -> Child {
        let log = fs::File::create(project.path().join(module)).unwrap();
        with_programs(&project, &["build", module]).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    };
    let mut first = start("made");
    eventually("the first one runs pip", || async { installs(&project).len() == 2 }).await;
    for module in ["again", "third"] {
        let mut second = start(module);
        let waits = format!("{module}: waiting for another process that installs packages\n");
        eventually("the second one waits", || async { project.read(module) == waits }).await;
        assert_eq!(installs(&project).len(), 2);
        second.start_kill().unwrap();
        second.wait().await.unwrap();
    }
    let settings = project.read("settings");
    let scratch = PathBuf::from(settings.lines().last().unwrap().strip_prefix("egg_base = ").unwrap());
    let expected = format!("[build]\nbuild_base = {0}/build\n[egg_info]\negg_base = {0}\n", scratch.display());
    assert!(settings == expected && scratch.is_dir() && !scratch.starts_with(project.path()), "{settings}");
    fs::remove_file(project.path().join("stop")).unwrap();
    fs::write(&gate, "").unwrap();
    assert!(first.wait().await.unwrap().success());
    assert!(!scratch.exists());
    let ran = build(&project).await;
    assert_eq!((ran.code, installs(&project).len()), (0, 5), "{}", ran.err);
}

#[tokio::test]
async fn missing_tools_are_named_once_before_the_other_modules_are_built() {
    let project = with_npm();
    let manifest = project.read("modules/made/module.json");
    let wasm = fs::read(project.path().join("modules/made/source.wasm")).unwrap();
    let plain: Value = serde_json::from_str(&manifest).unwrap();
    let mut plain = plain;
    plain["build"]["command"] = "cp source.wasm made.wasm".into();
    let project = project
        .file("modules/again/module.json", &manifest)
        .file("modules/again/package.json", r#"{ "dependencies": { "left": "1" } }"#)
        .file("modules/python/module.json", &manifest)
        .file("modules/python/requirements.txt", "left")
        .file("modules/plain/module.json", plain.to_string())
        .file("modules/plain/source.wasm", wasm);
    for tool in ["npm", "node", "python3"] {
        fs::remove_file(project.path().join("bin").join(tool)).unwrap();
    }
    programs(&project, &[("apt-get", "")]);
    let ran = build(&project).await;
    assert!(ran.code == 1 && ran.out.starts_with("plain: built in "), "{}{}", ran.out, ran.err);
    let lines: Vec<&str> = ran.err.lines().collect();
    let tools = [
        "these tools are missing:",
        "  Node.js 20 or later, for again, made",
        "  npm, for again, made",
        "  Python 3.11 or later, for python",
        "  Python 3 with venv and pip, for python",
    ];
    assert_eq!(lines[..5], tools);
    let run = lines[5].trim_start_matches("run: ").trim_start_matches("sudo ");
    assert_eq!(run, "apt-get install nodejs npm python3 python3-venv");
    assert_eq!(lines[6..], ["error: not built, because of the missing tools above: again, made, python"]);

    // A tool that builds need is named also after the packages were installed.
    programs(&project, &[("npm", NPM), ("node", "echo true"), ("python3", PYTHON)]);
    let one = || CommandOutput::of(with_programs(&project, &["build", "made"]));
    assert_eq!(one().await.code, 0);
    fs::remove_file(project.path().join("bin/node")).unwrap();
    let ran = one().await;
    let begins = "error: these tools are missing:\n  Node.js 20 or later, for made\nrun: ";
    assert!(ran.code == 1 && ran.err.starts_with(begins), "{}", ran.err);
}

#[tokio::test]
async fn packages_of_python_are_in_an_environment_of_the_module() {
    let project = with_command(".venv/bin/python -m left && cp source.wasm made.wasm", "made.wasm")
        .file("modules/made/requirements.txt", "left\n-r more.txt\n")
        .file("modules/made/more.txt", "right\n");
    programs(&project, &[("python3", PYTHON)]);
    let pip = "pip -m pip install --quiet --disable-pip-version-check --no-input -r requirements.txt";
    let ran = build(&project).await;
    assert_eq!(
        (ran.code, installs(&project)),
        (0, vec!["venv".into(), pip.into(), "pip -m left".into()]),
        "{}",
        ran.err
    );
    assert!(ran.err.starts_with("made: installing packages with pip ..\nmade: installed "), "{}", ran.err);
    assert_eq!((build(&project).await.code, installs(&project).len()), (0, 4));
    // Also a file that the first one names counts.
    project.dir.write("modules/made/more.txt", "right==2\n");
    assert_eq!(
        (build(&project).await.code, installs(&project)[4..].to_vec()),
        (0, vec![pip.into(), "pip -m left".into()])
    );
    // The Python of the environment was removed from the system.
    fs::remove_file(project.path().join("modules/made/.venv/bin/python")).unwrap();
    assert_eq!((build(&project).await.code, installs(&project)[6].as_str()), (0, "venv"));
}

#[tokio::test]
async fn the_compiler_of_an_sdk_is_installed_before_the_first_build() {
    let script = r#"#!/bin/sh
case $1 in
    --install)
        tools=${FANFARE_C_TOOLS:-${FANFARE_GO_TOOLS:-.tools}}
        mkdir -p $tools/bin; echo > $tools/bin/python; echo compiler >> ../installs ;;
    -o) cp source.wasm "$2" ;;
esac
"#;
    for (file, variable) in [("include/fanfare.h", "FANFARE_C_TOOLS"), ("fanfare.go", "FANFARE_GO_TOOLS")] {
        let project = with_command("../../sdk/build -o made.wasm", "made.wasm")
            .file(&format!("sdk/{file}"), "")
            .file("sdk/build", script);
        let manifest = project.read("modules/made/module.json");
        let wasm = fs::read(project.path().join("modules/made/source.wasm")).unwrap();
        let project = project.file("modules/again/module.json", manifest).file("modules/again/source.wasm", wasm);
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(project.path().join("sdk/build"), executable).unwrap();
        programs(&project, &[]);
        let ran = build(&project).await;
        let missing = "error: these tools are missing:\n  bash, for again, made: install it with the package manager of \
                       the system\n  Python 3 with venv and pip, for again, made: ";
        assert!(ran.code == 1 && ran.err.starts_with(missing), "{}", ran.err);
        programs(&project, &[("python3", PYTHON), ("bash", "")]);
        let ran = build(&project).await;
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.err.starts_with("again: installing the compiler and its tools with pip ..\n"), "{}", ran.err);
        assert_eq!((build(&project).await.code, installs(&project)), (0, vec!["compiler".to_owned()]));
        // Another version of the SDK may need another compiler.
        fs::write(project.path().join("sdk/build"), format!("{script}# newer")).unwrap();
        assert_eq!((build(&project).await.code, installs(&project).len()), (0, 2));
        // The compiler is in another folder for all projects.
        let mut elsewhere = with_programs(&project, &["build"]);
        elsewhere.env(variable, project.path().join("tools"));
        assert_eq!((CommandOutput::of(elsewhere).await.code, installs(&project).len()), (0, 3));
        assert!(project.path().join("tools/.fanfare-installed").exists());
        let mut settings = project.command(&["config"]);
        settings.env(variable, "tools").env("FANFARE_TOOLS", "tools");
        let warned = CommandOutput::of(settings).await;
        let known = format!("{variable}: matches no setting");
        assert!(warned.err.contains("FANFARE_TOOLS: matches") && !warned.err.contains(&known), "{}", warned.err);
    }
}

#[tokio::test]
async fn dev_installs_packages_when_their_list_is_saved() {
    let project = with_npm();
    let mut manifest: Value = serde_json::from_str(&project.read("modules/made/module.json")).unwrap();
    manifest["build"]["command"] = "test -e node_modules/left && cp source.wasm made.wasm".into();
    // The whole folder, with the component and the packages.
    manifest["build"]["watch"] = json!(["."]);
    let project = project.file("modules/made/module.json", manifest.to_string());
    let serving = project.start(with_programs(&project, &["dev"])).await;
    let log = || serving.log();
    assert!(log().starts_with("made: building\nmade: installing packages with npm ..\n"), "{}", log());
    let fails = r#"{ "dependencies": { "left": "file:../../left", "gone": "1" } }"#;
    project.dir.write("stop", "echo 'npm error code E404' >&2; exit 1");
    project.dir.write("modules/made/package.json", fails);
    let failed = "npm error code E404\nmade: packages were not installed, because npm install failed with exit status: 1: \
                  correct package.json as it says, then build again\nmade: the build failed, so the previous generation";
    eventually("the failure is printed", || async { log().contains(failed) }).await;
    fs::remove_file(project.path().join("stop")).unwrap();
    project.dir.write("modules/made/package.json", fails.replace("gone", "there"));
    let built = || log().matches("did not change the component").count();
    eventually("the module is built again", || async { built() == 1 }).await;
    // Neither what npm has written nor the component starts another build.
    project.dir.write("modules/made/node_modules/left/index.js", "changed");
    project.dir.write("modules/made/more.txt", "");
    eventually("the next save is built", || async { built() == 2 }).await;
    assert_eq!((log().matches("made: building").count(), installs(&project).len()), (4, 3), "{}", log());
    assert_eq!(serving.stop().await.0, Some(0));
}
