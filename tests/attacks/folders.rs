//! Module folders that use the host's memory when it loads them. Each function waits until the host
//! has loaded or rejected its folder.

use std::fs::{self, File};

use serde_json::{Value, json};

use crate::cli::project::{Project, Serving};
use crate::harness::{Connection, eventually, number, section, source_of, vector};

/// Writes a module, the manifest last, and waits until the host has rejected it.
async fn add_rejected(project: &Project, serving: &Serving, module: &str, manifest: String, component: &[u8]) {
    project.dir.write(&format!("modules/{module}/{module}.wasm"), component);
    project.dir.write(&format!("modules/{module}/module.json"), manifest);
    eventually(&format!("{module} is rejected"), || async { state(serving, module).await == "refused" }).await;
}

async fn state(serving: &Serving, module: &str) -> Value {
    let status = serving.operator("GET", "/v1/status").await.json();
    let mut modules = status["modules"].as_array().unwrap().iter();
    modules.find(|listed| listed["name"] == module).map_or(Value::Null, |listed| listed["state"].clone())
}

/// Returns the component of `flags` with these sections added at its end.
fn flags_and(sections: Vec<u8>) -> Vec<u8> {
    [fs::read(source_of("flags").join("flags.wasm")).unwrap(), sections].concat()
}

fn manifest_of_flags(component: &str, change: impl FnOnce(&mut Value)) -> String {
    let text = fs::read_to_string(source_of("flags").join("module.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["component"] = format!("{component}.wasm").into();
    change(&mut manifest);
    manifest.to_string()
}

/// Returns sections that define a core module and instantiate it `times` times.
fn instances(module: Vec<u8>, times: usize) -> Vec<u8> {
    // The core modules of `flags` have the indexes below this one.
    let bytes = fs::read(source_of("flags").join("flags.wasm")).unwrap();
    let index = fanfare::tooling::component_info(&bytes).unwrap().core_modules.len();
    let instance = [vec![0x00], number(index.try_into().unwrap()), vec![0]].concat();
    [section(1, module), section(2, vector((0..times).map(|_| &instance)))].concat()
}

fn core_module(sections: &[Vec<u8>]) -> Vec<u8> {
    [b"\0asm\x01\0\0\0".to_vec(), sections.concat()].concat()
}

/// Adds a module whose route has 16,000 segments.
pub async fn deep_route(project: &Project, serving: &Serving) {
    let manifest = manifest_of_flags("deep", |manifest| {
        let path = vec!["a"; 16_000].join("/");
        manifest["routes"].as_array_mut().unwrap().push(json!({ "path": path, "handler": "set" }));
    });
    add_rejected(project, serving, "deep", manifest, &flags_and(Vec::new())).await;
}

/// Adds a module with 150 instances of a core module that has a million globals.
pub async fn many_globals(project: &Project, serving: &Serving) {
    let globals = section(6, vector((0..1_000_000).map(|_| [0x7f, 0x00, 0x41, 0x00, 0x0b])));
    let component = flags_and(instances(core_module(&[globals]), 150));
    add_rejected(project, serving, "globals", manifest_of_flags("globals", |_| ()), &component).await;
}

/// Adds a module with ten thousand empty memories.
pub async fn many_memories(project: &Project, serving: &Serving) {
    let memories = section(5, vector((0..100).map(|_| [0x00, 0x00])));
    let component = flags_and(instances(core_module(&[memories]), 100));
    add_rejected(project, serving, "memories", manifest_of_flags("memories", |_| ()), &component).await;
}

async fn reload(serving: &Serving, path: &str) -> (u16, Value) {
    let answer = Connection::open(serving.admin).await.send("POST", path, &[], "").await;
    (answer.status, answer.json())
}

/// Loads a second generation of a module, then rolls back to the first, which pins it.
pub async fn pin(project: &Project, serving: &Serving, module: &str) {
    let file = format!("modules/{module}/module.json");
    let mut manifest: Value = serde_json::from_str(&project.read(&file)).unwrap();
    manifest["config"] = json!({ "second": true });
    project.dir.write(&file, manifest.to_string());
    assert_eq!(reload(serving, &format!("/v1/modules/{module}/reload")).await.0, 200);
    let (status, back) = reload(serving, &format!("/v1/modules/{module}/rollback")).await;
    assert_eq!((status, &back["pinned"]), (200, &json!(true)), "{back}");
}

/// Replaces the component of a pinned module with an empty file of 3 GB.
pub async fn huge_file_under_a_pin(project: &Project, serving: &Serving, module: &str) {
    File::create(project.path().join(format!("modules/{module}/{module}.wasm")))
        .unwrap()
        .set_len(3_000_000_000)
        .unwrap();
    let (status, outcome) = reload(serving, &format!("/v1/modules/{module}/reload")).await;
    assert!(status != 200 || outcome["outcome"] != "swapped", "{status} {outcome}");
}
