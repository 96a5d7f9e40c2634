//! Passwords, users, databases and TLS.

use serde_json::{Value, json};

use super::{GUEST, connected};
use crate::harness::{Redis, TestHost, eventually};

fn news() -> Value {
    json!({ "news": { "redis": "news", "path": "on" } })
}

#[tokio::test]
pub async fn a_password_that_changes_is_read_again_and_is_in_no_output() {
    let Some(mut redis) = Redis::with(&["--requirepass", "first-secret"]).await else { return };
    redis.client(&["-a", "first-secret", "--no-auth-warning"]);
    let host = connected(&redis, news())
        .file("redis.password", "first-secret\n")
        .config(json!({ "redis": { "passwordFile": "redis.password" } }))
        .workers(1)
        .start()
        .await;
    redis.until_subscribed("news", 1).await;
    host.until_connection_is("up").await;
    redis.cli(&["CONFIG", "SET", "requirepass", "second-secret"]);
    redis.client(&["-a", "second-secret"]);
    redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    host.until_connection_is("down").await;
    host.dir.write("redis.password", "second-secret\n");
    host.until_connection_is("up").await;
    redis.until_subscribed("news", 1).await;
    redis.publish("news", "hello");
    eventually("a message arrives", || async { host.texts(1).await == ["hello"] }).await;
    let shown = [host.status().await.to_string(), host.metrics().await, host.log.lines(&[]).concat()].concat();
    let events = host.events_named(&["redisDown", "redisUp", "warning", "fail"]).await;
    assert!(!shown.contains("-secret") && !format!("{events:?}").contains("-secret"));
}

#[tokio::test]
pub async fn a_user_with_few_rights_receives_what_it_may_and_the_rest_is_reported() {
    let Some(redis) = Redis::start().await else { return };
    redis.cli(&[
        "ACL",
        "SETUSER",
        "reader",
        "on",
        ">pass",
        "resetchannels",
        "&news",
        "+subscribe",
        "+ping",
        "+publish",
    ]);
    let subscriptions =
        json!({ "news": { "redis": "news", "path": "on" }, "closed": { "redis": "closed", "path": "on" } });
    let host = connected(&redis, subscriptions)
        .file("password", "pass")
        .config(json!({ "redis": { "username": "reader", "passwordFile": "password" } }))
        .workers(1)
        .start()
        .await;
    redis.until_subscribed("news", 1).await;
    redis.publish("news", "hello");
    eventually("a message arrives", || async { host.texts(1).await == ["hello"] }).await;
    host.until_connection_is("up").await;
    let reasons = host.connection("default").await["reasons"].to_string();
    assert!(reasons.contains("closed: ") && reasons.contains("no permissions"), "{reasons}");
    // The server accepts the subscription once the user may have it.
    redis.cli(&["ACL", "SETUSER", "reader", "&closed"]);
    redis.until_subscribed("closed", 1).await;
    host.until_no_reasons().await;
}

#[tokio::test]
pub async fn a_wrong_password_is_a_reason_and_no_more() {
    let Some(redis) = Redis::with(&["--requirepass", "right"]).await else { return };
    let host = connected(&redis, news())
        .file("password", "wrong")
        .config(json!({ "redis": { "passwordFile": "password" } }))
        .start()
        .await;
    host.until_connection_is("down").await;
    let reasons = host.connection("default").await["reasons"].to_string();
    assert!(reasons.to_lowercase().contains("password") && !reasons.contains("wrong\""), "{reasons}");
}

#[tokio::test]
pub async fn a_password_that_cannot_be_read_is_a_reason() {
    let Some(redis) = Redis::start().await else { return };
    for (config, expected) in [
        (json!({ "passwordFile": "missing" }), "missing cannot be read"),
        (json!({ "passwordVariable": "NOT_SET_ANYWHERE" }), "the variable NOT_SET_ANYWHERE is not set"),
    ] {
        let host = connected(&redis, news()).config(json!({ "redis": config })).start().await;
        host.until_connection_is("down").await;
        let reasons = host.connection("default").await["reasons"].to_string();
        assert!(reasons.contains(expected), "{reasons}");
    }
}

#[tokio::test]
pub async fn a_server_with_tls_is_reached_if_its_authority_is_trusted() {
    let Some(redis) = Redis::encrypted().await else { return };
    let settings = |ca: &str| json!({ "redis": { "url": format!("rediss://127.0.0.1:{}", redis.port), "ca": redis.dir.path().join(ca) } });
    let host = connected(&redis, news()).config(settings("ca.pem")).workers(1).start().await;
    redis.until_subscribed("news", 1).await;
    redis.publish("news", "hello");
    eventually("a message arrives", || async { host.texts(1).await == ["hello"] }).await;
    // The certificate of the server is not one of an authority.
    let host = connected(&redis, news()).config(settings("server.csr")).workers(1).start().await;
    host.until_connection_is("down").await;
    let reasons = host.connection("default").await["reasons"].to_string();
    assert!(reasons.contains("server.csr"), "{reasons}");
}

#[tokio::test]
pub async fn a_connection_has_a_database_of_its_own() {
    let Some(redis) = Redis::start().await else { return };
    let jobs = json!({ "jobs": { "redisStream": "jobs", "connection": "third", "path": "on" } });
    let mut third = redis.settings();
    third["database"] = json!(3);
    let host = TestHost::with(GUEST)
        .manifest(GUEST, json!({ "subscriptions": jobs }))
        .grant(GUEST, json!({ "subscribe": ["redis.third:jobs"] }))
        .config(json!({ "redis": { "first": redis.settings(), "third": third } }))
        .workers(1)
        .start()
        .await;
    redis.cli(&["XADD", "jobs", "*", "a", "wrong"]);
    redis.cli(&["-n", "3", "XADD", "jobs", "*", "a", "right"]);
    eventually("the entry arrives", || async { !host.messages(0).await.is_empty() }).await;
    assert_eq!(host.texts(1).await, [r#"{"a":"right"}"#]);
    assert_eq!(host.connection("first").await["state"], "up");
}
