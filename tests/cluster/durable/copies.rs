//! Streams with fewer copies than three NATS servers can keep.

use futures_util::future::join_all;

use super::*;

#[tokio::test]
async fn a_stream_with_one_copy_gets_three_on_three_servers() {
    let Some(servers) = Nats::three().await else { return };
    let url = servers.iter().map(Nats::url).collect::<Vec<_>>().join(",");
    let a = start_at(&url).await;
    let context = jetstream(&servers[0]).await;
    let streams = ["KV_fanfare", "fanfare_broadcasts", "fanfare_parked"];
    let config = async |stream: &str| context.get_stream(stream).await.unwrap().cached_info().config.clone();
    assert!(keep(&a, "before").await["seq"].is_u64());
    a.stop().await;
    for stream in streams {
        let fewer = jetstream::stream::Config { num_replicas: 1, ..config(stream).await };
        assert_eq!(context.update_stream(fewer).await.unwrap().config.num_replicas, 1, "{stream}");
    }
    // Each server tells of the streams of which it has a copy.
    let project = |server: &Nats| Project::with(&[GUEST]).config(node("x", "node", &server.url()));
    let projects = servers.each_ref().map(|server| (project(server), server.monitor()));
    let doctor = async || {
        let told = projects
            .iter()
            .map(async |(project, monitor)| project.run(&["doctor", "--nats-monitor", monitor]).await.out);
        join_all(told).await.concat()
    };
    let lost = "has 1 copy on 3 NATS servers, so that its messages may be lost";
    eventually_within(20, "doctor warns", || async { doctor().await.matches(lost).count() == 3 }).await;
    let a = start_at(&url).await;
    for stream in streams {
        eventually_within(20, "it has three copies", || async { config(stream).await.num_replicas == 3 }).await;
    }
    // A server tells of a copy once it has begun to write it.
    let is_told = |told: String| !told.contains("1 copy") && told.matches("has 3 copies").count() == 9;
    eventually_within(20, "doctor says so", || async { is_told(doctor().await) }).await;
    eventually("it accepts", || async { keep(&a, "after").await["seq"].is_u64() }).await;
    all_hear(&a, &["after".to_owned()]).await;
}

/// A node that uses all streams of the test.
async fn start_at(url: &str) -> Started {
    let started = host(url, "a-1").start().await;
    reads(&started).await;
    let told = started.reload(GUEST).await;
    assert_eq!(told["outcome"], "swapped", "it uses the bucket: {told}");
    started
}
