//! Stores of `wasi:keyvalue` on a Redis server.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Redis, Started, TestHost};

/// A host whose module may use the store `cache` on the server.
fn host(redis: &Redis, store: Value) -> TestHost {
    let asked = json!({ "keyvalue": ["cache"] });
    let mut settings = json!({ "redis": "default" });
    settings.as_object_mut().unwrap().extend(store.as_object().unwrap().clone());
    TestHost::with("outside")
        .manifest("outside", json!({ "capabilities": asked }))
        .grant("outside", asked)
        .config(json!({ "redis": redis.settings(), "keyvalue": { "cache": settings } }))
}

async fn run(host: &Started, action: &str, arguments: Value) -> Value {
    let mut command = json!({ "store": "cache", "do": action });
    command.as_object_mut().unwrap().extend(arguments.as_object().unwrap().clone());
    let answer = host.post("/api/outside/store", command.to_string()).await;
    assert_eq!(answer.status, 200, "{command}: {}", answer.text());
    answer.json()
}

async fn set(host: &Started, key: &str, value: &str) -> Value {
    run(host, "set", json!({ "key": key, "value": value })).await
}

async fn get(host: &Started, key: &str) -> Value {
    run(host, "get", json!({ "key": key })).await
}

/// The error of a command.
async fn error(host: &Started, action: &str, arguments: Value) -> String {
    let answer = run(host, action, arguments).await;
    answer["error"].as_str().unwrap_or_else(|| panic!("no error: {answer}")).to_owned()
}

#[tokio::test]
async fn hosts_share_a_store_that_outlives_them() {
    let Some(redis) = Redis::start().await else { return };
    let first = host(&redis, json!({})).start().await;
    let second = host(&redis, json!({})).start().await;
    assert_eq!(set(&first, "a", "1").await, true);
    assert_eq!(get(&second, "a").await, "1");
    assert_eq!(redis.cli(&["GET", "cache:a"]), "1");
    let key = |key: &str| json!({ "key": key });
    let exists = (run(&second, "exists", key("a")).await, run(&second, "exists", key("b")).await);
    assert_eq!((exists, get(&second, "b").await), ((json!(true), json!(false)), Value::Null));
    let add = json!({ "key": "n", "delta": 2 });
    assert_eq!(
        (run(&first, "increment", add.clone()).await, run(&second, "increment", add).await),
        (json!(2), json!(4))
    );
    drop(first);
    drop(second);
    let third = host(&redis, json!({})).start().await;
    assert_eq!(get(&third, "n").await, "4");
    assert_eq!(run(&third, "delete", key("a")).await, true);
    assert_eq!((get(&third, "a").await, redis.cli(&["EXISTS", "cache:a"])), (Value::Null, "0".to_owned()));
    assert_eq!(third.metric("fanfare_store_bytes", &[]).await, 0.0, "it uses no memory of the node");
}

#[tokio::test]
async fn several_keys_are_one_step() {
    let Some(redis) = Redis::start().await else { return };
    let host = host(&redis, json!({})).start().await;
    let entries = json!({ "entries": [["a", "1"], ["b", "22"], ["a", "333"]], "times": 1 });
    assert_eq!(run(&host, "setMany", entries).await, true);
    let keys = json!({ "keys": ["a", "none", "b"] });
    assert_eq!(run(&host, "getMany", keys.clone()).await, json!([["a", 3], null, ["b", 2]]));
    assert_eq!(run(&host, "getMany", json!({ "keys": [] })).await, json!([]));
    let entries = json!({ "entries": [["c", "1"], ["", "1"]], "times": 1 });
    assert!(error(&host, "setMany", entries).await.contains("a key has 1 to 1024 bytes"));
    assert_eq!(run(&host, "exists", json!({ "key": "c" })).await, false, "all or nothing");
    assert_eq!(run(&host, "deleteMany", keys).await, true);
    assert_eq!(redis.cli(&["DBSIZE"]), "0");
    for action in ["setMany", "deleteMany"] {
        assert_eq!(run(&host, action, json!({ "keys": [], "entries": [], "times": 1 })).await, true, "{action}");
    }
}

#[tokio::test]
async fn a_call_has_a_largest_number_of_keys() {
    let Some(redis) = Redis::start().await else { return };
    let host = host(&redis, json!({})).start().await;
    let names = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    let found = run(&host, "getMany", json!({ "keys": names(10_000) })).await;
    assert_eq!(found.as_array().map(Vec::len), Some(10_000));
    for action in ["getMany", "deleteMany"] {
        let more = error(&host, action, json!({ "keys": names(10_001) })).await;
        assert!(more.contains("one call of the store cache has at most 10000 keys"), "{more}");
    }
}

