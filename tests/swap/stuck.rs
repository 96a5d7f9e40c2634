//! `save` that does not return: the swap is refused, and what is left of it is bounded.

use serde_json::{Value, json};

use super::{patient, swapping};
use crate::failures::steps::assert_names;
use crate::harness::{Started, json_of};

async fn refused(host: &Started) {
    let refused = host.reload("snapshot").await;
    assert_names(&refused["detail"], &["save took longer than swap.timeout, 20ms"]);
}

#[tokio::test]
async fn a_save_that_never_returns_counts_as_leaked_until_the_instance_is_replaced() {
    let host = swapping(json!({ "timeout": "20ms" }), json!({ "save": "never" })).limit("snapshot", "maxLeaked", 2);
    let host = host.start().await;
    for round in 1..=2 {
        assert_eq!(super::count(&host).await, round, "the same instance");
        refused(&host).await;
        host.until("snapshot", 0, "leaked", round).await;
    }
    assert_eq!(host.slot("snapshot", 0).await["restarts"], 0);
    refused(&host).await;
    host.until_restarted("snapshot", 0, 1).await;
    assert!(host.log.contains(&["replacing an instance", "limits.maxLeaked", "module=snapshot"]));
    host.until("snapshot", 0, "leaked", 0).await;
    assert_eq!(super::count(&host).await, 1, "its memory is new");
}

#[tokio::test]
async fn a_forced_reload_goes_on_without_the_state() {
    let host = swapping(json!({ "timeout": "20ms" }), json!({ "save": "never" })).start().await;
    assert_eq!(super::count(&host).await, 1);
    let refused = host.reload("snapshot").await;
    assert_names(&refused["detail"], &["`fanfare reload --force` goes on without the state"]);
    assert_eq!(super::count(&host).await, 2);
    let forced = host.admin("POST", "/v1/modules/snapshot/reload?force=true", "").await.json();
    assert_eq!(forced["outcome"], "swapped", "{forced}");
    assert_eq!(super::count(&host).await, 1, "it is lost, as was asked for");
    assert!(host.log.contains(&["forced to go on without the state", "save took longer than swap.timeout"]));
}

#[tokio::test]
async fn a_save_that_returns_after_all_is_leaked_no_more() {
    let host = patient(json!({ "save": "waits" })).config(json!({ "swap": { "timeout": "20ms" } })).workers(1);
    let host = host.start().await;
    refused(&host).await;
    host.until("snapshot", 0, "leaked", 1).await;
    let asked = host.calling(0, "snapshot", "count", "");
    assert_eq!(json_of(&asked.await.unwrap())["count"], 1, "the old instance serves on meanwhile");
    host.let_go(0).await;
    host.until("snapshot", 0, "leaked", 0).await;
    assert_eq!(host.slot("snapshot", 0).await["restarts"], 0);
    assert_eq!(host.look(0).await["count"], 1);
}

#[tokio::test]
async fn a_component_takes_over_once_save_returns_again() {
    let host = patient(json!({ "save": "waits" })).config(json!({ "swap": { "timeout": "200ms" } })).workers(1);
    let host = host.start().await;
    assert_eq!(super::count(&host).await, 1);
    let refused = host.reload("snapshot").await;
    assert_names(&refused["detail"], &["save took longer than swap.timeout"]);
    host.let_go(0).await;
    host.put("snapshot", "snapshot.wasm", &super::component("snapshot-next"));
    // How long a try takes is the machine's to say, so one may come too late again.
    let mut outcome = Value::Null;
    for _ in 0..20 {
        let reload = host.reloading("snapshot");
        host.let_go(0).await;
        outcome = reload.await.unwrap();
        if outcome["outcome"] == "swapped" {
            break;
        }
        assert_names(&outcome["detail"], &["save took longer than swap.timeout"]);
    }
    assert_eq!(outcome["outcome"], "swapped", "{outcome}");
    let look = host.look(0).await;
    assert_eq!((&look["build"], &look["count"]), (&json!("next"), &json!(1)), "{look}");
}
