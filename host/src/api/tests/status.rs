use super::*;

fn module(name: &str, state: State) -> ModuleStatus {
    ModuleStatus { name: name.into(), state, ..ModuleStatus::default() }
}

#[test]
fn the_status_matches_its_golden_file() {
    let isolates = vec![
        IsolateStatus {
            isolate: "worker-0".into(),
            state: State::Ready,
            generation: Some("0123456789ab".into()),
            in_flight: 3,
            held: true,
            waiting: 4,
            waiting_broadcasts: 1,
            ..IsolateStatus::default()
        },
        IsolateStatus {
            isolate: "worker-1".into(),
            state: State::Restarting,
            restarts_in: Some(200),
            generation: Some("0123456789ab".into()),
            reason: Some("wasm trap: unreachable".into()),
            ended_at: Some(1_764_144_000_000),
            restarts: 2,
            crashes: 5,
            replaced: 3,
            leaked: 1,
            ..IsolateStatus::default()
        },
    ];
    let flags = ModuleStatus {
        generation: Some("0123456789abcdef".into()),
        serial: true,
        note: Some("pinned by a rollback".into()),
        sockets: vec![SocketStatus {
            pattern: "room/{room}".into(),
            route: "POST say".into(),
            protocols: vec!["v1".into()],
            max_message: Some(1_024),
        }],
        channels: vec![
            ChannelPatternStatus { pattern: "flags".into(), ..ChannelPatternStatus::default() },
            ChannelPatternStatus {
                pattern: "flags/*".into(),
                route: Some("POST room".into()),
                on: vec!["publish".into(), "join".into()],
                history: Some(ChannelHistoryStatus {
                    count: 100,
                    age: 300_000,
                    bytes: 1_048_576,
                    ..Default::default()
                }),
                presence: true,
                envelope: false,
            },
        ],
        filters: FiltersStatus { before: vec!["POST check".into()], after: vec!["POST redact".into()] },
        isolates,
        ..module("flags", State::Restarting)
    };
    let status = Status {
        node: "node-1".into(),
        server: "main".into(),
        environment: "production".into(),
        root: "/srv/chat".into(),
        version: "0.1.0".into(),
        pid: 4711,
        workers: 2,
        ready: true,
        blocked: vec!["worker-1".into()],
        isolates: vec![
            IsolateLoad { isolate: "worker-0".into(), clients: 7, requests_per_minute: 1_200, memory: 2_097_152 },
            IsolateLoad { isolate: "worker-1".into(), ..IsolateLoad::default() },
        ],
        connections: Connections { open: 7, max: 800, configured: 10_000 },
        buffered: Buffered { bytes: 8_192, max: 268_435_456 },
        descriptors: Descriptors { max: 1_024, reserved: 64 },
        address_space: Usage { used: 8_589_934_592, limit: 70_368_744_177_664 },
        mappings: Usage { used: 4, limit: 32_765 },
        notes: vec!["fanfare.json is refused".into()],
        redis: vec![RedisStatus {
            name: "default".into(),
            url: "redis://127.0.0.1:6379".into(),
            state: RedisState::Down,
            since: Some(1_764_144_000_000),
            reasons: vec!["commands: Connection refused (os error 111)".into()],
            topics: 2,
            received: 7,
            published: 5,
            lost: 1,
            queued: 3,
            queued_bytes: 120,
        }],
        events: EventsStatus {
            listen: Some(EventListenStatus {
                address: "127.0.0.1:14440".into(),
                connections: 3,
                subscribers: 2,
                emitted: 7,
            }),
            connect: Some(EventLinkStatus {
                service: "10.0.0.7:14440".into(),
                up: false,
                reason: Some("connection refused".into()),
                queued: 2,
                queued_bytes: 80,
                received: 9,
                sent: 5,
                rejected: 1,
                lost: 3,
                gaps: 1,
            }),
        },
        clients: ClientsStatus {
            open: 3,
            max: 8_000,
            bound: 2,
            groups: 1,
            listeners: vec![SocketListenerStatus { path: "/v1/".into(), protocol: 1, module: "flags".into() }],
        },
        channels: ChannelsStatus {
            open: 2,
            max: 100_000,
            subscriptions: 5,
            waiting: 1,
            largest: vec![ChannelStatus { name: "flags/1".into(), members: 4, kept: 100 }],
        },
        schedules: vec![tick()],
        subscriptions: vec![orders()],
        modules: vec![
            flags,
            module("loads", State::Loading),
            ModuleStatus {
                reason: Some("module.json:1:1: component: is required".into()),
                ..module("bad", State::Refused)
            },
        ],
    };
    compare("status", &status);
}
