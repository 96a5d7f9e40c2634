//! `fanfare inspect`: what a component is.

use serde_json::json;

use super::Project;
use super::project::Ran;
use crate::harness::{section, source_of, vector};

fn component(module: &str) -> String {
    let dir = source_of(module);
    let wasm = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let wasm = wasm.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    wasm.unwrap().to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_component_is_described() {
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
    ] {
        let found = ran.out.lines().any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "{words:?} in one line of:\n{}", ran.out);
    }
    for name in ["fanfare:module/handler@0.1.0", "fanfare:module/rpc@0.1.0"] {
        assert!(ran.out.lines().any(|line| line.trim() == name), "{name} in {}", ran.out);
    }
    let serial = project.run(&["inspect", "--json", &component("handler-sync")]).await.json();
    assert_eq!(
        (&serial["serial"], &serial["snapshot"], &serial["contract"]),
        (&json!(true), &json!(false), &json!("0.1.0"))
    );
    assert_eq!(serial["faults"], json!([]));
}

#[tokio::test]
async fn one_that_a_host_would_refuse_is_shown_with_the_reasons() {
    let ran = Project::with(&[]).run(&["inspect", &component("wrong-exports")]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("a component of ") && ran.out.contains("  imports"), "{}", ran.out);
    assert!(ran.err.contains("exports neither fanfare:module/handler@0.1.0"), "{}", ran.err);
}

#[tokio::test]
async fn what_is_no_component_is_named() {
    let producers = section(0, [vec![9], b"producers".to_vec(), vector::<Vec<u8>>([])].concat());
    let project = Project::with(&[])
        .file("core.wasm", [b"\0asm\x01\0\0\0".to_vec(), producers].concat())
        .file("text.wasm", "(component)");
    for (file, why) in [
        ("core.wasm", "core.wasm: this is a core module, not a component: build it for wasm32-wasip2"),
        ("text.wasm", "text.wasm: this is no WebAssembly component"),
        ("none.wasm", "none.wasm: cannot be read: "),
    ] {
        let ran = project.run(&["inspect", file]).await;
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(ran.err.contains(why), "{why}: {}", ran.err);
    }
}

/// Looking at a file somewhere leaves nothing beside it.
#[tokio::test]
async fn outside_of_a_project_nothing_is_kept() {
    // The other folders of tests are in a checkout, which is a project.
    let alone = std::env::temp_dir().join(format!("fanfare-inspect-{}", std::process::id()));
    std::fs::create_dir_all(&alone).unwrap();
    std::fs::copy(component("echo"), alone.join("a.wasm")).unwrap();
    let mut command = Project::with(&[]).command(&["inspect", "a.wasm"]);
    command.current_dir(&alone);
    let ran = Ran::of(command).await;
    let left: Vec<_> = std::fs::read_dir(&alone).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    std::fs::remove_dir_all(&alone).unwrap();
    assert_eq!((ran.code, left), (0, vec!["a.wasm".into()]), "{}", ran.err);
}
