//! `fanfare broadcasts`: parked broadcasts, and their replay.

use super::*;

/// The parked broadcasts, as a node lists them.
pub(super) async fn parked(host: &Started, module: &str) -> Vec<Value> {
    let parked = host.admin("GET", &format!("/v1/broadcasts/parked?module={module}"), "").await.json();
    parked["broadcasts"].as_array().unwrap_or_else(|| panic!("{parked}")).clone()
}

pub(super) async fn replay(host: &Started, query: &str) -> Value {
    host.admin("POST", &format!("/v1/broadcasts/replay?{query}"), "").await.json()
}

#[tokio::test]
async fn a_parked_broadcast_is_listed_and_a_replay_runs_it_where_it_has_failed() {
    for nats in Nats::all().await {
        let [a, b] = two(&nats).await;
        // It succeeds in all workers except in worker 1 of b.
        for (host, worker) in [(&a, 0), (&a, 1), (&b, 0)] {
            host.call(&format!("worker-{worker}"), GUEST, "open", "").await;
        }
        for text in ["gate x", "last"] {
            keep(&a, text).await;
        }
        eventually("it is parked", || async { parked(&a, GUEST).await.len() == 1 }).await;
        let one = parked(&a, GUEST).await[0].clone();
        assert_eq!(
            (&one["id"], &one["module"], &one["broadcast"], &one["node"], &one["workers"], &one["tries"]),
            (&json!(1), &json!(GUEST), &json!("told"), &json!("b-1"), &json!([1]), &json!(3)),
            "{one}"
        );
        assert_eq!((&one["payload"], &one["size"], &one["position"]), (&json!("gate x"), &json!(6), &json!(1)));
        assert!(one["reason"].as_str().unwrap().contains("delivery 3 of gate x is refused"), "{one}");
        assert_eq!(parked(&b, "other").await, Vec::<Value>::new());
        assert_eq!(replay(&a, "id=9").await["code"], "not-found");
        assert_eq!(replay(&a, "id=1&all=true").await["code"], "invalid");

        // It fails again, and is parked again.
        assert_eq!(replay(&a, "id=1").await["replayed"], json!([{ "id": 1, "position": 3 }]));
        eventually("it is parked again", || async {
            parked(&a, GUEST).await.first().is_some_and(|one| one["id"] == 2)
        })
        .await;
        b.call("worker-1", GUEST, "open", "").await;
        let replayed = replay(&a, &format!("all=true&module={GUEST}")).await;
        assert_eq!(replayed, json!({ "replayed": [{ "id": 2, "position": 4 }], "failed": [] }));
        eventually("it runs", || async { texts(&b, 1).await.len() == 2 }).await;
        assert_eq!(texts(&b, 1).await, ["last", "gate x"]);
        keep(&a, "end").await;
        for (host, worker) in [(&a, 0), (&a, 1), (&b, 0)] {
            eventually("it hears the end", || async { texts(host, worker).await.len() >= 3 }).await;
            assert_eq!(texts(host, worker).await, ["gate x", "last", "end"], "it ran once there");
        }
        assert_eq!(parked(&a, GUEST).await, Vec::<Value>::new());
        assert_eq!(a.metric("fanfare_durable_replayed_total", &[]).await, 2.0);
        // Both nodes park this one, and everywhere means on both nodes.
        keep(&a, "fail3 y").await;
        eventually("both nodes park it", || async { parked(&a, GUEST).await.len() == 2 }).await;
        let id = parked(&a, GUEST).await[0]["id"].clone();
        replay(&a, &format!("id={id}&everywhere=true")).await;
        eventually("both nodes park it again", || async { parked(&a, GUEST).await.len() == 3 }).await;
    }
}

#[tokio::test]
async fn the_command_lists_parked_broadcasts_and_replays_them() {
    let Some(nats) = Nats::start().await else { return };
    let project = process(&nats.url(), "a-1");
    let a = serve(&project).await;
    let admin = a.admin();
    let run = async |args: &[&str]| project.run(&[&["broadcasts"], args, &["--admin", &admin]].concat()).await;
    assert_eq!(run(&["parked"]).await.out, "nothing is parked\n");
    let emit = format!("/v1/modules/{GUEST}/broadcasts/told");
    let connection = || crate::harness::Connection::open(a.admin);
    connection().await.send("POST", &emit, &[], "gate x").await;
    eventually("it is parked", || async { a.metric("fanfare_durable_parked_total", &[]).await == 1.0 }).await;
    let shown = run(&["parked", GUEST]).await;
    assert!(shown.out.contains("1   durable  told       a-1   0,1      1         3      gate x"), "{}", shown.out);
    let listed = run(&["parked", "--json"]).await.json();
    assert_eq!(listed["broadcasts"][0]["workers"], json!([0, 1]), "{listed}");
    for worker in [0, 1] {
        let open = format!("/v1/modules/{GUEST}/call?target=worker-{worker}&path=open");
        assert_eq!(connection().await.send("POST", &open, &[], "").await.status, 200);
    }
    let replayed = run(&["replay", "--all"]).await;
    assert_eq!((replayed.code, &*replayed.out), (0, "1 is at position 2 of the stream\n"), "{}", replayed.err);
    eventually("it runs", || async { recorded(&project, "a-1", 1).last().is_some_and(|text| text == "gate x") }).await;
    assert_eq!(run(&["replay", "--all", "--json"]).await.json(), json!({ "replayed": [], "failed": [] }));
    let status = run(&[]).await;
    assert!(status.out.contains("durable  yes    2"), "{}", status.out);
}
