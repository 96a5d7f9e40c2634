//! `fanfare inspect`: describes a component.

use serde_json::{Value, json};

use super::Project;
use super::project::CommandOutput;
use crate::harness::{section, source_of, vector};

fn component(module: &str) -> String {
    let dir = source_of(module);
    let wasm = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let wasm = wasm.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    wasm.unwrap().to_str().unwrap().to_owned()
}

#[tokio::test]
async fn inspect_describes_a_component() {
    let project = Project::with(&[]);
    let ran = project.run(&["inspect", &component("counter")]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    for words in [
        ["contract", "0.1.0"],
        ["calls", "many at once (async)"],
        ["snapshot", "yes"],
        ["handlers", "add, total, totals, counts"],
        ["language", "Rust"],
        ["processed-by", "rustc"],
        ["may need", "env (only if its code reads variables)"],
        ["may need", "broadcast (only for broadcasts of other modules)"],
        ["may need", "rpc (only for routes of other modules)"],
    ] {
        let found = ran.out.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "{words:?} in one line of:\n{}", ran.out);
    }
    for name in ["fanfare:module/handler@0.1.0", "fanfare:module/rpc@0.1.0"] {
        assert!(ran.out.lines().any(|line| line.trim() == name), "{name} in {}", ran.out);
    }
    assert!(!ran.out.contains("C11"), "the language of the C library: {}", ran.out);
    let outside = project.run(&["inspect", "--json", &component("outside")]).await.json();
    let needed = outside["capabilities"].as_array().unwrap();
    for capability in ["dirs", "env", "http", "keyvalue", "sockets"] {
        assert!(needed.contains(&json!(capability)), "{capability} in {needed:?}");
    }
    let serial = project.run(&["inspect", "--json", &component("handler-sync")]).await.json();
    assert_eq!(
        (&serial["serial"], &serial["snapshot"], &serial["contract"]),
        (&json!(true), &json!(false), &json!("0.1.0"))
    );
    assert_eq!(serial["faults"], json!([]));
}

#[tokio::test]
async fn inspect_lists_the_sockets_channels_and_filters_of_the_module() {
    let project = Project::with(&["sessions"]);
    let mut manifest: Value = serde_json::from_str(&project.read("modules/sessions/module.json")).unwrap();
    manifest["filters"] = json!({ "before": ["step", "ready"], "after": ["step"] });
    manifest["channels"] = json!({
        "sessions/*": { "path": "step", "on": ["publish", "leave"], "history": 100, "presence": true },
        "sessions": { "history": { "count": 1, "age": "1m" } },
    });
    let project = project.file("modules/sessions/module.json", manifest.to_string());
    let ran = project.run(&["inspect", "modules/sessions/sessions.wasm"]).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<&str> = ran.out.lines().map(str::trim).collect();
    for line in [
        "facts/{room}: POST facts, protocols v2, v1",
        "small: POST echo, at most 64 bytes",
        "sessions/*: POST step decides about publish, leave; keeps 100 messages; presence",
        "sessions: open to every client; keeps 1 message",
        "filters before",
        "POST ready",
        "filters after",
        "POST step",
    ] {
        assert!(lines.contains(&line), "{line} in {}", ran.out);
    }
    let described = project.run(&["inspect", "--json", "modules/sessions/sessions.wasm"]).await.json();
    assert_eq!(described["filters"], json!({ "before": ["POST step", "POST ready"], "after": ["POST step"] }));
    let open = json!({
        "pattern": "sessions", "history": { "count": 1, "age": 60_000, "bytes": 1 << 20 }, "presence": false
    });
    assert_eq!(described["channels"][0], open);
    let sockets = described["sockets"].as_array().unwrap();
    let facts = json!({ "pattern": "facts/{room}", "route": "POST facts", "protocols": ["v2", "v1"] });
    assert!(sockets.contains(&facts), "{sockets:?}");
}

#[tokio::test]
async fn a_component_that_a_host_would_refuse_is_described_with_the_reasons() {
    let ran = Project::with(&[]).run(&["inspect", &component("wrong-exports")]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("a component of ") && ran.out.contains("  imports"), "{}", ran.out);
    assert!(ran.err.contains("exports neither fanfare:module/handler@0.1.0"), "{}", ran.err);
}

/// A component with control characters in the names that messages of the compiler and of fanfare
/// repeat.
fn with_controls() -> Vec<u8> {
    let named = |text: &str| [vec![u8::try_from(text.len()).unwrap()], text.as_bytes().to_vec()].concat();
    let value = [named("Rust"), named("\u{1b}[2J\u{9b}1m\u{202e}")].concat();
    let field = [named("language"), vector([value])].concat();
    let producers = section(0, [named("producers"), vector([field])].concat());
    let export = [vec![0], named("a\u{1b}[31m\u{9b}2J\u{202e}b"), vec![1, 0, 0]].concat();
    let function_type = section(7, vector([[0x40, 0, 1, 0]]));
    let import = [vec![0], named("a\u{1b}[31m\u{9b}2J\u{202e}b"), vec![1, 0]].concat();
    let sections = [function_type, section(10, vector([import])), section(11, vector([export])), producers];
    [b"\0asm\x0d\0\x01\0".to_vec(), sections.concat()].concat()
}

