//! Streams with fewer copies than three NATS servers can keep.

use super::*;

#[tokio::test]
async fn a_stream_with_one_copy_gets_three_on_three_servers() {
    let Some(servers) = Nats::three().await else { return };
    let url = servers.iter().map(Nats::url).collect::<Vec<_>>().join(",");
    let a = host(&url, "a-1").start().await;
    reads(&a).await;
    let told = a.reload(GUEST).await;
    assert!(told.to_string().contains("swapped"), "it uses the bucket: {told}");
    let context = jetstream(&servers[0]).await;
    let streams = ["KV_fanfare", "fanfare_broadcasts", "fanfare_parked"];
    let config = async |stream: &str| context.get_stream(stream).await.unwrap().cached_info().config.clone();
    assert!(keep(&a, "before").await["seq"].is_u64());
    for stream in streams {
        let fewer = jetstream::stream::Config { num_replicas: 1, ..config(stream).await };
        assert_eq!(context.update_stream(fewer).await.unwrap().config.num_replicas, 1, "{stream}");
    }
    for stream in streams {
        eventually("it has three copies", || async { config(stream).await.num_replicas == 3 }).await;
    }
    eventually("it accepts", || async { keep(&a, "after").await["seq"].is_u64() }).await;
    all_hear(&a, &["before", "after"].map(str::to_owned)).await;
}
