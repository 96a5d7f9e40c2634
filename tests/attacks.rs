//! Hostile modules, guests and clients attack the real program, whose memory is limited.

mod chaos;
mod clients;
mod event_service;
mod faults;
mod folders;
mod guests;
mod memory_limit;
mod steady_client;
mod streams;
mod worst_case;

use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::json;

use crate::cli::project::{Project, Serving};
use memory_limit::MemoryLimit;
use steady_client::SteadyClient;

/// The memory limit of the host and its child processes, in bytes.
const LIMIT: u64 = 2_000_000_000;

/// The maximum memory that the host itself may use under these attacks, in bytes:
/// `http.maxBuffered`, `limits.queued` in both workers, and the rest of the host.
const MAX_PEAK: u64 = 1_400_000_000;

/// Calls the guest `hostile` so that the host buffers as much as it allows: six kinds of calls at
/// once, four times.
async fn guests(serving: &Serving) {
    let calls = [
        ("subdomains", json!({ "times": 50, "mib": 20 })),
        ("subdomains", json!({ "times": 1_000, "mib": 1 })),
        ("queries", json!({ "times": 200, "mib": 2 })),
        ("emits", json!({ "times": 200, "mib": 2 })),
        ("bodies", json!({ "times": 10_000 })),
        ("fields", json!({ "times": 10_000 })),
    ];
    for _ in 0..4 {
        let call = |(route, body): &(&'static str, serde_json::Value)| {
            clients::post(serving.http, format!("/api/hostile/{route}"), body.to_string())
        };
        join_all(calls.iter().map(call)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_on_the_hosts_memory_fail_no_request_of_a_good_module() {
    let project = Project::with(&["flags", "hostile", "echo"]).config(json!({
        "swap": { "watch": true, "poll": "1h", "settle": "0ms" },
        "modules": { "hostile": { "limits": { "cpu": "2s", "timeout": "5s" } } },
    }));
    let limit = MemoryLimit::new(LIMIT);
    let serving = project.start(project.shell(&limit.script(), &["serve"])).await;
    limit.watch(serving.pid());
    folders::pin(&project, &serving, "echo").await;

    let good = SteadyClient::start(serving.http, "/api/flags/dark-mode");
    let (unread, endless, ..) = tokio::join!(
        clients::unread_responses(serving.http, 12),
        clients::endless_bodies(serving.http, 12),
        guests(&serving),
        folders::deep_route(&project, &serving),
        folders::many_globals(&project, &serving),
        folders::many_memories(&project, &serving),
        folders::huge_file_under_a_pin(&project, &serving, "echo"),
        clients::deep_paths(serving.http),
    );
    let (answered, failed) = good.stop().await;
    assert!(failed.is_empty(), "{answered} answered; failed: {failed:?}");
    assert!(answered > 100, "{answered}");

    assert_eq!(serving.operator("GET", "/livez").await.status, 200);
    assert_eq!(serving.get("/api/flags/dark-mode").await.status, 404);
    let peak = serving.peak_memory();
    println!("{answered} requests of a good module answered; peak memory of the host: {peak} bytes");
    assert!(peak < MAX_PEAK, "{peak}");
    drop((unread, endless));
    serving.signal(Signal::KILL);
    limit.end(serving).await;
}
