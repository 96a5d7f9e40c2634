//! Fills everything that the host bounds, part by part, until all of it is full at the same time.
//! Compares the memory of the host with the formula of SECURITY.md: what each part adds, and all of
//! it.

mod fill;
mod formula;

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::cli::project::{Project, Serving, memory_of};
use crate::harness::{Redis, source_of};
use formula::{GUESTS, Line, MIB, ROUTES, SETTINGS, config};

/// What the host may need besides the part that is being filled: requests on their way, and memory
/// that the allocator keeps. Without its bound, each part would need far more than this.
const PASSING: u64 = 64 * MIB;

/// A host whose memory is compared with the formula.
struct Measured {
    serving: Serving,
    lines: Vec<Line>,
    peak: u64,
}

impl Measured {
    fn bytes(lines: &[Line]) -> u64 {
        lines.iter().map(|line| line.bytes(&SETTINGS)).sum()
    }

    /// Fills the parts of the host for which these lines are.
    async fn fill<T>(&mut self, lines: &[Line], fill: impl AsyncFnOnce(&Serving) -> T) -> T {
        let pid = self.serving.pid();
        let before = memory_of(pid, "VmRSS").expect("it runs");
        // The peak begins again with the current memory.
        fs::write(format!("/proc/{}/clear_refs", pid.as_raw_nonzero()), "5").unwrap();
        let filled = fill(&self.serving).await;
        let peak = self.serving.peak_memory();
        let (grown, most) = (peak - before.min(peak), Self::bytes(lines) + PASSING);
        println!("{lines:?}: {} MiB of {} MiB", grown / MIB, most / MIB);
        assert!(grown < most, "{lines:?}: {grown} of {most} bytes");
        self.peak = self.peak.max(peak);
        self.lines.extend(lines);
        filled
    }

    /// A part was full.
    async fn assert_at_least(&self, metric: &str, labels: &[&str], least: f64) {
        let value = self.serving.metric(metric, labels).await;
        assert!(value >= least, "{metric} {labels:?}: {value}");
    }
}

