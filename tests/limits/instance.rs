//! The limits of one instance: memory, table elements and handles.

use std::fs;

use serde_json::json;
use wasmparser::{Parser, Payload};

use crate::failures::steps::assert_names;
use crate::harness::{Started, TestHost, json_of, source_of};

async fn allocates(memory: &str) -> Started {
    TestHost::with("allocates").limit("allocates", "memory", memory).workers(1).start().await
}

pub async fn memory() {
    let host = allocates("16MiB").await;
    let most = json_of(&host.call("any", "allocates", "measure", "").await).as_u64().unwrap();
    assert!((12..16).contains(&most), "{most} MiB of 16");
    let eaten = host.call("any", "allocates", "eat", most.to_string()).await;
    assert_eq!(json_of(&eaten), most, "all of the measured memory can be used");
    let over = host.call("any", "allocates", "eat", "1").await;
    assert_eq!(over["code"], "crashed");
    assert_names(&over["detail"], &["allocates", "`eat`", "limits.memory, 16777216 bytes"]);

    let host = allocates("18MiB").await;
    let eaten = host.call("any", "allocates", "eat", (most + 1).to_string()).await;
    assert_eq!(json_of(&eaten), most + 1, "a higher limit allows more");

    super::second_module::memories().await;
}

/// Returns the number of elements in all tables that a component defines.
pub fn elements(component: &[u8]) -> u64 {
    let sections = Parser::new(0).parse_all(component).map(Result::unwrap);
    let tables = sections.filter_map(|section| match section {
        Payload::TableSection(tables) => Some(tables),
        _ => None,
    });
    tables.flatten().map(|table| table.unwrap().ty.initial).sum()
}

pub async fn tables() {
    let defined = elements(&fs::read(source_of("echo").join("echo.wasm")).unwrap());
    let echo = |limit: u64| TestHost::with("echo").limit("echo", "tables", limit).start();
    assert_eq!(echo(defined).await.post("/api/echo/echo", "hello").await.text(), "hello");

    let host = echo(defined - 1).await.module("echo").await;
    assert_eq!(host["state"], "refused");
    assert_names(&host["reason"], &[&format!("limits.tables, {}", defined - 1)]);

    super::second_module::tables().await;
}

/// Returns the number of handles with which the guest crashes.
async fn first_rejected_handles(limit: u32) -> u32 {
    let host = TestHost::with("hoards").limit("hoards", "handles", limit).workers(1).start().await;
    for wanted in limit - 20..=limit {
        let answer = host.call("any", "hoards", "handles", wanted.to_string()).await;
        if answer["code"] == "crashed" {
            assert_names(&answer["detail"], &["hoards", "`handles`"]);
            return wanted;
        }
        assert_eq!(json_of(&answer), json!(wanted));
    }
    panic!("the guest may have {limit} handles and more");
}

pub async fn handles() {
    assert_eq!(first_rejected_handles(101).await, first_rejected_handles(100).await + 1);
}
