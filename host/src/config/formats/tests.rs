//! Good and bad texts of each format.

use super::check;

fn all(format: &str, good: &[&str], bad: &[&str]) {
    good.iter().for_each(|text| assert!(check(format, text).is_ok(), "{format}: {text:?} should be good"));
    bad.iter().for_each(|text| assert!(check(format, text).is_err(), "{format}: {text:?} should be bad"));
}

#[test]
fn names_have_a_fixed_alphabet_and_length() {
    let longest = format!("a{}", "b".repeat(63));
    let longer = format!("{longest}b");
    all("module", &["a", "test-party", "a1", &longest], &["", "1a", "-a", "A", "a_b", "a.b", "ä", &longer]);
    all("module-or-all", &["*", "flags"], &["", "**", "Flags"]);
    all("node", &["node-1", "N", "chat.1_a", &longest], &["", "-a", "a b", &longer]);
    all("label", &["broadcastTest", "a/b", &"x".repeat(128)], &["", "a b", "a\n", &"x".repeat(129)]);
    all("method", &["get", "POST", "Put", "patch", "delete"], &["", "head", "options", "post "]);
    all("network", &["10.0.0.0/8", "::1", "*.internal", "db"], &["", "*", "10.0.0.0/40", "http://a", "A"]);
    all("http-origin", &["*", "https://*.a.test", "http://[::1]:81"], &["", "a.test", "https://a.test/", "https://*"]);
    all("guest-path", &["/data", "/a/b c"], &["", "/", "data", "/data/", "/a//b", "/../a", "/a/."]);
    all("secret", &["hmac", "apiKey-2", "A_b"], &["", "1a", "_a", "a/b", "a.b", "a b", &longer]);
    all("environment", &["production", "test"], &["", "a b"]);
}

#[test]
fn an_address_without_a_host_is_that_of_this_machine_only() {
    for (text, read) in [(":80", "127.0.0.1:80"), ("localhost:80", "127.0.0.1:80"), ("[::]:80", "[::]:80")] {
        assert_eq!(super::address(text).map(|address| address.to_string()).as_deref(), Some(read));
    }
}

#[test]
fn addresses_hosts_and_paths_are_checked() {
    all(
        "address",
        &["127.0.0.1:0", "[::1]:8080", "0.0.0.0:80", "localhost:80", "LocalHost:80", ":80", ":0"],
        &["", "localhost", "127.0.0.1", ":", ":x", ":+80", ":65536", "host.test:80", "127.0.0.1:65536", "localhost:"],
    );
    let label = "a".repeat(63);
    all(
        "domain",
        &["example.test", "localhost", "a-b.c", &label],
        &["", "a..b", "-a.b", "A.b", "a:80", "http://a", &format!("{label}a")],
    );
    all("subdomain", &["acme", "a.b"], &["", "a_b"]);
    all(
        "origin",
        &["*", "https://a.test", "http://localhost:3000", "http://[::1]:80"],
        &["", "a.test", "https://", "https://a.test/", "ftp://a", "https://A.test", "https://u@a.test"],
    );
    all("header", &["x-token", "Content-Type"], &["", "a b", "ä"]);
    all("header-text", &["", "no-cache, no-transform", "a\tb"], &["a\nb", "a\0", "\x7f", &"x".repeat(4_097)]);
    all("stream-header", &["x-token", "Cache-Control", "connection"], &["", "a b", "Content-Length", "upgrade"]);
    let longest = format!("/{}", "a".repeat(255));
    all(
        "stream-path",
        &["/stream", "/a/b", "/apis", "/a%20b", &longest],
        &["", "/", "*", "stream", "/api", "/api/", "/api/stream", "//", "/a//b", "/a/", "/a/../b", "/.", "/a?b"],
    );
    all("stream-path", &[], &["/a#b", "/a b", "/\u{e4}", "/a\0", "http://h/a", &format!("{longest}a")]);
    all(
        "service-url",
        &["http://127.0.0.1:14440", "http://events.test:80", "http://[::1]:1"],
        &["", "127.0.0.1:14440", "https://a:1", "http://a", "http://a:1/", "http://u@a:1", "http://:1", "http://a:0"],
    );
    all("file-path", &["modules", "/a/b"], &["", "a\0b"]);
}

#[test]
fn the_address_of_a_redis_server_has_no_secret_in_it() {
    let good = ["redis://h", "rediss://h:1", "redis://127.0.0.1:6379/", "redis://[::1]:6379", "redis://[::1]"];
    let bad = ["", "h:1", "http://h", "redis://", "redis://u:p@h", "redis://h/1", "redis://h:0x1", "redis://h:65536"];
    all("redis-url", &good, &bad);
    all("redis-url", &[], &["redis://h?a", "redis://h#a", "redis://h h", "redis://[::1", "redis://h:", "redis://:1"]);
    all("variable", &["A", "_a1"], &["", "1a", "a-b", "a b", &"A".repeat(129)]);
}

#[test]
fn stream_keys_are_short_and_printable() {
    let (longest, longer) = ("k".repeat(256), "k".repeat(257));
    all("stream-pattern", &["news", "a b", "orders/*", "/*", &longest], &["", "*", "a\n", "\u{7f}", &longer]);
    all("stream-keys", &["*", "news", "orders/*", &longest], &["", "a\0", &longer]);
}

#[test]
fn channels_are_short_and_printable() {
    let (longest, longer) = ("k".repeat(256), "k".repeat(257));
    all("channel-pattern", &["news", "a b", "rooms/*", "/*", &longest], &["", "*", "a\n", "\u{7f}", &longer]);
    all("channel-names", &["*", "news", "rooms/*", &longest], &["", "a\0", &longer]);
}

#[test]
fn types_of_events_and_topics_are_short_and_printable() {
    let (longest, longer) = ("t".repeat(256), "t".repeat(257));
    all("event-types", &["*", "order/paid", "order/*", &longest], &["", "a\n", "\u{85}", &longer]);
    all(
        "topics",
        &["*", "redis:news", "redis:news*", "redis.cache:*"],
        &["", "news", "redis:", "nats.b:a", "redis:\0"],
    );
}

#[test]
fn what_subscriptions_name_is_short_and_printable() {
    let (longest, longer) = ("k".repeat(256), "k".repeat(257));
    all("redis-name", &["news", "price:*", &"k".repeat(512)], &["", "a\n", &"k".repeat(513)]);
    all("connection", &["default", "cache-2"], &["", "A", "a.b", "a:b"]);
    all("key-prefix", &["", "app:cache:", &longest], &["a\n", &longer]);
    all("key-template", &["", "{topic}", "a/{topic}", &longest], &["a\n", &longer]);
    all("sub-protocol", &["v1", "chat.v2+json", &"k".repeat(64)], &["", "a b", "a,b", &"k".repeat(65)]);
    all("stream-event", &["data", "a b"], &["", "a\n", &"k".repeat(1_025)]);
}

#[test]
fn durations_and_sizes_return_their_number() {
    all("workers", &["auto"], &["", "4", "all"]);
    all("command", &["make"], &["", "  ", "a\0"]);
    assert_eq!(check("duration", "2s"), Ok(Some(2000)));
    assert_eq!(check("size", "2KiB"), Ok(Some(2048)));
    all("duration", &["1ms"], &["", "2"]);
}