/// The manifest of `storms`, with handlers that never return.
fn storms(has_redis: bool) -> Value {
    let text = fs::read_to_string(source_of("storms").join("module.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    let never = json!([{ "do": "never" }]);
    let events = ["swapStarted", "swapCommitted", "moduleLoaded", "swapRejected"];
    manifest["config"] = json!({ "on": { "subscription": never } });
    for event in events {
        manifest["config"]["on"][event] = never.clone();
        manifest["hooks"][event] = json!({ "path": "react" });
    }
    manifest["capabilities"] = json!({ "events": ["*"], "publish": ["*"] });
    let queue = json!({ "messages": 65_536, "bytes": format!("{}B", SETTINGS.declared) });
    manifest["subscriptions"] = json!({ "all": { "event": "*", "path": "react", "deliver": "all", "queue": queue } });
    if has_redis {
        manifest["subscriptions"]["jobs"] = json!({ "redisStream": "jobs", "group": "fanfare", "path": "react" });
    }
    manifest
}

/// The manifest of a module whose channels have a route that never returns.
fn routes() -> Value {
    json!({
        "component": "storms.wasm",
        "routes": [
            { "path": "run", "handler": "run" },
            { "path": "react", "handler": "react", "middlewares": "inner" },
        ],
        "channels": { format!("{ROUTES}/*"): { "path": "react" } },
        "config": { "on": { "publish": [{ "do": "never" }] } },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_everything_full_the_host_needs_no_more_memory_than_security_md_says() {
    let redis = Redis::start().await;
    let mut settings = config(&SETTINGS);
    if let Some(redis) = &redis {
        let queue = json!({ "messages": 65_536, "bytes": format!("{}B", SETTINGS.redis) });
        settings["redis"] = redis.settings();
        // The server is frozen for longer than the host would wait.
        settings["redis"]["timeout"] = json!("5m");
        settings["redis"]["queue"] = queue;
    }
    let component = fs::read(source_of("storms").join("storms.wasm")).unwrap();
    let mut project = Project::with(&GUESTS)
        .config(settings)
        .file("modules/storms/module.json", storms(redis.is_some()).to_string())
        .file("modules/routes/module.json", routes().to_string())
        .file("modules/routes/storms.wasm", component);
    // Folders whose components are as large as they may be, and no components.
    let folders: Vec<String> = (0..24).map(|index| format!("junk-{index}")).collect();
    for name in &folders {
        let manifest = json!({ "component": "junk.wasm", "routes": [{ "path": "a", "handler": "a" }] });
        project = project
            .file(&format!("modules/{name}/module.json"), manifest.to_string())
            .file(&format!("modules/{name}/junk.wasm"), vec![0; SETTINGS.engine.max_component as usize]);
    }
    let (_unread, log) = std::io::pipe().unwrap();
    let mut serving = project.start_with(project.command(&["serve"]), log.into()).await;
    let events = serving.line().await;
    let events = events.rsplit_once("http://").expect("the address of the event service").1.parse().unwrap();
    let mut host = Measured { serving, lines: vec![Line::IdleHost, Line::Instances], peak: 0 };

    let sessions = host.fill(&[Line::Sessions], fill::sessions).await;
    host.assert_at_least("fanfare_websocket_refused_values_total", &[], 800.0).await;
    let members = host.fill(&[Line::ChannelSubscriptions], fill::members).await;
    host.assert_at_least("fanfare_channel_subscriptions", &[], 2_500.0).await;
    let slow = host.fill(&[Line::Messages, Line::Streams], fill::streams).await;
    host.assert_at_least("fanfare_hub_evicted_total", &[], 1_000.0).await;
    host.assert_at_least("fanfare_hub_history_bytes", &[], 12.0 * MIB as f64).await;
    host.assert_at_least("fanfare_hub_slow_clients_total", &["reason=\"hubQueued\""], 10.0).await;
    let deaf = host.fill(&[], fill::sockets).await;
    host.assert_at_least("fanfare_websocket_slow_clients_total", &["reason=\"hubQueued\""], 10.0).await;
    let lines = [Line::Events, Line::DeclaredSubscriptions, Line::GuestSubscriptions];
    host.fill(&lines, async |serving| fill::events(serving, events).await).await;
    host.assert_at_least("fanfare_events_kept_bytes", &[], 15.0 * MIB as f64).await;
    host.assert_at_least("fanfare_subscription_queued_bytes", &[], 8.0 * MIB as f64).await;
    host.fill(&[Line::ChannelWaiting], fill::routes).await;
    host.assert_at_least("fanfare_bound_reached_total", &["bound=\"channel-bytes\""], 1.0).await;
    host.fill(&[Line::Reloads, Line::Hooks], async |serving| fill::reloads(serving, &folders).await).await;
    // More than may wait for the hook that never returns.
    host.assert_at_least("fanfare_host_events_total", &[], 300.0).await;
    if let Some(redis) = &redis {
        host.fill(&[Line::Redis], async |serving| fill::redis(serving, redis).await).await;
        host.assert_at_least("fanfare_redis_queued_bytes", &[], 3.0 * MIB as f64).await;
    }
    host.fill(&[Line::Log], fill::log).await;
    host.assert_at_least("fanfare_log_lines_lost_total", &[], 1.0).await;
    let bodies = host.fill(&[Line::Connections], fill::bodies).await;
    host.assert_at_least("fanfare_http_buffered_refused_total", &[], 1.0).await;

    let most = Measured::bytes(&host.lines);
    println!("peak memory of the host: {} MiB of {} MiB", host.peak / MIB, most / MIB);
    assert!(host.peak < most, "{} of {most}: {:?}", host.peak, host.lines);
    drop((sessions, members, slow, deaf, bodies));
    host.serving.signal(Signal::KILL);
    host.serving.ended().await;
}
