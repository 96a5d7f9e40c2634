//! The formula of "Worst-case memory" in SECURITY.md, and settings for a small host.

use serde_json::{Value, json};

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;

/// The guests of the test. Only `storms` has hooks of host events.
pub const GUESTS: [&str; 4] = ["sessions", "channels", "streams", "storms"];

/// A module with the component of `storms` whose mailbox is so large that what waits for routes of
/// channels reaches the bound of all of them first.
pub const ROUTES: &str = "routes";

/// The settings in the formula, with the names that they have in `fanfare.json`.
pub struct Settings {
    pub workers: u64,
    pub http: Http,
    pub hub: Hub,
    pub sse: Queue,
    pub websocket: WebSockets,
    pub events: Events,
    pub redis: u64,
    pub engine: Engine,
    pub swap_state: u64,
    pub limits: Limits,
    /// `queue.bytes` of the subscription that a `module.json` declares.
    pub declared: u64,
}

pub struct Http {
    pub max_connections: u64,
    pub max_buffered: u64,
    pub max_body: u64,
}

pub struct Hub {
    pub history: u64,
    pub queued: u64,
    pub topics: u64,
}

pub struct Queue {
    pub max_clients: u64,
    pub events: u64,
    /// So large that `hub.queued` is the bound that clients reach first.
    pub bytes: u64,
}

pub struct WebSockets {
    pub clients: Queue,
    pub session_size: u64,
    pub in_flight: u64,
    pub socket_channel_limit: u64,
}

pub struct Events {
    pub history: u64,
    pub queue: u64,
}

pub struct Engine {
    pub max_component: u64,
    pub max_instance_size: u64,
}

pub struct Limits {
    pub memory: u64,
    pub queued: u64,
    pub payload: u64,
    pub concurrency: u64,
    pub nested: u64,
    pub mailbox: u64,
    pub subscriptions: u64,
}

pub const SETTINGS: Settings = Settings {
    workers: 2,
    http: Http { max_connections: 500, max_buffered: 16 * MIB, max_body: 256 * KIB },
    hub: Hub { history: 16 * MIB, queued: 8 * MIB, topics: 2_000 },
    sse: Queue { max_clients: 100, events: 256, bytes: 64 * MIB },
    websocket: WebSockets {
        clients: Queue { max_clients: 200, events: 256, bytes: 64 * MIB },
        session_size: 64 * KIB,
        in_flight: 16,
        socket_channel_limit: 100,
    },
    events: Events { history: 16 * MIB, queue: MIB },
    redis: 4 * MIB,
    engine: Engine { max_component: 2 * MIB, max_instance_size: 4 * MIB },
    swap_state: MIB,
    limits: Limits {
        memory: 8 * MIB,
        queued: 2 * MIB,
        payload: 256 * KIB,
        concurrency: 8,
        nested: 2,
        mailbox: 256,
        subscriptions: 1,
    },
    declared: 4 * MIB,
};

/// A line of the formula, or a part of one. The test does not fill those of calls that wait or run,
/// of lists of members, and of the operator: they are absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    IdleHost,
    /// Log lines that wait, and host events.
    Log,
    Instances,
    GuestSubscriptions,
    Hooks,
    DeclaredSubscriptions,
    Connections,
    Messages,
    Streams,
    Sessions,
    ChannelSubscriptions,
    /// What waits for the routes of channels.
    ChannelWaiting,
    Events,
    Redis,
    Reloads,
}

