//! The bounds of numbers, and the limits of modules.

use super::*;

#[test]
fn every_bound_is_checked_at_its_edges() {
    for (key, under, least, most, over) in [
        ("workers", "0", "1", "1024", "1025"),
        ("brokers", "-1", "0", "1024", "1025"),
        ("http.maxBody", "0", "1", "\"1GiB\"", "1073741825"),
        ("http.bodyTimeout", "\"0ms\"", "1", "\"1h\"", "3600001"),
        ("http.headerTimeout", "0", "1", "\"1h\"", "3600001"),
        ("http.idleTimeout", "0", "1", "\"24h\"", "86400001"),
        ("http.maxConnections", "0", "1", "1000000", "1000001"),
        ("http.maxBuffered", "65535", "65536", "\"1TiB\"", "1099511627777"),
        ("http.maxStreams", "0", "1", "65536", "65537"),
        ("http.localStreams", "0", "1", "65536", "65537"),
        ("http.maxHeaderBytes", "8191", "\"8KiB\"", "\"1MiB\"", "1048577"),
        ("http.maxHeaders", "0", "1", "1000", "1001"),
        ("http.cors.maxAge", "-1", "0", "\"24h\"", "86400001"),
        ("sse.maxClients", "0", "1", "1000000", "1000001"),
        ("sse.maxClientsPerKey", "0", "1", "1000000", "1000001"),
        ("sse.pingInterval", "-1", "0", "\"24h\"", "86400001"),
        ("sse.history", "-1", "0", "1000000", "1000001"),
        ("sse.history.count", "-1", "0", "1000000", "1000001"),
        ("sse.history.age", "0", "1", "\"24h\"", "86400001"),
        ("sse.history.bytes", "1023", "\"1KiB\"", "\"1GiB\"", "1073741825"),
        ("sse.queue.events", "0", "1", "1000000", "1000001"),
        ("sse.queue.bytes", "4095", "\"4KiB\"", "\"1GiB\"", "1073741825"),
        ("websocket.maxClients", "0", "1", "1000000", "1000001"),
        ("websocket.maxMessage", "0", "1", "\"1GiB\"", "1073741825"),
        ("websocket.handshakeTimeout", "0", "1", "\"1h\"", "3600001"),
        ("websocket.auth.expiry", "999", "\"1s\"", "\"4320h\"", "15552000001"),
        ("websocket.messageTimeout", "9", "10", "\"24h\"", "86400001"),
        ("websocket.ackTimeout", "0", "1", "\"1h\"", "3600001"),
        ("websocket.pingInterval", "9", "10", "\"19s\"", "3600001"),
        ("websocket.pingTimeout", "19", "\"9s\"", "\"24h\"", "86400001"),
        ("websocket.inFlight", "0", "1", "65536", "65537"),
        ("websocket.socketChannelLimit", "0", "1", "1000000", "1000001"),
        ("websocket.queue.events", "0", "1", "1000000", "1000001"),
        ("websocket.queue.bytes", "4095", "\"4KiB\"", "\"1GiB\"", "1073741825"),
        ("websocket.sessionSize", "1023", "\"1KiB\"", "\"16MiB\"", "16777217"),
        ("events.history.count", "0", "1", "10000000", "10000001"),
        ("events.history.age", "0", "1", "\"24h\"", "86400001"),
        ("events.history.bytes", "1023", "\"1KiB\"", "\"1TiB\"", "1099511627777"),
        ("events.maxBody", "1023", "\"1KiB\"", "\"1GiB\"", "1073741825"),
        ("events.rate", "0", "1", "10000000", "10000001"),
        ("events.maxConnections", "0", "1", "1000000", "1000001"),
        ("events.maxSubscribers", "0", "1", "1000000", "1000001"),
        ("events.pingInterval", "99", "100", "\"20s\"", "20001"),
        ("events.queue.events", "0", "1", "1000000", "1000001"),
        ("events.queue.bytes", "1023", "\"1KiB\"", "\"1GiB\"", "1073741825"),
        ("hub.history", "65535", "\"64KiB\"", "\"1TiB\"", "1099511627777"),
        ("hub.topics", "0", "1", "10000000", "10000001"),
        ("hub.queued", "65535", "\"64KiB\"", "\"1TiB\"", "1099511627777"),
        ("engine.tick", "0", "1", "\"1s\"", "1001"),
        ("engine.compileMemory", "\"63MiB\"", "\"64MiB\"", "\"1TiB\"", "1099511627777"),
        ("engine.compileTimeout", "999", "\"1s\"", "\"1h\"", "3600001"),
        ("engine.maxComponent", "1023", "\"1KiB\"", "\"1GiB\"", "1073741825"),
        ("engine.maxInstances", "0", "1", "10000", "10001"),
        ("engine.maxMemories", "0", "1", "10000", "10001"),
        ("engine.maxInstanceSize", "65535", "\"64KiB\"", "\"1GiB\"", "1073741825"),
        ("engine.addressSpace", "8589934591", "\"8GiB\"", "\"120TiB\"", "131941395333121"),
        ("engine.pool", "-1", "0", "4000", "4001"),
        ("engine.cacheSize", "1048575", "\"1MiB\"", "\"1TiB\"", "1099511627777"),
        ("engine.functionCacheSize", "-1", "0", "\"1TiB\"", "1099511627777"),
        ("isolate.restartBackoff", "0", "1", "\"30s\"", "3600001"),
        ("isolate.restartBackoffMax", "0", "100", "\"1h\"", "3600001"),
        ("isolate.maxRestarts", "-1", "0", "10000", "10001"),
        ("isolate.restartWindow", "0", "1", "\"24h\"", "86400001"),
        ("isolate.blockedAfter", "9", "10", "\"1h\"", "3600001"),
        ("isolate.turnCalls", "0", "1", "65536", "65537"),
        ("cluster.timeout", "0", "1", "\"1h\"", "3600001"),
        ("cluster.heartbeat", "9", "10", "\"1s\"", "3600001"),
        ("cluster.goneAfter", "19", "\"2s\"", "\"24h\"", "86400001"),
        ("cluster.maxWaiting", "0", "1", "1000000", "1000001"),
        ("cluster.maxServing", "0", "1", "1000000", "1000001"),
        ("cluster.queue.messages", "0", "1", "1000000", "1000001"),
        ("cluster.queue.bytes", "1023", "\"1KiB\"", "\"1TiB\"", "1099511627777"),
        ("cluster.histories.maxAge", "59999", "\"1m\"", "\"8760h\"", "31536000001"),
        ("cluster.histories.maxBytes", "65535", "\"64KiB\"", "\"1TiB\"", "1099511627777"),
        ("cluster.histories.maxMessages", "0", "1", "1000000", "1000001"),
        ("cluster.histories.queue.messages", "0", "1", "1000000", "1000001"),
        ("cluster.histories.queue.bytes", "1023", "\"1KiB\"", "\"1TiB\"", "1099511627777"),
        ("cluster.durable.maxAge", "59999", "\"1m\"", "\"8760h\"", "31536000001"),
        ("cluster.durable.maxBytes", "65535", "\"64KiB\"", "\"1TiB\"", "1099511627777"),
        ("cluster.durable.queue.broadcasts", "0", "1", "1000000", "1000001"),
        ("cluster.durable.queue.bytes", "1023", "\"1KiB\"", "\"1TiB\"", "1099511627777"),
        ("cluster.durable.parkedAge", "59999", "\"1m\"", "\"8760h\"", "31536000001"),
        ("cluster.durable.parkedBytes", "65535", "\"64KiB\"", "\"1TiB\"", "1099511627777"),
        ("swap.poll", "49", "50", "\"1h\"", "3600001"),
        ("swap.settle", "-1", "0", "\"1m\"", "60001"),
        ("swap.removal", "-1", "0", "\"1m\"", "60001"),
        ("swap.patience", "999", "\"1s\"", "\"1h\"", "3600001"),
        ("swap.quiesce", "-1", "0", "\"1h\"", "3600001"),
        ("swap.timeout", "0", "1", "\"1h\"", "3600001"),
        ("swap.linger", "-1", "0", "\"24h\"", "86400001"),
        ("swap.state", "0", "1", "\"1TiB\"", "1099511627777"),
        ("shutdown.drain", "-1", "0", "\"1h\"", "3600001"),
        ("shutdown.linger", "-1", "0", "\"1h\"", "3600001"),
        ("shutdown.hook", "-1", "0", "\"1h\"", "3600001"),
        ("master.ipcAckTimeout", "0", "1", "\"1h\"", "3600001"),
        ("master.processTermTimeout", "-1", "0", "\"1h\"", "3600001"),
        ("master.workerStatusInterval", "99", "100", "\"1h\"", "3600001"),
        ("master.killWorkerMemoryThreshold", "65535", "\"64KiB\"", "\"1TiB\"", "1099511627777"),
        ("calls.maxDepth", "0", "1", "256", "257"),
        ("outgoing.requests", "0", "1", "100000", "100001"),
        ("outgoing.connections", "0", "1", "100000", "100001"),
        ("outgoing.idleTimeout", "-1", "0", "\"1h\"", "3600001"),
        ("outgoing.connectTimeout", "9", "10", "\"10m\"", "600001"),
        ("outgoing.timeout", "9", "10", "\"24h\"", "86400001"),
        ("outgoing.maxRequest", "1023", "\"1KiB\"", "\"1TiB\"", "1099511627777"),
        ("outgoing.maxResponse", "1023", "\"1KiB\"", "\"1TiB\"", "1099511627777"),
        ("redis.database", "-1", "0", "65535", "65536"),
        ("redis.timeout", "9", "10", "\"10m\"", "600001"),
        ("redis.reconnect", "0", "1", "\"10s\"", "3600001"),
        ("redis.reconnectMax", "0", "100", "\"1h\"", "3600001"),
        ("redis.claimAfter", "99", "100", "\"24h\"", "86400001"),
        ("redis.tries", "0", "1", "1000", "1001"),
        ("redis.queue.messages", "0", "1", "1000000", "1000001"),
        ("redis.queue.bytes", "1023", "\"1KiB\"", "\"1GiB\"", "1073741825"),
        ("redis.queue.age", "0", "1", "\"1h\"", "3600001"),
    ] {
        assert_eq!(fault_of(key, least), None, "{key}");
        assert_eq!(fault_of(key, most), None, "{key}");
        let low = fault_of(key, under).unwrap();
        assert!(
            low.starts_with(&format!("{key}: must be at least ")) && low.ends_with(&format!(", found {under}")),
            "{low}"
        );
        let high = fault_of(key, over).unwrap();
        assert!(
            high.starts_with(&format!("{key}: must be at most ")) && high.ends_with(&format!(", found {over}")),
            "{high}"
        );
    }
}

