//! The modules of `fanfare new` in each language. `.ci/run` tries those in Rust and in Python,
//! whose builds take long.

use std::fs;
use std::os::unix::fs::symlink;

use tokio::process::Command;

use super::Project;
use super::project::CommandOutput;
use crate::harness::{not_run, root};

const TEMPLATES: [&str; 4] = ["http", "broadcast", "sse", "chat-filter"];

/// Creates a module, named after its language and its template.
async fn new(project: &Project, language: &str, template: &str) -> String {
    let name = format!("{language}-{template}");
    let ran = project.run(&["new", &name, "--lang", language, "--template", template]).await;
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    name
}

/// Runs a shell command in the folder of a module, where `prepare` may set variables.
async fn shell(project: &Project, module: &str, command: &str, prepare: impl FnOnce(&mut Command)) -> CommandOutput {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(project.path().join("modules").join(module));
    prepare(&mut shell);
    let ran = CommandOutput::of(shell).await;
    assert_eq!(ran.code, 0, "{module}: {command}: {}{}", ran.out, ran.err);
    ran
}

/// Builds a module and runs its cases.
async fn build_and_test(project: &Project, module: &str, prepare: impl FnOnce(&mut Command)) {
    let mut build = project.command(&["build", module]);
    prepare(&mut build);
    let built = CommandOutput::of(build).await;
    assert_eq!(built.code, 0, "{}{}", built.out, built.err);
    let tested = project.run(&["test", module]).await;
    assert!(tested.code == 0 && tested.out.contains(" cases, 0 failed"), "{}{}", tested.out, tested.err);
}

#[tokio::test]
async fn every_template_lacks_only_its_component() {
    let project = Project::with(&[]);
    let mut count = 0;
    for language in ["rust", "js", "ts", "python", "c", "zig", "go"] {
        for template in TEMPLATES {
            new(&project, language, template).await;
            count += 1;
        }
    }
    for language in ["rust", "js", "python"] {
        new(&project, language, "wasi-http").await;
        count += 1;
    }
    let checked = project.run(&["check", "--json"]).await.json();
    let faults = checked["faults"].as_array().unwrap();
    for fault in faults {
        let text = fault["message"].as_str().unwrap();
        assert!(text.contains(" does not exist") || text.contains("run `fanfare build "), "{fault}");
    }
    assert_eq!((checked["modules"].as_array().unwrap().len(), faults.len()), (count, count), "{checked:#}");
    for entry in fs::read_dir(project.path().join("modules")).unwrap() {
        let module = entry.unwrap().path();
        for file in fs::read_dir(&module).unwrap().map(|file| file.unwrap().path()) {
            if !module.ends_with("_sdk") && file.is_file() {
                assert!(!fs::read_to_string(&file).unwrap().contains("{{"), "{} has a placeholder", file.display());
            }
        }
    }
}

#[tokio::test]
async fn a_module_in_a_checkout_uses_its_sdk() {
    let checkout = Project::with(&[])
        .file("sdk/rust/fanfare-sdk/Cargo.toml", "")
        .file("wit/worlds.wit", "")
        .file("schema/test.schema.json", "{}");
    for (language, file, text) in [
        ("js", "package.json", "\"fanfare\": \"file:../../sdk/js\""),
        ("python", "requirements.txt", "../../sdk/python[build]\n"),
        ("c", "module.json", "\"command\": \"../../sdk/c/build -o c-sse.wasm c-sse.c\""),
        ("zig", "module.json", "\"command\": \"../../sdk/c/build -o zig-sse.wasm zig-sse.zig\""),
        ("go", "go.mod", "replace fanfare => ../../sdk/go\n"),
    ] {
        let module = new(&checkout, language, "sse").await;
        assert!(checkout.read(&format!("modules/{module}/{file}")).contains(text), "{file}");
    }
    let command = "\"command\": \"../../sdk/go/build -o go-sse.wasm\"";
    assert!(checkout.read("modules/go-sse/module.json").contains(command));
    assert!(!checkout.path().join("modules/_sdk").exists());
}

