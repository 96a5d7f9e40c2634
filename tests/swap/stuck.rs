//! A `save` that does not return rejects the swap, and leaks a bounded number of calls.

use serde_json::{Value, json};

use super::{patient, swapping};
use crate::failures::steps::assert_names;
use crate::harness::{Started, json_of};

async fn reload_is_rejected(host: &Started) {
    let refused = host.reload("snapshot").await;
    assert_names(&refused["detail"], &["save took longer than swap.timeout (20ms)"]);
}

#[tokio::test]
async fn a_save_that_never_returns_counts_as_leaked_until_the_instance_is_replaced() {
    let host = swapping(json!({ "timeout": "20ms" }), json!({ "save": "never" })).limit("snapshot", "maxLeaked", 2);
    let host = host.start().await;
    for round in 1..=2 {
        assert_eq!(super::count(&host).await, round, "the same instance");
        reload_is_rejected(&host).await;
        host.until("snapshot", 0, "leaked", round).await;
    }
    assert_eq!(host.slot("snapshot", 0).await["restarts"], 0);
    reload_is_rejected(&host).await;
    host.until_restarted("snapshot", 0, 1).await;
    assert!(host.log.contains(&["replacing an instance", "limits.maxLeaked", "module=snapshot"]));
    host.until("snapshot", 0, "leaked", 0).await;
    assert_eq!(super::count(&host).await, 1, "the new instance has no memory of the old one");
}

#[tokio::test]
async fn a_forced_reload_swaps_without_the_state() {
    let host = swapping(json!({ "timeout": "20ms" }), json!({ "save": "never" })).start().await;
    assert_eq!(super::count(&host).await, 1);
    let refused = host.reload("snapshot").await;
    assert_names(&refused["detail"], &["`fanfare reload snapshot --force` swaps without the state"]);
    assert_eq!(super::count(&host).await, 2);
    let forced = host.admin("POST", "/v1/modules/snapshot/reload?force=true", "").await.json();
    assert_eq!(forced["outcome"], "swapped", "{forced}");
    assert_eq!(super::count(&host).await, 1, "the state is lost, as requested");
    assert!(host.log.contains(&["forced to swap without the state", "save took longer than swap.timeout"]));
}

#[tokio::test]
async fn a_save_that_returns_late_no_longer_counts_as_leaked() {
    let host = patient(json!({ "save": "waits" })).config(json!({ "swap": { "timeout": "20ms" } })).workers(1);
    let host = host.start().await;
    reload_is_rejected(&host).await;
    host.until("snapshot", 0, "leaked", 1).await;
    let asked = host.calling(0, "snapshot", "count", "");
    assert_eq!(json_of(&asked.await.unwrap())["count"], 1, "the old instance keeps serving");
    host.release_waiting(0).await;
    host.until("snapshot", 0, "leaked", 0).await;
    assert_eq!(host.slot("snapshot", 0).await["restarts"], 0);
    assert_eq!(host.look(0).await["count"], 1);
}

#[tokio::test]
async fn a_swap_succeeds_once_save_returns_again() {
    let host = patient(json!({ "save": "waits" })).config(json!({ "swap": { "timeout": "200ms" } })).workers(1);
    let host = host.start().await;
    assert_eq!(super::count(&host).await, 1);
    let refused = host.reload("snapshot").await;
    assert_names(&refused["detail"], &["save took longer than swap.timeout"]);
    host.release_waiting(0).await;
    host.put("snapshot", "snapshot.wasm", &super::component("snapshot-next"));
    // On a slow machine, `save` may be released too late several times.
    let mut outcome = Value::Null;
    for _ in 0..20 {
        let reload = host.reloading("snapshot");
        host.release_waiting(0).await;
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
