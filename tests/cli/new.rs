//! `fanfare new`: creates a module. `.ci/run` checks that the module builds and passes its tests,
//! because that takes long.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::Project;
use super::project::CommandOutput;
use crate::harness::not_run;

#[tokio::test]
async fn new_creates_a_module_that_waits_for_its_component() {
    let project = Project::none();
    let ran = project.run(&["new", "hello"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for line in [
        "created modules/hello: module.json, Cargo.toml, src/lib.rs, hello.test.json",
        "created modules/_sdk: the SDKs that all modules here use",
        "  fanfare build modules/hello",
        "  fanfare test modules/hello",
        "  curl http://127.0.0.1:8080/api/hello/Ada",
        "no fanfare.json is here or above, so the defaults are used: `fanfare init` makes this folder a project",
    ] {
        assert!(ran.out.lines().any(|printed| printed == line), "{line} in {}", ran.out);
    }
    let module = project.path().join("modules/hello");
    let mut files: Vec<_> = fs::read_dir(&module).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, [".gitignore", "Cargo.lock", "Cargo.toml", "hello.test.json", "module.json", "src"]);
    for file in ["module.json", "Cargo.toml", "hello.test.json", "src/lib.rs"] {
        assert!(!project.read(&format!("modules/hello/{file}")).contains("{{"), "{file} contains a placeholder");
    }
    let schema = "../_sdk/schema/module.schema.json";
    assert!(project.read("modules/hello/module.json").contains(schema) && module.join(schema).is_file());
    assert!(module.join("../_sdk/fanfare-sdk/src/lib.rs").is_file());

    let cargo = project.read("modules/.cargo/config.toml");
    assert!(cargo.ends_with("[build]\nbuild-dir = \"../.fanfare/build\"\n"), "{cargo}");
    let mode = fs::metadata(project.path().join(".fanfare/build")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "the host refuses a folder that others can write to");

    let check = project.run(&["check"]).await;
    assert_eq!(check.code, 1, "{}", check.out);
    let missing = "modules/hello/target/wasm32-wasip2/release/hello.wasm does not exist: run `fanfare build hello`\n";
    assert!(check.out.contains(missing), "{}", check.out);
    assert!(check.out.contains("1 module checked, 1 fault\n"), "the SDK does not count as a module: {}", check.out);
    let test = project.run(&["test", "modules/hello"]).await;
    assert!(test.err.contains("hello.wasm does not exist yet; run `fanfare build modules/hello`"), "{}", test.err);

    fs::write(project.path().join("modules/.cargo/config.toml"), "# mine").unwrap();
    let second = project.run(&["new", "test"]).await;
    assert_eq!(second.code, 0, "{}", second.err);
    assert!(!second.out.contains("_sdk"), "the SDK exists already: {}", second.out);
    assert_eq!(project.read("modules/.cargo/config.toml"), "# mine");
    assert!(project.read("modules/test/Cargo.toml").contains("name = \"test-module\""));
    assert!(project.read("modules/test/module.json").contains("release/test_module.wasm"));
}

#[tokio::test]
async fn new_uses_modules_dir_and_the_sdk_of_a_checkout() {
    let project = Project::with(&[]).config(json!({ "modulesDir": "mods", "http": { "listen": "127.0.0.1:7" } }));
    let ran = project.run(&["new", "hello"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("curl http://127.0.0.1:7/api/hello/Ada"), "{}", ran.out);
    assert!(project.path().join("mods/hello/module.json").is_file() && project.path().join("mods/_sdk").is_dir());

    let checkout = Project::with(&[])
        .file("sdk/rust/fanfare-sdk/Cargo.toml", "")
        .file("wit/worlds.wit", "")
        .file("schema/test.schema.json", "{}");
    assert_eq!(checkout.run(&["new", "hello"]).await.code, 0);
    assert!(checkout.read("modules/hello/Cargo.toml").contains("path = \"../../sdk/rust/fanfare-sdk\""));
    assert!(checkout.read("modules/hello/module.json").contains("\"../../schema/module.schema.json\""));
    assert!(!checkout.path().join("modules/_sdk").exists() && !checkout.path().join("modules/.cargo").exists());
}

#[tokio::test]
async fn new_refuses_invalid_and_existing_names_and_writes_nothing() {
    let project = Project::with(&["echo"]).file("modules/_sdk/mine", "").file("modules/file", "");
    for (name, why) in [
        ("Hello", "\"Hello\" is not a module name: a lower case letter followed by"),
        ("../out", "\"../out\" is not a module name"),
        ("", "\"\" is not a module name"),
        ("echo", "modules/echo already exists; choose another name or remove it"),
        ("file", "modules/file already exists"),
        ("hello", "modules/_sdk exists, but `fanfare new` did not write it"),
    ] {
        let ran = project.run(&["new", name]).await;
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{name}");
        assert!(ran.err.contains(why), "{why}: {}", ran.err);
    }
    let inside = project.run_in("modules/echo", &["new", "hello"]).await;
    assert!(inside.code == 1 && inside.err.contains("_sdk exists, but"), "the project above counts: {}", inside.err);
    let alone = Project::none().file("alone/module.json", "{}");
    let ran = alone.run_in("alone", &["new", "hello"]).await;
    let why = "this is the folder of a module without a project; run the command in the folder of a project";
    assert!(ran.code == 1 && ran.err.contains(why), "{}", ran.err);
    let mut left: Vec<_> =
        fs::read_dir(project.path().join("modules")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["_sdk", "echo", "file"]);
}

#[tokio::test]
async fn new_refuses_languages_and_templates_that_do_not_exist() {
    let project = Project::none();
    for (args, code, why) in [
        (["--lang", "lua"], 2, "[possible values: rust, js, ts, python, c, zig, go]"),
        (["--template", "grpc"], 2, "[possible values: http, broadcast, sse, chat-filter, wasi-http]"),
    ] {
        let ran = project.run(&[&["new", "hello"][..], &args].concat()).await;
        assert!(ran.code == code && ran.err.contains(why), "{}", ran.err);
    }
    for language in ["c", "ts", "zig", "go"] {
        let ran = project.run(&["new", "hello", "--lang", language, "--template", "wasi-http"]).await;
        let why = format!(
            "error: there is no template wasi-http in {language}: {language} has http, broadcast, sse, chat-filter, and \
             wasi-http exists in rust, js, python\n"
        );
        assert_eq!((ran.code, ran.err), (1, why));
    }
    assert_eq!(fs::read_dir(project.path()).unwrap().count(), 0, "nothing was written");
}

#[tokio::test]
async fn new_asks_for_the_language_on_a_terminal() {
    if std::process::Command::new("script").arg("--version").output().is_err() {
        return not_run("script: install util-linux");
    }
    let answer = async |line: &str, lang: &str| {
        let project = Project::none();
        // `script` gives the program a terminal, and passes the line on.
        let script = r#"printf "$LINE\\n" | PROGRAM="$1" script -qec '"$PROGRAM" new hello' /dev/null"#;
        let mut shell = project.shell(script, &[]);
        shell.env("LINE", line);
        if !lang.is_empty() {
            shell.env("FANFARE_LANG", lang);
        }
        (CommandOutput::of(shell).await.out, project)
    };
    let (asked, project) = answer("js", "").await;
    assert!(asked.contains("language (rust, js, ts, python, c, zig, go) [rust]: "), "{asked}");
    assert!(project.path().join("modules/hello/hello.js").is_file(), "{asked}");
    let (asked, project) = answer("", "").await;
    assert!(project.path().join("modules/hello/src/lib.rs").is_file(), "{asked}");
    let (asked, project) = answer("lua", "").await;
    assert!(asked.contains("`lua` is not a language of `fanfare new`; choose one of rust, js, "), "{asked}");
    assert!(!project.path().join("modules").exists());
    let (asked, project) = answer("js", "c").await;
    assert!(!asked.contains("language (") && project.path().join("modules/hello/hello.c").is_file(), "{asked}");
}

#[tokio::test]
async fn new_names_the_tools_that_a_language_lacks() {
    let project = Project::none().file("bin/none", "");
    for (language, missing) in [
        ("rust", "Rust lacks tools here: "),
        ("ts", "JavaScript lacks tools here: Node.js 20 or later: install it from https://nodejs.org; npm: "),
        ("python", "Python lacks tools here: Python 3.11 or later: install it from https://www.python.org; "),
        (
            "c",
            "C lacks tools here: bash: install it with the package manager of the system; Python 3 with venv and pip: ",
        ),
        ("zig", "Zig lacks tools here: bash: install it with the package manager of the system; Python 3 with venv "),
        ("go", "Go lacks tools here: bash: install it with the package manager of the system; Python 3 with venv "),
    ] {
        let mut command = project.command(&["new", &format!("in-{language}"), "--lang", language]);
        command.env("PATH", project.path().join("bin"));
        let ran = CommandOutput::of(command).await;
        assert!(ran.code == 0 && ran.out.lines().any(|line| line.starts_with(missing)), "{}{}", ran.out, ran.err);
    }
}