#[tokio::test]
async fn reserved_names_give_files_that_the_language_accepts() {
    let project = Project::with(&[]);
    for (name, language, source, component) in [
        ("class", "python", "class_module.py", "class_module.wasm"),
        ("json", "python", "json_module.py", "json_module.wasm"),
        ("fanfare", "python", "fanfare_module.py", "fanfare_module.wasm"),
        ("my-own", "python", "my_own.py", "my_own.wasm"),
        ("import", "js", "import.js", "import.wasm"),
        ("tests", "c", "tests-module.c", "tests-module.wasm"),
        ("std", "zig", "std.zig", "std.wasm"),
        ("fmt", "go", "main.go", "fmt.wasm"),
    ] {
        assert_eq!(project.run(&["new", name, "--lang", language]).await.code, 0, "{name}");
        assert!(project.path().join("modules").join(name).join(source).is_file(), "{name}");
        let manifest = project.read(&format!("modules/{name}/module.json"));
        assert!(manifest.contains(&format!("\"component\": \"{component}\"")), "{manifest}");
    }
}

/// The first build of each would install the compiler.
#[tokio::test]
async fn a_build_names_the_tools_that_install_the_compilers_of_the_sdks() {
    let project = Project::with(&[]).file("bin/none", "");
    for language in ["c", "zig", "go"] {
        new(&project, language, "sse").await;
    }
    let mut build = project.command(&["build"]);
    build.env("PATH", project.path().join("bin"));
    let built = CommandOutput::of(build).await;
    let missing = "error: these tools are missing:\n  bash, for c-sse, go-sse, zig-sse: ";
    assert!(built.code == 1 && built.err.starts_with(missing), "{}", built.err);
}

/// Lets a module use the SDK that `fanfare new` has written, as `npm install` would, with the
/// packages of the checkout. Returns false if they are not installed.
fn install_packages(project: &Project, module: &str) -> bool {
    let installed = root().join("sdk/js/node_modules");
    if !installed.join("typescript").exists() {
        not_run("JavaScript: run `npm ci` in sdk/js");
        return false;
    }
    let sdk = project.path().join("modules/_sdk/js");
    if !sdk.join("node_modules").exists() {
        symlink(&installed, sdk.join("node_modules")).unwrap();
    }
    let folder = project.path().join("modules").join(module);
    // With the lock file of another package manager, a module installs its packages itself.
    fs::write(folder.join("yarn.lock"), "").unwrap();
    let packages = folder.join("node_modules");
    fs::create_dir_all(packages.join(".bin")).unwrap();
    symlink(&sdk, packages.join("fanfare")).unwrap();
    symlink(sdk.join("bin/fanfare-js.js"), packages.join(".bin/fanfare-js")).unwrap();
    symlink(installed.join("typescript/bin/tsc"), packages.join(".bin/tsc")).unwrap();
    true
}

async fn passes_in_javascript(template: &str) {
    let project = Project::with(&[]).own_state();
    let module = new(&project, "js", template).await;
    if install_packages(&project, &module) {
        shell(&project, &module, "npm test", |_| ()).await;
        build_and_test(&project, &module, |_| ()).await;
    }
}

#[tokio::test]
async fn http_in_javascript_passes_its_tests() {
    passes_in_javascript("http").await;
}

#[tokio::test]
async fn broadcast_in_javascript_passes_its_tests() {
    passes_in_javascript("broadcast").await;
}

#[tokio::test]
async fn sse_in_javascript_passes_its_tests() {
    passes_in_javascript("sse").await;
}

#[tokio::test]
async fn chat_filter_in_javascript_passes_its_tests() {
    passes_in_javascript("chat-filter").await;
}

#[tokio::test]
async fn templates_in_typescript_have_no_errors_of_types_and_pass_their_tests() {
    let project = Project::with(&[]).own_state();
    for template in TEMPLATES {
        let module = new(&project, "ts", template).await;
        if !install_packages(&project, &module) {
            return;
        }
        shell(&project, &module, "npx tsc && npm test", |_| ()).await;
    }
}