#[tokio::test]
async fn control_characters_of_a_component_do_not_reach_the_terminal() {
    let project = Project::with(&["echo"])
        .file("modules/evil/module.json", r#"{ "component": "evil.wasm" }"#)
        .file("modules/evil/evil.wasm", with_controls());
    let mut outputs = Vec::new();
    for args in [
        &["inspect", "modules/evil/evil.wasm"][..],
        &["inspect", "--json", "modules/evil/evil.wasm"],
        &["check"],
        &["check", "--json"],
        &["serve", "--strict", "--log=off"],
    ] {
        let ran = project.run(args).await;
        assert_eq!(ran.code, 1, "{args:?}: {} {}", ran.out, ran.err);
        outputs.push((format!("{args:?}"), ran.out + &ran.err));
    }
    let serving = project.serve(&[]).await;
    outputs.push(("page".to_owned(), serving.get("/").await.text().to_owned()));
    outputs.push(("serve".to_owned(), serving.stop().await.1));
    for (what, text) in outputs {
        let bad = text.chars().find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c));
        assert_eq!(bad, None, "{what}: {text:?}");
        assert!(text.contains("evil"), "{what}: {text}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_component_is_named() {
    let producers = section(0, [vec![9], b"producers".to_vec(), vector::<Vec<u8>>([])].concat());
    let project = Project::with(&[])
        .file("core.wasm", [b"\0asm\x01\0\0\0".to_vec(), producers].concat())
        .file("text.wasm", "(component)")
        .file("empty.wasm", "")
        .file("short.wasm", b"\0asm")
        .file("cut.wasm", &std::fs::read(component("counter")).unwrap()[..50_000]);
    for (file, why) in [
        ("core.wasm", "core.wasm: the file is a core module, not a component: build it for wasm32-wasip2"),
        ("text.wasm", "text.wasm: the file is not a WebAssembly component"),
        ("empty.wasm", "empty.wasm: the file is empty"),
        ("cut.wasm", "cut.wasm: the file is truncated: it ends within a section, after 50000 bytes"),
        ("short.wasm", "short.wasm: the file is truncated"),
        ("none.wasm", "none.wasm: cannot read the file: "),
    ] {
        let ran = project.run(&["inspect", file]).await;
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(ran.err.contains(why), "{why}: {}", ran.err);
    }
}

/// A component whose code says that a function is longer than the code.
fn with_wrong_end() -> Vec<u8> {
    let function_type = section(1, vector([[0x60, 0, 0]]));
    let sections = [function_type, section(3, vector([[0]])), section(10, vec![1, 3, 0, 0x0b])];
    of_module(&sections, &[])
}

#[tokio::test]
async fn inspect_and_check_name_the_same_fault_of_a_damaged_component() {
    let module = r#"{ "component": "bad.wasm", "routes": [{ "path": "x", "handler": "x" }] }"#;
    let project = Project::with(&[]).file("modules/bad/module.json", module);
    let project = project.file("modules/bad/bad.wasm", with_wrong_end());
    let (inspected, checked) = (project.run(&["inspect", "bad"]).await, project.run(&["check"]).await);
    assert_eq!((inspected.code, checked.code), (1, 1));
    let fault = inspected.err.trim_end().strip_prefix("error: modules/bad/bad.wasm: ").unwrap();
    assert!(fault.starts_with("is not valid WebAssembly: ") && !fault.contains("truncated"), "{fault}");
    assert!(checked.out.contains(fault), "{fault} in {}", checked.out);
}

#[tokio::test]
async fn inspect_finds_the_module_around_the_current_folder() {
    let project = Project::with(&["counter"]);
    let mut command = project.command(&["inspect"]);
    command.current_dir(project.path().join("modules/counter"));
    let ran = CommandOutput::of(command).await;
    assert!(ran.code == 0 && ran.out.contains("counter.wasm: a component of "), "{}{}", ran.out, ran.err);
    let ran = project.run(&["inspect"]).await;
    let hint =
        "the current folder is not the folder of a module; name a component or a module: `fanfare inspect hello`";
    assert!(ran.code == 1 && ran.err.contains(hint), "{}", ran.err);
}

/// A component of one core module with these sections, after the sections of the component itself.
fn of_module(sections: &[Vec<u8>], outside: &[Vec<u8>]) -> Vec<u8> {
    let module = [b"\0asm\x01\0\0\0".to_vec(), sections.concat()].concat();
    [b"\0asm\x0d\0\x01\0".to_vec(), outside.concat(), section(1, module)].concat()
}

fn named(text: &str) -> Vec<u8> {
    [vec![u8::try_from(text.len()).unwrap()], text.as_bytes().to_vec()].concat()
}

fn custom(name: &str, content: Vec<u8>) -> Vec<u8> {
    section(0, [named(name), content].concat())
}

/// A global with this export, as the toolchains of interpreters write it.
fn exporting(name: &str) -> Vec<Vec<u8>> {
    vec![section(6, vector([[0x7f, 0, 0x41, 0, 0x0b]])), section(7, vector([[named(name), vec![3, 0]].concat()]))]
}

fn producers(fields: &[(&str, &str, &str)]) -> Vec<u8> {
    let of = |(field, name, version): &(&str, &str, &str)| {
        [named(field), vector([[named(name), named(version)].concat()])].concat()
    };
    custom("producers", vector(fields.iter().map(of)))
}

#[tokio::test]
async fn inspect_names_the_language_behind_a_runtime() {
    let rust = producers(&[("language", "Rust", ""), ("processed-by", "rustc", "1.75.0")]);
    let needed = vector([named("libc.so"), named("libpython3.14.so")]);
    let python = custom("dylink.0", section(2, needed));
    let quickjs = exporting("componentize_qjs_runtime.wasm:memory_base");
    let go = producers(&[("language", "Go", "go1.25.1"), ("processed-by", "Go cmd/compile", "go1.25.1")]);
    let tinygo = producers(&[("language", "C99", ""), ("processed-by", "TinyGo", "0.39.0")]);
    for (bytes, language, toolchain) in [
        (of_module(&[python], std::slice::from_ref(&rust)), "Python 3.14", "componentize-py"),
        (of_module(&exporting("libcomponentize_py_runtime.so:memory_base"), &[]), "Python", "componentize-py"),
        (of_module(&quickjs, std::slice::from_ref(&rust)), "JavaScript", "QuickJS (componentize-qjs)"),
        (of_module(&[go], std::slice::from_ref(&rust)), "Go 1.25.1", "Go cmd/compile go1.25.1"),
        (of_module(&[tinygo], &[]), "Go", "TinyGo 0.39.0"),
        (of_module(&[custom("go:buildid", b"ff".to_vec())], &[]), "Go", "the compiler of Go"),
    ] {
        let project = Project::with(&[]).file("a.wasm", bytes);
        let text = project.run(&["inspect", "a.wasm"]).await.out;
        let line = |name: &str, value: &str| text.lines().any(|line| line.trim() == format!("{name:<12} {value}"));
        assert!(line("language", language) && line("toolchain", toolchain), "{language}: {text}");
        assert!(!line("language", "Rust"), "the language of the adapter is that of a part: {text}");
    }
    let project = Project::with(&[]).file("a.wasm", of_module(&quickjs, &[rust]));
    let json = project.run(&["inspect", "--json", "a.wasm"]).await.json();
    assert_eq!(
        (&json["language"], &json["toolchain"], &json["producers"][0]["name"]),
        (&json!("JavaScript"), &json!("QuickJS (componentize-qjs)"), &json!("Rust"))
    );
}

#[tokio::test]
async fn another_version_of_the_contract_is_named_once_and_wasi_http_is_described() {
    let next = String::from_utf8_lossy(b"fanfare:module/").into_owned();
    let mut bytes = std::fs::read(component("counter")).unwrap();
    for at in 0..bytes.len() {
        let rest = &bytes[at..];
        let Some(version) =
            rest.starts_with(next.as_bytes()).then(|| rest.windows(6).position(|part| part == b"@0.1.0"))
        else {
            continue;
        };
        if let Some(version) = version.filter(|version| *version < 48) {
            bytes[at + version + 3] = b'2';
        }
    }
    let http = std::fs::read(crate::harness::root().join("bench/guests/proxy-hello/proxy_hello.wasm")).unwrap();
    let project = Project::with(&[]).file("next.wasm", bytes).file("http.wasm", http);
    let ran = project.run(&["inspect", "next.wasm"]).await;
    let once = ran.err.matches("@0.2.0").count() == 1 && ran.err.matches("this host serves version 0.1.0").count() == 1;
    assert!(ran.code == 1 && once && !ran.err.contains("exports neither"), "{}", ran.err);
    let ran = project.run(&["inspect", "http.wasm"]).await;
    let serves = "wasi:http    wasi:http/handler@0.3.2: answers all requests below /api/<module>/";
    assert!(ran.code == 0 && ran.out.contains(serves), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("many at once") && !ran.out.contains("handlers"), "{}", ran.out);
}

#[tokio::test]
async fn inspect_outside_a_project_leaves_no_files() {
    // The folders of the other tests lie in a checkout, which is a project.
    let alone = tempfile::tempdir().unwrap();
    let alone = alone.path();
    std::fs::copy(component("echo"), alone.join("a.wasm")).unwrap();
    let mut command = Project::with(&[]).command(&["inspect", "a.wasm"]);
    command.current_dir(alone);
    let ran = CommandOutput::of(command).await;
    let left: Vec<_> = std::fs::read_dir(alone).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!((ran.code, left), (0, vec!["a.wasm".into()]), "{}", ran.err);
}
