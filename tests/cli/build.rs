//! `fanfare build`: runs `build.command` and checks the component.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value, json};

use super::Project;
use super::project::CommandOutput;
use crate::harness::source_of;

/// A project whose module `made` builds the component of `echo` with a command.
pub(super) fn with_command(command: &str, component: &str) -> Project {
    let manifest: Value = serde_json::from_slice(&fs::read(source_of("echo").join("module.json")).unwrap()).unwrap();
    let mut manifest = manifest;
    manifest["component"] = component.into();
    manifest["build"] = json!({ "command": command });
    Project::with(&[])
        .file("modules/made/module.json", manifest.to_string())
        .file("modules/made/source.wasm", fs::read(source_of("echo").join("echo.wasm")).unwrap())
}

#[tokio::test]
async fn a_build_runs_in_the_folder_of_the_module_and_checks_the_component() {
    let project = with_command("mkdir -p out && cp source.wasm out/made.wasm && echo said", "out/made.wasm");
    let ran = project.run(&["build", "modules/made"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[0], "said", "the output of the command is printed");
    assert!(
        lines[1].starts_with("made: built in ") && lines[1].contains("modules/made/out/made.wasm, "),
        "{}",
        ran.out
    );
}

#[tokio::test]
async fn a_failed_build_exits_with_1_and_ends_with_the_reason() {
    for (command, component, why) in [
        ("echo first; exit 7", "made.wasm", "made: `echo first; exit 7` failed with exit status: 7"),
        ("no-such-program", "made.wasm", "127: the shell did not find a program; install it"),
        (
            "true",
            "gone.wasm",
            "`true` did not create modules/made/gone.wasm; set `component` to the file that it creates; its folder has modules/made/source.wasm",
        ),
        (
            "printf '\\0asm\\1\\0\\0\\0' > core.wasm",
            "core.wasm",
            "core module, not a component: build it for wasm32-wasip2",
        ),
    ] {
        let project = with_command(command, component);
        let ran = project.run(&["build", "modules/made"]).await;
        let last = ran.err.lines().last().unwrap_or_default();
        assert!(ran.code == 1 && last.contains(why), "{why}: {}", ran.err);
    }
    let ran = with_command("true", "source.wasm").run(&["build", "modules/none"]).await;
    assert!(
        ran.code == 1 && ran.err.contains("modules/none: neither a folder nor the name of a module"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn build_warns_about_capabilities_that_are_not_granted() {
    let project = with_command("cp source.wasm made.wasm", "made.wasm");
    let mut manifest: Value = serde_json::from_str(&project.read("modules/made/module.json")).unwrap();
    manifest["capabilities"] = json!({ "rpc": ["flags"] });
    fs::write(project.path().join("modules/made/module.json"), manifest.to_string()).unwrap();
    let ran = project.run(&["build", "made"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let warning = "warning: modules/made/module.json:1:";
    assert!(ran.err.contains(warning) && ran.err.contains("run `fanfare grant made`"), "{}", ran.err);
    assert!(ran.out.starts_with("made: built in "), "{}", ran.out);

    let listed = project.run(&["grant"]).await;
    assert_eq!((listed.code, listed.err.as_str()), (1, ""));
    assert_eq!(listed.out, "asked for, and not granted:\nmade: rpc: flags; run `fanfare grant made`\n");
    let json = project.run(&["grant", "--json"]).await.json();
    assert_eq!((&json[0]["module"], &json[0]["missing"]["rpc"]), (&json!("made"), &json!(["flags"])), "{json}");
    assert_eq!(project.run(&["grant", "--yes"]).await.code, 2, "only one module is granted at a time");
    assert_eq!(project.run(&["grant", "modules/made", "--yes"]).await.code, 0);
    let none = project.run(&["grant"]).await;
    assert_eq!((none.code, none.out.as_str()), (0, "every capability that a module asks for is granted\n"));
    assert!(!project.run(&["build", "made"]).await.err.contains("warning"));
}

#[tokio::test]
async fn build_without_an_argument_builds_every_module_with_a_command() {
    let project = with_command("cp source.wasm made.wasm", "made.wasm")
        .file("modules/fails/module.json", r#"{ "component": "a.wasm", "build": { "command": "exit 3" } }"#)
        .file("modules/other/module.json", r#"{ "component": "a.wasm" }"#);
    let ran = project.run(&["build"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.out.starts_with("made: built in "), "a failed build does not stop the others: {}", ran.out);
    assert_eq!(ran.err, "error: fails: `exit 3` failed with exit status: 3\n");

    let ran = project.run(&["build", "modules/other"]).await;
    assert!(
        ran.code == 1
            && ran.err.contains("modules/other/module.json: build.command is missing; add \"build\": { \"command\":"),
        "{}",
        ran.err
    );
    let none = Project::with(&["echo"]).run(&["build"]).await;
    assert!(none.code == 1 && none.err.contains("no module here has a build.command"), "{}", none.err);
}

/// Puts scripts in the place of programs that builds use.
pub(super) fn programs(project: &Project, scripts: &[(&str, &str)]) {
    let bin = project.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    for (name, script) in scripts {
        fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for tool in ["sh", "cp", "mkdir", "cat", "rm"] {
        let found = std::env::var("PATH").unwrap();
        let found = found.split(':').map(|dir| Path::new(dir).join(tool)).find(|path| path.exists()).unwrap();
        let _ = symlink(found, bin.join(tool));
    }
}

async fn build_with_programs(project: &Project) -> CommandOutput {
    let mut command = project.command(&["build", "modules/made"]);
    command.env("PATH", project.path().join("bin")).env_remove("RUSTUP_TOOLCHAIN");
    CommandOutput::of(command).await
}

const CARGO: &str = r#"case $1 in
    --version) echo cargo 1 ;;
    metadata) cat "$PWD/metadata.json" ;;
    build)
        echo "toolchain ${RUSTUP_TOOLCHAIN-none}"
        mkdir -p target/wasm32-wasip2/release
        cp source.wasm target/wasm32-wasip2/release/made_here.wasm
        echo "built in ${CARGO_BUILD_BUILD_DIR-its own folder}" ;;
esac"#;

/// Replaces cargo and rustc for the module `made`. `build_dir` is where cargo would build it.
fn with_cargo(project: &Project, build_dir: &Path) {
    let root = project.path();
    let module = root.join("modules/made");
    let manifest = module.join("Cargo.toml");
    let targets = json!([{ "name": "made-here", "crate_types": ["cdylib"] }]);
    let packages = json!([{ "manifest_path": manifest, "targets": targets }]);
    let metadata = json!({
        "target_directory": module.join("target"),
        "build_directory": build_dir,
        "packages": packages,
    });
    fs::write(&manifest, "").unwrap();
    fs::write(module.join("metadata.json"), metadata.to_string()).unwrap();
    fs::create_dir_all(root.join("lib")).unwrap();
    fs::write(root.join("lib/libcore-1.rlib"), "").unwrap();
    programs(project, &[("cargo", CARGO), ("rustc", &libraries(root.join("lib").to_str().unwrap()))]);
}

/// A `rustc` that names `dir` as the folder of the target's libraries.
fn libraries(dir: &str) -> String {
    format!("echo {dir}")
}

#[tokio::test]
async fn a_component_outside_target_is_replaced_by_rename_if_it_differs() {
    let project = with_command("cargo build --release --target wasm32-wasip2", "made.wasm");
    let module = project.path().join("modules/made");
    with_cargo(&project, &module.join("target"));
    fs::write(module.join("made.wasm"), "an older one").unwrap();
    let place = |file: &str| fs::metadata(module.join(file)).unwrap().ino();
    let older = place("made.wasm");
    let ran = build_with_programs(&project).await;
    assert_eq!((ran.code, ran.out.lines().next()), (0, Some("toolchain none")), "{}", ran.err);
    assert_eq!(fs::read(module.join("made.wasm")).unwrap(), fs::read(module.join("source.wasm")).unwrap());
    let newer = place("made.wasm");
    assert_ne!(newer, older, "the component is replaced by rename");
    assert_eq!(build_with_programs(&project).await.code, 0);
    assert_eq!(place("made.wasm"), newer, "an equal component stays in place");
    let left: Vec<_> = fs::read_dir(&module).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!left.iter().any(|path| path.extension().is_some_and(|extension| extension == "tmp")), "{left:?}");
}

#[tokio::test]
async fn modules_share_what_cargo_builds_unless_cargo_has_a_folder_for_it() {
    let component = "target/wasm32-wasip2/release/made_here.wasm";
    let project = with_command("cargo build --release --target wasm32-wasip2", component).own_state();
    let root = project.path().to_owned();
    let shared = root.join(".fanfare/build");
    with_cargo(&project, &root.join("modules/made/target"));
    let ran = build_with_programs(&project).await;
    assert!(ran.code == 0 && ran.out.contains(&format!("built in {}\n", shared.display())), "{}{}", ran.out, ran.err);
    let mode = fs::metadata(root.join(".fanfare")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);

    // That of the settings that `fanfare new` writes.
    with_cargo(&project, &root.join("modules/../.fanfare/build"));
    fs::remove_dir_all(root.join(".fanfare")).unwrap();
    let ran = build_with_programs(&project).await;
    assert!(ran.code == 0 && ran.out.contains(&format!("built in {}\n", shared.display())), "{}{}", ran.out, ran.err);
    assert_eq!(fs::metadata(root.join(".fanfare")).unwrap().permissions().mode() & 0o777, 0o700);

    // That of a workspace, of cargo's settings, or of a variable.
    with_cargo(&project, &root.join("target"));
    let ran = build_with_programs(&project).await;
    assert!(ran.code == 0 && ran.out.contains("built in its own folder\n"), "{}{}", ran.out, ran.err);
}

#[tokio::test]
async fn build_uses_a_toolchain_with_the_target_or_says_what_to_install() {
    let project =
        with_command("cargo build --release --target wasm32-wasip2", "target/wasm32-wasip2/release/made_here.wasm");
    let root = project.path().to_owned();
    let (empty, full) = (root.join("empty"), root.join("full"));
    fs::create_dir(&empty).unwrap();
    fs::create_dir(&full).unwrap();
    fs::write(full.join("libcore-1.rlib"), "").unwrap();

    programs(&project, &[]);
    let ran = build_with_programs(&project).await;
    assert!(ran.code == 1 && ran.err.contains("\n  cargo, for made: install Rust with rustup (https"), "{}", ran.err);

    // `metadata` with a target needs the compiler.
    let cargo =
        |code: &str| CARGO.replace("metadata)", &format!("metadata) [ \"$5\" = --filter-platform ] && exit {code};"));
    programs(&project, &[("cargo", &cargo("101"))]);
    let ran = build_with_programs(&project).await;
    let remedy =
        "\n  rustc, for made: install Rust with rustup (https://rustup.rs), then run `rustup target add wasm32-wasip2`";
    assert!(ran.code == 1 && ran.err.contains(remedy), "{}", ran.err);
    // The cargo of rustup knows its rustc, which is not in PATH.
    programs(&project, &[("cargo", &cargo("0"))]);
    let ran = build_with_programs(&project).await;
    assert!(ran.out.starts_with("toolchain "), "{}{}", ran.out, ran.err);

    programs(&project, &[("cargo", CARGO), ("rustc", &libraries(empty.to_str().unwrap()))]);
    let ran = build_with_programs(&project).await;
    assert!(
        ran.code == 1 && ran.err.contains("\n  the target wasm32-wasip2 of Rust, for made: install Rust with rustup"),
        "{}",
        ran.err
    );

    let rustup = |dir: &Path| {
        format!(
            "case $1 in toolchain) echo 'stable (default)'; echo other ;; run) [ $2 = other ] && echo {} ;; esac",
            dir.display()
        )
    };
    programs(&project, &[("rustup", &rustup(&empty))]);
    let ran = build_with_programs(&project).await;
    assert!(
        ran.code == 1 && ran.err.contains("of Rust, for made: run `rustup target add wasm32-wasip2`"),
        "{}",
        ran.err
    );

    programs(&project, &[("rustup", &rustup(&full))]);
    let ran = build_with_programs(&project).await;
    assert_eq!((ran.code, ran.out.lines().next()), (0, Some("toolchain other")), "{}", ran.err);
    assert!(ran.err.contains("made: building with the toolchain other"), "{}", ran.err);
}
