//! Streams that were made while one of three NATS servers was away.

use super::*;

#[tokio::test]
async fn a_stream_that_was_made_with_one_copy_gets_three_when_all_servers_are_there() {
    let Some(mut servers) = Nats::three().await else { return };
    servers[2].kill();
    let context = jetstream(&servers[0]).await;
    let led = || async { context.query_account().await.is_ok() };
    eventually_within(30, "the others have a leader", led).await;
    let url = servers.iter().map(Nats::url).collect::<Vec<_>>().join(",");
    let a = host(&url, "a-1").start().await;
    reads(&a).await;
    assert_eq!(a.reload(GUEST).await["nodes"][0]["outcome"], "swapped", "it uses the bucket");
    let streams = ["KV_fanfare", "fanfare_broadcasts", "fanfare_parked"];
    let copies = async |stream: &str| context.get_stream(stream).await.unwrap().cached_info().config.num_replicas;
    for stream in streams {
        assert_eq!(copies(stream).await, 1, "{stream}");
    }
    keep(&a, "before").await;
    let project = Project::with(&[GUEST]).config(node("x", "node", &servers[0].url()));
    let monitor = servers[0].monitor();
    let doctor = async || project.run(&["doctor", "--nats-monitor", &monitor]).await.out;
    let warned = doctor().await;
    assert!(warned.contains("has 1 copy on 3 NATS servers, so that its messages may be lost"), "{warned}");
    servers[2].run().await;
    for stream in streams {
        eventually_within(30, "it has three copies", || async { copies(stream).await == 3 }).await;
    }
    let told = doctor().await;
    assert!(!told.contains("1 copy") && told.contains("ok  ") && told.contains("_broadcasts has 3 copies"), "{told}");
    keep(&a, "after").await;
    all_hear(&a, &["before", "after"].map(str::to_owned)).await;
}