#[tokio::test]
async fn a_store_has_only_the_keys_behind_its_prefix() {
    let Some(redis) = Redis::start().await else { return };
    let host = host(&redis, json!({ "prefix": "a*[b]:" })).start().await;
    for (key, value) in [("a*[b]:mine", "1"), ("axb:other", "2"), ("aab:", "3"), ("mine", "4")] {
        redis.cli(&["SET", key, value]);
    }
    // A key that is no text.
    redis.cli(&["EVAL", "return redis.call('SET', 'a*[b]:\\255', '5')", "0"]);
    assert_eq!(run(&host, "keys", json!({})).await, json!({ "keys": ["mine"], "next": null }));
    assert_eq!(get(&host, "mine").await, "1");
    redis.cli(&["EVAL", "for i = 1, 3000 do redis.call('SET', 'a*[b]:' .. i, '') end", "0"]);
    let (mut found, mut after) = (std::collections::BTreeSet::new(), json!(null));
    loop {
        let page = run(&host, "keys", json!({ "after": after })).await;
        let keys = page["keys"].as_array().unwrap();
        assert!(keys.len() < 3_000, "one page has {} keys", keys.len());
        found.extend(keys.iter().map(|key| key.as_str().unwrap().to_owned()));
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(found.len(), 3_001);
}

#[tokio::test]
async fn values_and_lists_of_values_have_a_limit() {
    let Some(redis) = Redis::start().await else { return };
    let limits = json!({ "max": { "payload": "64KiB", "memory": "32MiB" } });
    let host = host(&redis, json!({})).config(json!({ "limits": limits })).start().await;
    let fill = |bytes: u64| json!({ "key": "big", "bytes": bytes });
    assert_eq!(run(&host, "fill", fill(65_536)).await, true);
    let most = "the values of one call of the store cache have at most 65536 bytes together (limits.max.payload)";
    assert!(error(&host, "fill", fill(65_537)).await.contains(most));
    let many = |count: usize| json!({ "keys": vec!["big"; count] });
    assert_eq!(run(&host, "getMany", many(1)).await, json!([["big", 65_536]]));
    assert!(error(&host, "getMany", many(2)).await.contains(most));
    let two = json!({ "entries": [["a", "x"], ["b", "x"]], "times": 40_000 });
    assert!(error(&host, "setMany", two).await.contains(most));
    // Others may have set a larger one.
    redis.cli(&["APPEND", "cache:big", "x"]);
    assert!(error(&host, "get", json!({ "key": "big" })).await.contains(most));
    assert_eq!(run(&host, "exists", json!({ "key": "big" })).await, true);
}

#[tokio::test]
async fn what_redis_refuses_is_an_error_for_the_guest() {
    let Some(redis) = Redis::start().await else { return };
    let host = host(&redis, json!({})).start().await;
    redis.cli(&["RPUSH", "cache:list", "a"]);
    let refused = error(&host, "get", json!({ "key": "list" })).await;
    assert!(refused.contains("Redis refuses the command: ") && refused.contains("WRONGTYPE"), "{refused}");
    for (value, delta) in
        [("text", json!(1)), ("9223372036854775807", json!(1)), ("1", json!(u64::MAX)), ("-9", json!(1))]
    {
        assert_eq!(set(&host, "n", value).await, true);
        let refused = error(&host, "increment", json!({ "key": "n", "delta": delta })).await;
        assert!(
            refused.contains("the value is not a whole number in text, or becomes too large"),
            "{value}: {refused}"
        );
    }
    redis.cli(&["ACL", "SETUSER", "default", "-eval"]);
    let refused = error(&host, "get", json!({ "key": "n" })).await;
    assert!(refused.contains("permissions"), "{refused}");
    assert_eq!(set(&host, "n", "2").await, true, "the connection is still good");
}

#[tokio::test]
async fn a_server_that_is_away_is_an_error_and_comes_back() {
    let Some(mut redis) = Redis::start().await else { return };
    let host = host(&redis, json!({})).start().await;
    assert_eq!(set(&host, "a", "1").await, true);
    redis.kill();
    host.until_connection_is("down").await;
    let begun = Instant::now();
    let away = error(&host, "get", json!({ "key": "a" })).await;
    assert!(away.contains("the store cache is not reachable (redis connection default): "), "{away}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    redis.run().await;
    host.until_connection_is("up").await;
    assert_eq!(get(&host, "a").await, "1");
    redis.freeze();
    let slow = error(&host, "get", json!({ "key": "a" })).await;
    assert!(slow.contains("the server has not answered in time (timeout)"), "{slow}");
    redis.thaw();
    host.until_connection_is("up").await;
    assert_eq!(get(&host, "a").await, "1");
}

#[tokio::test]
async fn a_host_starts_without_the_server_of_a_store() {
    let Some(mut redis) = Redis::start().await else { return };
    redis.kill();
    let host = host(&redis, json!({})).start().await;
    let away = error(&host, "get", json!({ "key": "a" })).await;
    assert!(away.contains("onnection refused"), "{away}");
    redis.run().await;
    host.until_connection_is("up").await;
    assert_eq!(get(&host, "a").await, Value::Null);
}