#[tokio::test]
async fn a_module_in_typescript_builds_unless_its_types_are_wrong() {
    let project = Project::with(&[]).own_state();
    let module = new(&project, "ts", "http").await;
    if !install_packages(&project, &module) {
        return;
    }
    build_and_test(&project, &module, |_| ()).await;
    let source = project.read("modules/ts-http/ts-http.ts").replacen("params.name", "params.name.size", 1);
    let project = project.file("modules/ts-http/ts-http.ts", source);
    let ran = project.run(&["build", "ts-http"]).await;
    assert!(ran.code == 1 && ran.out.contains("Property 'size' does not exist"), "{}{}", ran.out, ran.err);
}

#[tokio::test]
async fn templates_in_python_pass_their_unit_tests() {
    let project = Project::with(&[]);
    for template in TEMPLATES {
        let module = new(&project, "python", template).await;
        let sdk = project.path().join("modules/_sdk/python");
        shell(&project, &module, "python3 -m unittest", |shell| _ = shell.env("PYTHONPATH", sdk)).await;
    }
}

async fn passes_in_c(template: &str) {
    let tools = root().join("target/languages-tools/c");
    if !tools.join("bin/wasm-tools").exists() {
        return not_run("C: run tests/guests/languages/build c-sdk");
    }
    let project = Project::with(&[]).own_state();
    let module = new(&project, "c", template).await;
    let sources = if template == "http" { format!("{module}.c buckets.c") } else { format!("{module}.c") };
    shell(&project, &module, &format!("../_sdk/c/test tests.c {sources}"), |_| ()).await;
    build_and_test(&project, &module, |build| _ = build.env("FANFARE_C_TOOLS", &tools)).await;
}

#[tokio::test]
async fn http_in_c_passes_its_tests() {
    passes_in_c("http").await;
}

#[tokio::test]
async fn broadcast_in_c_passes_its_tests() {
    passes_in_c("broadcast").await;
}

#[tokio::test]
async fn sse_in_c_passes_its_tests() {
    passes_in_c("sse").await;
}

#[tokio::test]
async fn chat_filter_in_c_passes_its_tests() {
    passes_in_c("chat-filter").await;
}

/// Builds and tests a module in a language whose compiler the SDK installs, with the one that
/// `tests/guests/languages/build` has installed.
async fn passes_with(language: &str, sdk: &str, template: &str) {
    let tools = root().join("target/languages-tools").join(sdk);
    if !tools.join("bin/wasm-tools").exists() {
        return not_run(&format!("{language}: run tests/guests/languages/build {sdk}-sdk"));
    }
    let project = Project::with(&[]).own_state();
    let module = new(&project, language, template).await;
    let variable = format!("FANFARE_{}_TOOLS", sdk.to_uppercase());
    build_and_test(&project, &module, |build| _ = build.env(variable, &tools)).await;
}

#[tokio::test]
async fn http_in_zig_passes_its_tests() {
    passes_with("zig", "c", "http").await;
}

#[tokio::test]
async fn broadcast_in_zig_passes_its_tests() {
    passes_with("zig", "c", "broadcast").await;
}

#[tokio::test]
async fn sse_in_zig_passes_its_tests() {
    passes_with("zig", "c", "sse").await;
}

#[tokio::test]
async fn chat_filter_in_zig_passes_its_tests() {
    passes_with("zig", "c", "chat-filter").await;
}

#[tokio::test]
async fn http_in_go_passes_its_tests() {
    passes_with("go", "go", "http").await;
}

#[tokio::test]
async fn broadcast_in_go_passes_its_tests() {
    passes_with("go", "go", "broadcast").await;
}

#[tokio::test]
async fn sse_in_go_passes_its_tests() {
    passes_with("go", "go", "sse").await;
}

#[tokio::test]
async fn chat_filter_in_go_passes_its_tests() {
    passes_with("go", "go", "chat-filter").await;
}