impl Line {
    /// The most bytes that it may need.
    pub fn bytes(self, settings: &Settings) -> u64 {
        let Settings { workers, http, hub, sse, websocket, events, engine, limits, .. } = settings;
        let modules = GUESTS.len() as u64 + 1;
        let session =
            websocket.session_size + 256 * KIB + websocket.in_flight * 2 * KIB + websocket.clients.events * 32;
        match self {
            Line::IdleHost => 40 * MIB,
            Line::Log => 72 * MIB,
            Line::Instances => modules * workers * (limits.memory + engine.max_instance_size),
            Line::GuestSubscriptions => modules * workers * limits.subscriptions * MIB,
            Line::Hooks => limits.mailbox * 32 * KIB,
            // With `"deliver": "all"`.
            Line::DeclaredSubscriptions => workers * settings.declared,
            Line::Connections => 2 * http.max_buffered + http.max_connections * 96 * KIB,
            Line::Messages => 3 * (hub.history + (1 + 2 * workers) * hub.queued) / 2 + hub.topics * 2 * KIB,
            Line::Streams => sse.max_clients * sse.events * 32,
            Line::Sessions => websocket.clients.max_clients * session,
            Line::ChannelSubscriptions => {
                1_000_000.min(websocket.clients.max_clients * websocket.socket_channel_limit) * KIB
            }
            Line::ChannelWaiting => 128 * MIB,
            Line::Events => events.history + 2 * events.queue + 4 * MIB,
            // One connection, and one subscription to a stream.
            Line::Redis => 2 * settings.redis + 3 * limits.payload + 4 * MIB + 16 * MIB + 128 * MIB,
            // One module at a time.
            Line::Reloads => 8 * engine.max_component + 2 * workers * settings.swap_state,
        }
    }
}

/// The content of `fanfare.json`, without `redis`.
pub fn config(settings: &Settings) -> Value {
    let Settings { workers, http, hub, sse, websocket, events, engine, limits, .. } = settings;
    let bytes = |bytes: u64| format!("{bytes}B");
    let limits = json!({
        "memory": bytes(limits.memory), "queued": bytes(limits.queued), "payload": bytes(limits.payload),
        "concurrency": limits.concurrency, "nested": limits.nested, "mailbox": limits.mailbox,
        "subscriptions": limits.subscriptions, "timeout": "5m", "cpu": "20s", "logRate": 1_000_000,
    });
    let (mut routes, mut max) = (limits.clone(), limits.clone());
    for limits in [&mut routes, &mut max] {
        (limits["queued"], limits["mailbox"]) = (json!("1GiB"), json!(4_096));
    }
    let queue = |queue: &Queue| json!({ "events": queue.events, "bytes": bytes(queue.bytes) });
    json!({
        "workers": workers,
        "http": {
            "listen": "127.0.0.1:0", "maxConnections": http.max_connections, "maxBuffered": bytes(http.max_buffered),
            "maxBody": bytes(http.max_body), "bodyTimeout": "5m",
        },
        "hub": { "history": bytes(hub.history), "queued": bytes(hub.queued), "topics": hub.topics },
        "sse": {
            "maxClients": sse.max_clients, "queue": queue(sse), "history": { "count": 100, "bytes": "2MiB" },
        },
        "websocket": {
            "listeners": [{ "path": "/socketcluster/", "module": "channels" }],
            "maxClients": websocket.clients.max_clients, "queue": queue(&websocket.clients),
            "sessionSize": bytes(websocket.session_size), "inFlight": websocket.in_flight,
            "socketChannelLimit": websocket.socket_channel_limit, "pingInterval": "1h", "pingTimeout": "2h",
            "messageTimeout": "5m", "maxMessage": "8MiB", "ackTimeout": "5m",
        },
        "events": {
            "listen": "127.0.0.1:0", "history": { "bytes": bytes(events.history) },
            "queue": { "bytes": bytes(events.queue) },
        },
        "engine": {
            "maxComponent": bytes(engine.max_component), "maxInstanceSize": bytes(engine.max_instance_size),
        },
        "swap": { "watch": false, "state": bytes(settings.swap_state) },
        "limits": { "max": max },
        "modules": {
            "sessions": { "limits": limits, "grants": { "sessions": true } },
            "channels": { "limits": limits, "grants": { "sessions": true, "channels": ["lobby/*"] } },
            "streams": { "limits": limits },
            ROUTES: { "limits": routes },
            "storms": { "limits": limits, "grants": { "events": ["*"], "publish": ["*"], "subscribe": ["*"] } },
        },
    })
}
