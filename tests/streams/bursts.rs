//! Many clients at once.

use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use serde_json::json;

use super::{count, path, with};
use crate::harness::{EventStream, eventually};

/// The clients that connect in one burst. Half of them find room.
const CLIENTS: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_10_000_clients_is_admitted_or_turned_away() {
    fanfare::raise_descriptor_limit();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let limit: u64 = limit.split_whitespace().next().unwrap().parse().unwrap();
    // A client and its connection are both in this process, and other tests run, too.
    let clients = CLIENTS.min(usize::try_from(limit.saturating_sub(4_096) / 3).unwrap_or(CLIENTS));
    let room = clients / 2;
    let host = with(json!({ "maxClients": room }))
        .config(json!({ "http": { "maxConnections": clients + 100 } }))
        .start()
        .await;
    let begun = Instant::now();
    let connect = |number: usize| {
        let (address, path) = (host.http, path(&format!("key-{}", number % 100)));
        async move {
            let mut stream = EventStream::try_resume(address, &path, "").await;
            assert_eq!(stream.status, 200);
            let first = stream.block().await.expect("a first block");
            (first.event.is_none()).then_some(stream)
        }
    };
    let streams: Vec<Option<EventStream>> =
        stream::iter(0..clients).map(connect).buffer_unordered(1_000).collect().await;
    let mut open: Vec<EventStream> = streams.into_iter().flatten().collect();
    println!("{clients} clients connected in {:?}", begun.elapsed());
    assert_eq!((open.len(), count(&host, None)), (room, u32::try_from(room).unwrap()));
    assert_eq!(host.running().publish_all("to all").unwrap() as usize, room);
    for stream in &mut open {
        assert_eq!(stream.data().await, "to all");
    }
    drop(open);
    eventually("all have left", || async { count(&host, None) == 0 }).await;
    assert!(begun.elapsed() < Duration::from_secs(60));
}
