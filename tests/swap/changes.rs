//! Queued calls and broadcasts when the new generation has other routes or limits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fanfare::tooling::{Actor, CallError, Emission, IsolateId, Payload, Trigger};
use serde_json::json;

use super::{patient, swapping};
use crate::failures::steps::assert_names;
use crate::harness::{TestHost, by_worker, ends, eventually, json_of};

#[tokio::test]
async fn a_queued_call_runs_the_handler_of_the_new_generation() {
    let host = swapping(json!({ "quiesce": "20s" }), json!({})).start().await;
    let late = async {
        host.until_running("snapshot", 0, 1).await;
        // The new generation routes `count` to the handler `release`, and has no `hold`.
        let block = json!({ "path": "block", "handler": "block" });
        let routes = json!([block, { "path": "count", "handler": "release" }]);
        host.rewrite("snapshot", json!({ "routes": routes, "broadcasts": {}, "startups": {} }));
        let swap = host.reload("snapshot");
        let wait = async {
            host.until_held(0).await;
            tokio::join!(host.call("any", "snapshot", "count", ""), host.call("any", "snapshot", "hold", ""))
        };
        let (swapped, (changed, gone)) = tokio::join!(swap, wait);
        assert_eq!(swapped["outcome"], "swapped", "{swapped}");
        assert_eq!(changed["payload"], "0", "{changed}");
        assert_eq!(gone["code"], "not-found", "{gone}");
        assert_names(&gone["detail"], &["snapshot no longer has `POST hold`"]);
    };
    let (blocked, ()) = tokio::join!(host.call("any", "snapshot", "block", "1500"), late);
    assert_eq!(blocked["status"], 200, "{blocked}");
}

#[tokio::test]
async fn a_queued_request_is_forbidden_when_the_new_generation_closes_its_route() {
    let host = swapping(json!({ "quiesce": "20s" }), json!({})).start().await;
    let late = async {
        host.until_running("snapshot", 0, 1).await;
        let block = json!({ "path": "block", "handler": "block" });
        let count = json!({ "path": "count", "handler": "count", "middlewares": ["inner"] });
        host.rewrite("snapshot", json!({ "routes": [block, count], "broadcasts": {}, "startups": {} }));
        let swap = host.reload("snapshot");
        let waits = async {
            host.until_held(0).await;
            tokio::join!(host.post("/api/snapshot/count", ""), host.call("any", "snapshot", "count", ""))
        };
        let (swapped, (client, operator)) = tokio::join!(swap, waits);
        assert_eq!(swapped["outcome"], "swapped", "{swapped}");
        assert_eq!((client.status, client.code()), (403, "forbidden".to_owned()), "{}", client.text());
        assert_eq!(operator["status"], 200, "{operator}");
    };
    let (blocked, ()) = tokio::join!(host.call("any", "snapshot", "block", "1500"), late);
    assert_eq!(blocked["status"], 200, "{blocked}");
}

#[tokio::test]
async fn a_queued_broadcast_that_the_new_generation_lacks_is_not_found() {
    let host = patient(json!({})).start().await;
    host.rewrite("snapshot", json!({ "broadcasts": {}, "config": { "load": "waits" } }));
    let reload = host.reloading("snapshot");
    for worker in [0, 1] {
        host.until_held(worker).await;
    }
    let gathered = host.asking("/v1/modules/snapshot/broadcasts/mark?gather=true".to_owned(), "");
    for worker in [0, 1] {
        host.until("snapshot", worker, "waitingBroadcasts", 1).await;
        host.release_waiting(worker as u32).await;
    }
    assert_eq!(reload.await.unwrap()["outcome"], "swapped");
    let entries = gathered.await.unwrap();
    assert_eq!(ends(&entries), by_worker(&["not-found", "not-found"]), "{entries}");
    assert_names(&entries[0]["error"]["detail"], &["snapshot no longer has `POST hear`"]);
    assert_eq!(host.emit("snapshot", "mark", "").await["code"], "not-found");
}