#[test]
fn every_number_of_the_schema_has_a_bound_test() {
    let text = include_str!("bounds.rs");
    for key in variables::known().values() {
        let path = key.path.join(".");
        let node = Config::defaults(Path::new(ROOT)).unwrap();
        let leaf = node.effective.at(&KeyPath::of(&key.path.iter().map(String::as_str).collect::<Vec<_>>())).cloned();
        // Only the keys of a connection to Redis have no default of their own.
        let Some(leaf) = leaf else {
            assert!(path.starts_with("redis."), "{path}");
            continue;
        };
        let numeric = matches!(leaf.value, Value::Number(_))
            || leaf.as_text().is_some_and(|text| text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(':'));
        if numeric && !path.starts_with("limits.max.") {
            assert!(text.contains(&format!("(\"{path}\",")), "{path} has no test of its bounds");
        }
    }
}

#[test]
fn every_limit_has_a_minimum_a_default_and_a_ceiling() {
    for key in Limits::KEYS {
        let key = format!("limits.max.{key}");
        let least = if key.ends_with("memory") {
            "65536"
        } else if key.ends_with("hostcallFuel") {
            "1024"
        } else if key.ends_with("disk") {
            "4096"
        } else if key.ends_with("nested") {
            "2"
        } else {
            "1"
        };
        let under = (least.parse::<u64>().unwrap() - 1).to_string();
        assert_eq!(fault_of(&key, least), None, "{key}");
        assert!(fault_of(&key, &under).unwrap().contains("must be at least "), "{key}");
        let low = load(&nested(&key, least)).unwrap();
        assert!(
            Limits::default().exceeding(&low.limits.max).iter().any(|exceeded| key.ends_with(exceeded.key)),
            "{key} is read"
        );
    }
    let (default, ceiling) = (Limits::default(), Limits::ceiling());
    assert!(default.exceeding(&ceiling).is_empty());
    assert_eq!(ceiling.exceeding(&default).len(), Limits::KEYS.len());
    assert_eq!(
        (default.memory, default.timeout, default.cpu, default.log_line),
        (64 * MIB, Duration::from_secs(5), Duration::from_millis(500), 4096)
    );
}

#[test]
fn an_operators_limit_must_not_exceed_the_ceiling() {
    let at = |memory: &str| {
        format!(
            "{{\"limits\": {{\"max\": {{\"memory\": \"128MiB\"}}}}, \"modules\": {{\"m\": {{\"limits\": {{\"memory\": {memory}}}}}}}}}"
        )
    };
    assert!(load(&at("\"128MiB\"")).is_ok());
    let list = faults(&at("134217729"));
    assert!(list[0].contains("modules.m.limits.memory: must be at most 128MiB, the ceiling limits.max.memory (fanfare.json:1:31), found 134217729B"), "{list:?}");
}
