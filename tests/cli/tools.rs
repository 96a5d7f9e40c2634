//! `init`, `wit`, `completions`, `man` and `--color`.

use std::fs;

use super::Project;
use super::project::CommandOutput;
use crate::harness::not_run;

#[tokio::test]
async fn a_module_can_be_created_in_a_project_of_init() {
    let project = Project::none();
    let ran = project.run(&["init", "app"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let expected = "created app/fanfare.json\ncreated app/modules/\ncreated app/.gitignore with .fanfare/ and secrets/\n\nnext:\n  \
                    cd app\n  fanfare new hello\n  fanfare dev\n";
    assert_eq!(ran.out, expected);
    assert_eq!(project.run_in("app", &["check"]).await.out, "0 modules checked, no faults\n");
    let new = project.run_in("app/modules", &["new", "hello"]).await;
    assert_eq!(new.code, 0, "{}", new.err);
    assert!(project.path().join("app/modules/hello/module.json").is_file());
    assert_eq!(project.run_in("app", &["init"]).await.out, "this folder is a project already\n");
}

#[tokio::test]
async fn wit_writes_the_contract_beside_a_module() {
    let project = Project::none();
    let ran = project.run(&["wit"]).await;
    let expected = "wrote the contract fanfare:module@0.1.0 to wit/deps/fanfare-module\n";
    assert_eq!((ran.code, ran.out.as_str()), (0, expected), "{}", ran.err);
    assert_eq!(project.read("wit/deps/fanfare-module/types.wit"), include_str!("../../wit/types.wit"));
    let project = project.file("wit/deps/fanfare-module/types.wit", "mine");
    let refused = project.run(&["wit"]).await;
    assert!(refused.code == 1 && refused.err.contains("wit/deps/fanfare-module/types.wit"), "{}", refused.err);
    assert_eq!(project.read("wit/deps/fanfare-module/types.wit"), "mine");
    let forced = project.run(&["wit", "--force"]).await;
    assert!(forced.out.ends_with("\nreplaced: wit/deps/fanfare-module/types.wit\n"), "{}", forced.out);
}

#[tokio::test]
async fn completions_are_scripts_that_name_the_commands() {
    let project = Project::none();
    for (shell, words) in
        [("bash", "complete -F _fanfare"), ("zsh", "#compdef fanfare"), ("fish", "complete -c fanfare")]
    {
        let ran = project.run(&["completions", shell]).await;
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{shell}");
        assert!(ran.out.contains(words) && ran.out.contains("rollback"), "{shell}: {}", ran.out);
    }
    fs::write(project.path().join("script"), project.run(&["completions", "bash"]).await.out).unwrap();
    let syntax = std::process::Command::new("bash").arg("-n").arg(project.path().join("script")).status().unwrap();
    assert!(syntax.success());
    assert_eq!(project.run(&["completions", "csh"]).await.code, 2);
}

#[tokio::test]
async fn man_prints_a_page_or_writes_all() {
    let project = Project::none();
    let ran = project.run(&["man"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains(".TH fanfare 1") && ran.out.contains(".SH EXIT STATUS"), "{}", ran.out);
    let ran = project.run(&["man", "pages"]).await;
    assert_eq!(ran.out, "wrote the manual to pages: see `man -l pages/fanfare.1`\n");
    for page in ["fanfare.1", "fanfare-serve.1", "fanfare-events-serve.1"] {
        assert!(project.path().join("pages").join(page).is_file(), "{page}");
    }
    assert!(
        project
            .run(&["--help"])
            .await
            .out
            .ends_with("Exit codes: 0 success, 1 failure, 2 wrong command line (see `fanfare man | man -l -`)\n")
    );
}

#[tokio::test]
async fn color_decides_about_help_and_errors() {
    let project = Project::none();
    for (args, variable, coloured) in [
        (&["--help"][..], None, false),
        (&["--help", "--color=always"], None, true),
        (&["--color", "never", "--help"], None, false),
        (&["--help"], Some("always"), true),
    ] {
        let mut command = project.command(args);
        command.env_remove("NO_COLOR");
        if let Some(variable) = variable {
            command.env("FANFARE_COLOR", variable);
        }
        let ran = CommandOutput::of(command).await;
        assert_eq!((ran.code, ran.out.contains('\u{1b}')), (0, coloured), "{args:?} {variable:?}");
    }
    let error = project.run(&["sevre", "--color=always"]).await;
    assert!(error.code == 2 && error.err.contains('\u{1b}'), "{}", error.err);
    assert_eq!(project.run(&["config", "--color=red"]).await.code, 2);
}

#[tokio::test]
async fn commands_list_only_flags_that_have_an_effect() {
    let project = Project::none();
    for command in ["build", "new", "grant", "inspect"] {
        let help = project.run(&[command, "--help"]).await.out;
        assert!(help.contains("--config"), "{help}");
        for flag in ["--listen", "--admin", "--workers"] {
            assert!(!help.contains(flag), "{command} {flag}");
        }
        assert_eq!(project.run(&[command, "x", "--listen=:1"]).await.code, 2, "{command}");
    }
}

#[tokio::test]
async fn no_color_applies_to_the_log_of_a_terminal() {
    let log = async |set: &str| {
        let project = Project::with(&["echo"]);
        // `script` gives the program a terminal. `--strict` ends it, because the module is refused.
        let project = project.file("modules/echo/module.json", "{");
        let mut shell =
            project.shell(r#"PROGRAM="$1" exec script -qec 'env $SET "$PROGRAM" serve --strict' /dev/null"#, &[]);
        shell.env("SET", set).env_remove("NO_COLOR");
        CommandOutput::of(shell).await.out
    };
    if std::process::Command::new("script").arg("--version").output().is_err() {
        return not_run("script: install util-linux");
    }
    let level = |out: &str| out.lines().find(|line| line.contains("module rejected")).unwrap_or_default().to_owned();
    let (plain, coloured) = (level(&log("NO_COLOR=1").await), level(&log("NO_COLOR=").await));
    assert!(plain.contains("ERROR") && !plain.contains("\u{1b}[3"), "{plain:?}");
    assert!(coloured.contains("\u{1b}[31mERROR"), "{coloured:?}");
    assert!(!level(&log("FANFARE_COLOR=never").await).contains("\u{1b}[3"));
}
