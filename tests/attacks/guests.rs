//! Hostile guests attack the host and the other modules: storms of messages, loops that feed
//! themselves, futures that nobody reads, hooks that misbehave, and arguments that nobody expects.
//! The guest `storms` does what its programs say.

use std::fs;

use serde_json::{Value, json};

use super::steady_client::SteadyClient;
use crate::channels::client::Client;
use crate::harness::{Received, Started, TestHost, WebSocket, eventually, source_of};

const GUEST: &str = "storms";

/// A host with a good module, the guest with these programs, and a listener for clients.
fn with(on: Value) -> TestHost {
    let limits = json!({ "cpu": "20s", "timeout": "20s" });
    TestHost::with("flags")
        .and(GUEST)
        .manifest(GUEST, json!({ "config": { "on": on }, "limits": limits }))
        .config(json!({ "limits": { "max": limits } }))
        .config(json!({ "isolate": { "maxRestarts": 10_000, "restartBackoff": "1ms", "restartBackoffMax": "5ms" } }))
        .config(json!({ "websocket": { "listeners": [{ "path": "/socketcluster/", "module": GUEST }] } }))
}

/// The guest asks for capabilities, and the operator grants them.
fn granted(host: TestHost, capabilities: Value) -> TestHost {
    host.manifest(GUEST, json!({ "capabilities": capabilities })).grant(GUEST, capabilities)
}

fn times(times: usize, steps: Value) -> Value {
    json!({ "times": times, "steps": steps })
}

