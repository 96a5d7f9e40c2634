//! The cost of a guest call, without HTTP and on the guest's own thread.

use std::sync::Arc;
use std::time::Instant;

use fanfare::tooling::wit;
use fanfare::tooling::{Dispatch, Payload, RouteName};
use futures_util::future::join_all;

use crate::node::{self, Node};
use crate::report::Report;
use crate::{Effort, bare, interleaved, machine};

const PAYLOAD: usize = 100;

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("calls");
    let modules = machine::empty_dir("calls");
    machine::guest(&modules, "hello", "hello");
    machine::module(&modules, "fresh", FRESH, &machine::component("hello"));
    let languages = languages(&modules);
    let node = Node::start(&modules, 1);
    let guest = bare::Guest::load(&machine::component("hello"));
    let calls = 200_000 / effort.divisor;

    let (bare_1, host_1, bare_64, host_64, bare_fresh, host_fresh) = (
        &mut || bare_resident(&guest, calls, 1),
        &mut || resident(&node, "GET hello/", calls, 1),
        &mut || bare_resident(&guest, calls, 64),
        &mut || resident(&node, "GET hello/", calls, 64),
        &mut || bare_fresh(&guest, calls / 50),
        &mut || resident(&node, "GET fresh/", calls / 50, 1),
    );
    let [a, b, c, d, e, f] = interleaved(effort.rounds, [bare_1, host_1, bare_64, host_64, bare_fresh, host_fresh]);
    let bare = report.row("bare wasmtime, resident, one at a time", "us", a);
    let host = report.row("through dispatch, resident, one at a time", "us", b);
    report.derived("dispatch alone, one at a time", "us", &[&host, &bare], |parts| parts[0] - parts[1], None);
    let bare = report.row("bare wasmtime, resident, 64 in flight", "us", c);
    let host = report.row("through dispatch, resident, 64 in flight", "us", d);
    report.derived("dispatch alone, 64 in flight", "us", &[&host, &bare], |parts| parts[0] - parts[1], None);
    report.row("bare wasmtime, a fresh instance for each call", "us", e);
    report.row("through dispatch, a fresh instance for each call", "us", f);

    for (language, found) in languages {
        if !found {
            report.not_run(format!("{language}, resident"), "not built: run tests/guests/languages/build");
            continue;
        }
        let route = format!("POST {language}/echo");
        let calls = calls / 10;
        let (one, many) = (&mut || resident(&node, &route, calls, 1), &mut || resident(&node, &route, calls, 64));
        let [one, many] = interleaved(effort.rounds, [one, many]);
        report.row(format!("{language} through dispatch, one at a time"), "us", one);
        report.row(format!("{language} through dispatch, 64 in flight"), "us", many);
    }
    report
}

const FRESH: &str = r#"{
    "component": "hello.wasm", "isolation": "fresh",
    "routes": [{ "method": "get", "path": "", "handler": "hello" }]
}"#;

/// Adds the guests of `tests/guests/languages`. Returns each with whether it was built.
fn languages(modules: &std::path::Path) -> Vec<(&'static str, bool)> {
    let mut found = Vec::new();
    for (language, component) in [
        ("rust", "tests/guests/languages/rust/rust.wasm"),
        ("c", "tests/guests/languages/c/c.wasm"),
        ("javascript", "target/languages/javascript/javascript.wasm"),
        ("python", "target/languages/python/python.wasm"),
        ("starlingmonkey", "target/languages/starlingmonkey/starlingmonkey.wasm"),
    ] {
        let component = machine::root().join(component);
        found.push((language, component.exists()));
        if !component.exists() {
            continue;
        }
        let file = component.file_name().unwrap().to_string_lossy();
        // The engines of JavaScript and Python leak some bytes in every call.
        let manifest = format!(
            r#"{{ "component": "{file}", "routes": [{{ "path": "echo", "handler": "echo" }}], "limits": {{ "memory": "1GiB" }} }}"#
        );
        machine::module(modules, language, &manifest, &component);
    }
    found
}

/// Microseconds for a call, on the thread of worker 0.
pub fn resident(node: &Node, route: &str, calls: u32, in_flight: u32) -> f64 {
    let (dispatch, route) = (node.dispatch.clone(), Arc::new(node::route(route)));
    node.on_worker(0, async move {
        lane(&dispatch, &route, (calls / 20).max(1)).await;
        let begun = Instant::now();
        match in_flight {
            1 => lane(&dispatch, &route, calls).await,
            _ => drop(join_all((0..in_flight).map(|_| lane(&dispatch, &route, calls / in_flight))).await),
        }
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(calls / in_flight * in_flight)
    })
}

async fn lane(dispatch: &Dispatch, route: &RouteName, calls: u32) {
    for _ in 0..calls {
        node::call(dispatch, 0, route, Payload::Text("x".repeat(PAYLOAD))).await;
    }
}

/// Microseconds for a call without a host. The benchmark `http` reports this figure too.
pub fn bare_resident(guest: &bare::Guest, calls: u32, in_flight: u32) -> f64 {
    bare::runtime().block_on(async {
        let bare::Instance { mut store, handle } = guest.instantiate().await;
        let handle = &handle;
        let run = async move |accessor: &wasmtime::component::Accessor<bare::State>| {
            let lane = async |calls: u32| {
                for _ in 0..calls {
                    let call = bare::call("hello", wit::Trigger::Rpc, "x".repeat(PAYLOAD));
                    let (outcome,) = handle.call_concurrent(accessor, (call,)).await.unwrap();
                    outcome.unwrap();
                }
            };
            lane((calls / 20).max(1)).await;
            let begun = Instant::now();
            match in_flight {
                1 => lane(calls).await,
                _ => drop(join_all((0..in_flight).map(|_| lane(calls / in_flight))).await),
            }
            begun.elapsed().as_secs_f64() * 1e6 / f64::from(calls / in_flight * in_flight)
        };
        store.run_concurrent(run).await.unwrap()
    })
}

fn bare_fresh(guest: &bare::Guest, calls: u32) -> f64 {
    bare::runtime().block_on(async {
        let begun = Instant::now();
        for _ in 0..calls {
            let bare::Instance { mut store, handle } = guest.instantiate().await;
            let call = bare::call("hello", wit::Trigger::Rpc, "x".repeat(PAYLOAD));
            let run = async |accessor: &wasmtime::component::Accessor<bare::State>| {
                handle.call_concurrent(accessor, (call,)).await.unwrap().0.unwrap()
            };
            store.run_concurrent(run).await.unwrap();
        }
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    })
}