#[tokio::test]
async fn queued_calls_survive_a_swap_to_lower_queue_limits() {
    let host = patient(json!({})).workers(1).start().await;
    host.rewrite(
        "snapshot",
        json!({ "limits": { "mailbox": 1, "broadcasts": 1, "concurrency": 1 }, "config": { "load": "waits" } }),
    );
    let reload = host.reloading("snapshot");
    host.until_held(0).await;
    let calls: Vec<_> = (0..5).map(|_| host.calling(0, "snapshot", "count", "")).collect();
    host.until_waiting("snapshot", 0, 5).await;
    for _ in 0..3 {
        assert_eq!(host.emit("snapshot", "mark", "").await["accepted"], 1);
    }
    host.release_waiting(0).await;
    assert_eq!(reload.await.unwrap()["outcome"], "swapped");
    let mut counts = Vec::new();
    for call in calls {
        counts.push(json_of(&call.await.unwrap())["count"].as_u64().unwrap());
    }
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 3, 4, 5]);
    eventually("the broadcasts have run", || async { host.look(0).await["heard"] == 3 }).await;
    // The lower limits apply to new calls.
    let running = host.calling(0, "snapshot", "hold", "");
    host.until_running("snapshot", 0, 1).await;
    let waits = host.calling(0, "snapshot", "look", "");
    host.until_waiting("snapshot", 0, 1).await;
    let full = host.call("worker-0", "snapshot", "look", "").await;
    assert_eq!(full["code"], "overloaded", "{full}");
    running.abort();
    waits.abort();
}

#[tokio::test]
async fn under_a_flood_each_broadcast_runs_in_the_generation_that_it_was_looked_up_in() {
    let seen = Arc::new(Mutex::new(BTreeMap::<IsolateId, Vec<(u64, String)>>::new()));
    let notes = seen.clone();
    let host = TestHost::with("counts").probe(Arc::new(move |call| {
        if let Trigger::Broadcast(broadcast) = &call.trigger {
            let note = (broadcast.seq, call.route.text.to_string());
            notes.lock().unwrap().entry(call.context.isolate).or_default().push(note);
        }
    }));
    // A short lane: a swap then finds broadcasts before its mark, but does not wait long for them.
    let host = host.limit("counts", "broadcasts", 64).start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let (dispatch, ended) = (host.running().dispatch().clone(), stop.clone());
    let emitter = std::thread::spawn(move || {
        let mut emitted = 0;
        while !ended.load(Ordering::Acquire) {
            let module = Some("counts".to_owned());
            let what = Emission { module, name: "append".to_owned(), ..Emission::default() };
            match dispatch.emit(&Actor::Operator, what, Payload::None) {
                Ok(_) => emitted += 1,
                Err(CallError::Overloaded(_)) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        emitted
    });
    for round in 0..30 {
        // The index and the path of the route alternate, so that they identify the generation.
        let path = ["even", "odd"][round % 2];
        let append = json!({ "path": path, "handler": "append", "middlewares": ["inner"] });
        let list = json!({ "method": "get", "path": "list", "handler": "list" });
        let routes = if round % 2 == 0 { [list, append] } else { [append, list] };
        host.rewrite("counts", json!({ "routes": routes, "broadcasts": { "append": { "path": path } } }));
        assert_eq!(host.reload("counts").await["outcome"], "swapped");
    }
    stop.store(true, Ordering::Release);
    let emitted: u64 = emitter.join().unwrap();
    eventually("the last broadcast has started", || async {
        seen.lock().unwrap().values().all(|notes| notes.last().is_some_and(|(seq, _)| *seq >= emitted))
    })
    .await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    for (isolate, notes) in &*seen {
        let wrong = notes.iter().find(|(_, route)| !["POST append", "POST even", "POST odd"].contains(&route.as_str()));
        assert_eq!(wrong, None, "{isolate}");
        assert!(notes.iter().map(|(seq, _)| *seq).eq(1..=emitted), "{isolate} starts each broadcast once, in order");
    }
    assert!(seen.values().next() == seen.values().last(), "each broadcast runs in one generation in all workers");
}