impl Started {
    /// Runs a program, and returns the outcomes of its acts.
    async fn storm(&self, program: Value) -> Value {
        let answer = self.post(&format!("/api/{GUEST}/run"), program.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Runs a program that ends the instance. Returns the code of the error.
    async fn crash(&self, program: Value) -> Value {
        self.post(&format!("/api/{GUEST}/run"), program.to_string()).await.json()["code"].clone()
    }

    fn good_client(&self) -> SteadyClient {
        SteadyClient::start(self.http, "/api/flags/dark-mode")
    }
}

/// Ends a client that must have seen no failure.
async fn assert_served(good: SteadyClient) {
    let (answered, failed) = good.stop().await;
    assert!(failed.is_empty() && answered > 0, "{answered} answered; failed: {failed:?}");
}

/// Programs that cause themselves.
struct Loops {
    /// Emits many events to the subscription `loop`.
    emit: Value,
    /// Publishes many messages to a channel that the guest subscribes to.
    publish: Value,
    /// Publishes two messages to a channel with a route.
    route: Value,
    /// Calls the guest in each worker, twice.
    notify: Value,
    broadcast: Value,
    /// Sends two messages to the master object, whose hook runs in each worker.
    post: Value,
}

impl Loops {
    fn new() -> Loops {
        let publish = |count: usize, channel: &str| {
            times(count, json!([{ "do": "channelPublish", "channel": channel, "payload": "none" }]))
        };
        Loops {
            emit: times(50, json!([{ "do": "emit", "type": "storms/loop", "payload": { "size": 1_000 } }])),
            publish: publish(50, "storms/loop"),
            route: publish(2, "storms/routed/{n}"),
            notify: times(2, json!([{ "do": "notify", "to": "workers", "route": "/react" }])),
            broadcast: times(2, json!([{ "do": "broadcast", "name": "storm" }])),
            post: times(2, json!([{ "do": "masterPost", "payload": { "size": 1_000 } }])),
        }
    }

    fn subscribe() -> Value {
        json!({ "do": "channelSubscribe", "channel": "storms/loop", "route": "react" })
    }

    /// Starts a host whose guest reacts with these programs.
    async fn host(on: Value) -> Started {
        let manifest = json!({
            "subscriptions": { "loop": { "event": "storms/loop", "path": "react" } },
            "hooks": { "workerMessage": { "path": "react" } },
        });
        with(on).manifest(GUEST, manifest).start().await
    }
}

/// Waits for more calls of the guest than a number, with this trigger and outcome.
async fn eventually_calls(host: &Started, trigger: &str, outcome: &str, least: f64) {
    let (with_trigger, with_outcome) = (format!("trigger=\"{trigger}\""), format!("outcome=\"{outcome}\""));
    let labels = [&*with_trigger, &with_outcome, "module=\"storms\""];
    let calls = || async { host.metric("fanfare_calls_total", &labels).await > least };
    eventually(&format!("{trigger}: {outcome}"), calls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_that_feed_themselves_fill_their_queues_and_no_more() {
    let Loops { emit, publish, .. } = Loops::new();
    let host = Loops::host(json!({ "subscription": [emit, publish] })).await;
    let good = host.good_client();
    host.storm(json!([Loops::subscribe(), emit, publish])).await;
    // One subscription of the manifest, and one of the guest.
    for name in ["loop", "storms/loop => react"] {
        let label = format!("subscription=\"{name}\"");
        let labels = [label.as_str()];
        let of = |metric| host.metric(metric, &labels);
        eventually("a full queue", || async { of("fanfare_subscription_dropped_total").await > 0.0 }).await;
        let (waiting, bytes) =
            (of("fanfare_subscription_waiting").await, of("fanfare_subscription_queued_bytes").await);
        assert!(waiting <= 1_024.0 && bytes <= 1_048_576.0, "{name}: {waiting} messages, {bytes} bytes");
    }
    assert_served(good).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_and_messages_to_the_master_that_feed_themselves_are_overloaded() {
    let Loops { notify, post, .. } = Loops::new();
    let host = Loops::host(json!({ "rpc": [notify, post], "workerMessage": [notify] })).await;
    let good = host.good_client();
    host.storm(json!([post])).await;
    for trigger in ["rpc", "hook"] {
        eventually_calls(&host, trigger, "ok", 100.0).await;
        eventually_calls(&host, trigger, "overloaded", 0.0).await;
    }
    assert_served(good).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broadcasts_that_feed_themselves_are_overloaded() {
    let Loops { broadcast, .. } = Loops::new();
    let host = Loops::host(json!({ "broadcast": [broadcast] })).await;
    let good = host.good_client();
    host.storm(json!([broadcast])).await;
    eventually_calls(&host, "broadcast", "ok", 100.0).await;
    eventually_calls(&host, "broadcast", "overloaded", 0.0).await;
    assert_served(good).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loops_that_feed_themselves_fail_no_request_of_a_good_module() {
    let Loops { emit, publish, route, notify, broadcast, post } = Loops::new();
    let host = Loops::host(json!({
        "subscription": [emit, publish], "publish": [route],
        "rpc": [notify, post], "broadcast": [broadcast], "workerMessage": [notify],
    }))
    .await;
    let good = host.good_client();
    host.storm(json!([Loops::subscribe(), emit, publish, route, broadcast, post])).await;
    for (trigger, least) in
        [("subscription", 3.0), ("rpc", 100.0), ("broadcast", 100.0), ("hook", 10.0), ("channel", 100.0)]
    {
        eventually_calls(&host, trigger, "ok", least).await;
    }
    assert_served(good).await;
    host.stop().await;
}

#[tokio::test]
async fn the_channels_of_one_module_leave_room_for_those_of_others() {
    let on = json!({ "publish": [{ "do": "never" }] });
    let grants = json!({ "sessions": true, "channels": ["lobby/*"] });
    let host = with(on).and("channels").grant("channels", grants).start().await;
    let message =
        |size: usize| json!([{ "do": "channelPublish", "channel": "storms/routed/{n}", "payload": { "size": size } }]);
    // The small messages leave no room behind the large ones.
    let storm = host.storm(json!([times(100, message(1_000_000)), times(1_500, message(1_000))])).await;
    assert!(storm["channelPublish"]["overloaded"].as_u64() > Some(0), "{storm}");
    assert!(host.metric("fanfare_bound_reached_total", &["bound=\"channel-bytes\""]).await > 0.0);
    for _ in 0..3 {
        let publish = json!({
            "do": "publishAndWait", "channel": "channels/routed/good", "payload": { "size": 1_000 },
        });
        let published = host.post("/api/channels/use", publish.to_string()).await.json();
        assert_eq!(published, Value::Null, "another module publishes");
    }
}

#[tokio::test]
async fn a_client_can_be_asked_although_a_guest_keeps_futures_that_it_never_reads() {
    let host = granted(with(json!({})), json!({ "sessions": true }));
    let host = host.config(json!({ "websocket": { "ackTimeout": "300ms" } })).start().await;
    let mut client = Client::open(&host, 2).await;
    client.ok("/session", json!([{ "do": "join", "group": "all", "count": 1 }])).await;
    let ask = |how: &str| json!({ "do": "askAll", "group": "all", "name": "question", "how": how });
    assert_eq!(host.storm(json!([times(200, json!([ask("drop")]))])).await["askAll"]["ok"], 200);
    // The dropped ones wait no longer.
    assert_eq!(host.storm(json!([ask("await")])).await["askAll"]["timeout"], 1);
    assert_eq!(host.storm(json!([times(100, json!([ask("hold")]))])).await["askAll"]["ok"], 100);
    eventually("the held ones have timed out", || async {
        host.storm(json!([ask("await")])).await["askAll"]["timeout"] == 1
    })
    .await;
}

#[tokio::test]
async fn subscriptions_made_in_loops_stay_within_the_limit_and_leave_nothing() {
    let host = with(json!({})).start().await;
    let churn = json!([
        { "do": "eventsSubscribe", "pattern": "storms/x", "route": "react" },
        { "do": "eventsUnsubscribe", "subscription": "storms/x -> react" },
        { "do": "channelSubscribe", "channel": "storms/x", "route": "react" },
        { "do": "channelUnsubscribe", "subscription": "storms/x => react" },
    ]);
    let churned = host.storm(json!([times(5_000, churn)])).await;
    for act in ["eventsSubscribe", "eventsUnsubscribe", "channelSubscribe", "channelUnsubscribe"] {
        assert_eq!(churned[act]["ok"], 5_000, "{act}: {churned}");
    }
    assert_eq!(host.running().subscriptions().len(), 0);
    assert_eq!(host.metric("fanfare_channels", &[]).await, 0.0, "nobody listens to the channel");
    let endless =
        json!([times(200, json!([{ "do": "eventsSubscribe", "pattern": "storms/{n}", "route": "reacted" }]))]);
    for _ in 0..3 {
        for worker in ["worker-0", "worker-1"] {
            host.call(worker, GUEST, "run", endless.to_string()).await;
        }
        assert_eq!(host.running().subscriptions().len(), 2 * 64);
        // The subscriptions stay over crashes, and still count.
        assert_eq!(host.crash(json!([{ "do": "trap" }])).await, "crashed");
        assert_eq!(host.running().subscriptions().len(), 2 * 64);
    }
    let routes = source_of(GUEST).join("module.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(routes).unwrap()).unwrap();
    let routes = manifest["routes"].as_array_mut().unwrap();
    routes.retain(|route| route["path"] != "reacted");
    host.rewrite(GUEST, json!({ "routes": routes }));
    let swapped = host.reload(GUEST).await;
    assert_eq!(swapped["outcome"], "swapped", "{swapped}");
    eventually("no subscription is left", || async { host.running().subscriptions().is_empty() }).await;
}

#[tokio::test]
async fn reloads_without_end_delay_no_other_reload_and_a_name_that_no_folder_has_is_not_found() {
    let host = with(json!({ "swapCommitted": [{ "do": "reload", "module": GUEST }] }))
        .manifest(GUEST, json!({ "hooks": { "swapCommitted": { "path": "react" } } }))
        .and("counter");
    let host = granted(host, json!({ "reload": true })).start().await;
    let good = host.good_client();
    // Longer than the name of a file can be, and with bytes that no name has.
    for name in [json!({ "long": 100_000 }), json!({ "long": 300 }), json!("a\u{0}b"), json!("nobody"), json!("../x")] {
        let asked = host.storm(json!([{ "do": "reload", "module": name }])).await;
        assert_eq!(asked["reload"]["not-found"], 1, "{asked}");
        assert!(asked["reload"]["last"].as_str().unwrap().len() < 500, "{asked}");
    }
    assert_eq!(host.status().await["modules"].as_array().unwrap().len(), 3);
    assert_eq!(host.storm(json!([{ "do": "reload", "module": GUEST }])).await["reload"]["ok"], 1);
    let swaps = || host.metric("fanfare_reloads_total", &["outcome=\"swapped\""]);
    eventually("reloads follow each other", || async { swaps().await > 5.0 }).await;
    for _ in 0..3 {
        let swapped = host.reload("counter").await;
        assert_eq!(swapped["outcome"], "swapped", "{swapped}");
    }
    assert_served(good).await;
}

#[tokio::test]
async fn hooks_of_clients_that_misbehave_leave_no_session_behind() {
    let on = json!({
        "connect": [
            { "do": "join", "group": "all", "count": 1 }, { "do": "bind", "uid": "ada", "taken": "share" },
            { "do": "channelAdd", "channel": "storms/members/1" }, { "do": "send", "to": "", "name": "hi" },
            { "do": "disconnect", "code": 4_321, "reason": "at once" },
        ],
        "disconnect": [
            { "do": "send", "to": "everyone", "name": "bye", "payload": { "size": 100_000 } },
            { "do": "send", "to": "", "name": "bye" }, { "do": "join", "group": "all", "count": 1 },
            { "do": "bind", "uid": "ada", "taken": "replace" }, { "do": "set", "key": "k", "count": 1, "size": 9 },
            { "do": "channelAdd", "channel": "storms/members/1" }, { "do": "fail" },
        ],
        "leave": [{ "do": "never" }],
    });
    let hooks = json!({ "connect": { "path": "react" }, "disconnect": { "path": "react" } });
    let host = with(on).manifest(GUEST, json!({ "hooks": hooks, "limits": { "timeout": "500ms" } }));
    let host = granted(host, json!({ "sessions": true })).start().await;
    let good = host.good_client();
    for _ in 0..20 {
        let mut socket = WebSocket::open(host.http, "/api/storms/message").await;
        assert_eq!(socket.closed().await, 4_321);
        while socket.next().await != Received::End {}
    }
    eventually("nothing is left", || async {
        let left = host.storm(json!([
            { "do": "count" }, { "do": "groupMembers", "group": "all" }, { "do": "find", "uid": "ada" },
            { "do": "channelCount", "channel": "storms/members/1" },
        ]));
        let left = left.await;
        ["groupMembers", "find", "channelCount"].iter().all(|act| left[act]["last"] == 0)
            && left["count"]["last"] == json!([0, 0])
    })
    .await;
    assert_served(good).await;
}

#[tokio::test]
async fn values_users_and_groups_of_a_session_stay_within_their_bounds() {
    let host = with(json!({})).start().await;
    let mut client = Client::open(&host, 2).await;
    let set = |key: Value, count: usize, size: usize| json!({ "do": "set", "key": key, "count": count, "size": size });
    let done = client
        .ok(
            "/session",
            json!([
                times(3_000, json!([set(json!("k{n}"), 1, 10)])), { "do": "values" },
                times(200, json!([{ "do": "join", "group": "g{n}", "count": 1 }])),
                times(200, json!([{ "do": "bind", "uid": "u{n}", "taken": "share" }])), { "do": "count" },
            ]),
        )
        .await;
    assert_eq!((&done["set"]["ok"], &done["values"]["last"]), (&json!(1_024), &json!(1_024)), "{done}");
    assert_eq!((&done["join"]["ok"], &done["bind"]["ok"]), (&json!(64), &json!(200)), "{done}");
    assert_eq!(done["count"]["last"], json!([1, 1]), "a session is bound to one user");
    let mut other = Client::open(&host, 2).await;
    let sized = json!([
        set(json!("big"), 1, 70_000), set(json!("key"), 1, 60_000), set(json!("more"), 1, 10_000),
        set(json!({ "long": 257 }), 1, 2), set(json!("k{n}"), 10_001, 2), { "do": "values" },
    ]);
    let done = other.ok("/session", sized).await;
    assert_eq!((&done["set"]["ok"], &done["set"]["invalid"]), (&json!(1), &json!(4)), "{done}");
    assert_eq!(done["values"]["last"], 1);
    for bound in ["session-values", "session-groups", "session-name", "session-list"] {
        let label = format!("bound=\"{bound}\"");
        assert!(host.metric("fanfare_bound_reached_total", &[&label]).await > 0.0, "{bound}");
    }
    drop((client, other));
    eventually("the sessions have ended", || async {
        host.storm(json!([{ "do": "count" }])).await["count"]["last"] == json!([0, 0])
    })
    .await;
}

#[tokio::test]
async fn a_guest_that_names_the_calls_of_others_learns_nothing() {
    let rights = json!({ "rpc": ["echo", "serial", "counts"], "broadcast": ["counts"] });
    let host = with(json!({})).and("waits").grant("waits", rights).start().await;
    let secret = host.request("POST", "/api/waits/hold", &[("authorization", "secret")], "held");
    let holding = async || {
        let mut sum = 0;
        for worker in 0..2 {
            sum += host.run(worker, "waits", "holding", Value::Null).await.as_u64().unwrap();
        }
        sum
    };
    let pry = async {
        eventually("the call waits", || async { holding().await == 1 }).await;
        // Each thread of the host takes its numbers from a block of 4,096.
        let calls = (0..16).flat_map(|block| block * 4_096..block * 4_096 + 256);
        let calls = calls.map(|call| json!([{ "do": "as", "call": call }, { "do": "headers" }, { "do": "current" }]));
        let steps: Vec<Value> = calls.flat_map(|acts| acts.as_array().unwrap().clone()).collect();
        // As the operator, so that the call itself has neither headers nor a session.
        let found = host.run(0, GUEST, "run", steps.into()).await;
        for worker in 0..2 {
            host.run(worker, "waits", "release", Value::Null).await;
        }
        found
    };
    let (answer, found) = tokio::join!(secret, pry);
    assert_eq!((answer.status, answer.text()), (200, "held"));
    for act in ["headers", "current"] {
        assert_eq!((&found[act]["ok"], &found[act]["last"]), (&json!(4_096), &Value::Null), "{found}");
    }
}
