//! The host's own panics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::steps::assert_names;
use crate::harness::TestHost;

#[tokio::test]
async fn a_panic_of_the_host_costs_one_instance_and_is_reported() {
    let once = Arc::new(AtomicBool::new(true));
    let host = TestHost::empty().and_as("traps", "panicked").and("echo").workers(1);
    let host = host.probe(Arc::new(move |call| {
        let here = &*call.context.module == "panicked" && &*call.route.handler == "ok";
        assert!(!(here && once.swap(false, Ordering::AcqRel)), "the fault of the host");
    }));
    let host = host.start().await;
    for module in ["panicked", "echo"] {
        assert_eq!(host.count("any", module).await, 1);
    }
    let held = async {
        let panics = async {
            host.until_running("panicked", 0, 1).await;
            host.get("/api/panicked/ok").await
        };
        tokio::join!(host.call("any", "panicked", "hold", ""), panics)
    };
    let (held, panicked) = held.await;
    assert_eq!((panicked.status, panicked.code()), (500, "crashed".to_owned()));
    assert_names(&panicked.json()["detail"], &["panicked", "`ok`", "the host panicked: the fault of the host"]);
    assert_eq!(held["code"], "crashed");
    assert!(host.log.contains(&["the instance crashed: the host panicked", "panicked"]));

    assert_eq!(host.get("/api/panicked/ok").await.text(), "ok");
    assert_eq!(host.count("any", "panicked").await, 1, "a new instance");
    assert_eq!(host.count("any", "echo").await, 2, "the same one");
}
