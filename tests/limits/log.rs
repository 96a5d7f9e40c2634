//! The limits of a guest's log.

use serde_json::json;

use crate::harness::{Log, Started, TestHost};

async fn floods(name: &str, limit: &str, value: u32) -> Started {
    TestHost::empty().and_as("floods", name).limit(name, limit, value).workers(1).start().await
}

async fn print(host: &Started, name: &str, lines: usize, length: usize) {
    let flood = json!({ "lines": lines, "length": length });
    assert_eq!(host.post(&format!("/api/{name}/print"), flood.to_string()).await.text(), "ok");
}

fn lines_of(name: &str) -> Vec<String> {
    Log::capture().lines(&["guest: ", &format!("module={name} ")])
}

async fn dropped(host: &Started) -> usize {
    host.metric("fanfare_log_lines_dropped_total", &[]).await as usize
}

pub async fn log_rate() {
    let host = floods("rate-under", "logRate", 50).await;
    print(&host, "rate-under", 50, 10).await;
    assert_eq!((lines_of("rate-under").len(), dropped(&host).await), (50, 0));

    // The limit is per second, so more lines pass if a new second begins meanwhile.
    let host = floods("rate-over", "logRate", 50).await;
    print(&host, "rate-over", 1_001, 10).await;
    let (seen, dropped) = (lines_of("rate-over").len(), dropped(&host).await);
    assert_eq!(seen + dropped, 1_001);
    assert!((50..1_001).contains(&seen), "{seen} lines");
}

pub async fn log_line() {
    let host = floods("line-length", "logLine", 50).await;
    for (length, shown) in [(50, format!("{} ", "x".repeat(50))), (51, format!("{}… ", "x".repeat(50)))] {
        print(&host, "line-length", 1, length).await;
        let lines = lines_of("line-length");
        let last = lines.last().unwrap();
        assert!(last.contains(&format!("guest: {shown}module=")), "{length}: {last}");
    }
}
