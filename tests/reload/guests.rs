//! Reloads that guests request.

use super::*;

#[tokio::test]
async fn a_guest_with_the_grant_reloads_a_module() {
    let host = TestHost::with("test-party").start().await;
    host.gather("test-party", "broadcastTest", "1").await;
    assert_eq!(json_of(&host.call("worker-1", "test-party", "test/feat/seen&method=GET", "").await)["seen"], 1);
    let receipt = host.post("/api/test-party/test/feat/reload", "").await;
    assert_eq!((receipt.status, &receipt.json()["seq"], &receipt.json()["accepted"]), (200, &json!(1), &json!(2)));
    eventually("both workers have a new instance", || async {
        let mut seen = Vec::new();
        for worker in ["worker-0", "worker-1"] {
            let answer = host.call(worker, "test-party", "test/feat/seen&method=GET", "").await;
            seen.push(json_of(&answer)["seen"].clone());
        }
        seen == [json!(0), json!(0)]
    })
    .await;
}

#[tokio::test]
async fn without_the_grant_a_reload_is_forbidden() {
    let host = TestHost::with("ungranted").start().await;
    for module in [json!("ungranted"), Value::Null] {
        let refused = host.post("/api/ungranted/reload", module.to_string()).await;
        assert_eq!(refused.json()["code"], "forbidden", "{}", refused.text());
        assert!(refused.text().contains("fanfare grant ungranted"), "{}", refused.text());
    }
}

#[tokio::test]
async fn a_guest_may_reload_all_modules_but_no_unknown_one() {
    let rights = json!({ "reload": true });
    let host = TestHost::with("ungranted").and("echo").manifest("ungranted", json!({ "capabilities": rights }));
    let host = host.grant("ungranted", rights).start().await;
    assert_eq!(host.count("worker-0", "echo").await, 1);
    let unknown = host.post("/api/ungranted/reload", "\"ghost\"").await;
    assert_eq!(unknown.json()["code"], "not-found", "{}", unknown.text());
    let outside = host.post("/api/ungranted/reload", "\"../echo\"").await;
    assert_eq!(outside.json()["code"], "not-found", "{}", outside.text());
    assert_eq!(host.post("/api/ungranted/reload", "null").await.status, 200);
    eventually("the other module has a new instance", || async { host.count("worker-0", "echo").await == 1 }).await;
}

#[tokio::test]
async fn a_startup_cannot_request_a_reload() {
    let rights = json!({ "reload": true });
    let host = TestHost::with("startup")
        .manifest("startup", json!({ "capabilities": rights, "config": { "mode": "reloads" } }));
    let host = host.grant("startup", rights).start().await;
    let started = host.run(0, "startup", "started&method=GET", Value::Null).await;
    assert!(started[1].as_str().unwrap().contains("a startup cannot request a reload"), "{started}");
}

#[tokio::test]
async fn requests_of_guests_do_not_accumulate() {
    use fanfare::tooling::Reloads as _;
    let host = TestHost::with("echo").start().await;
    let swapper = host.running().swapper();
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    for _ in 0..1_000 {
        swapper.request(None).unwrap();
    }
    assert!(alive() < before + 20, "{} tasks", alive() - before);
}
