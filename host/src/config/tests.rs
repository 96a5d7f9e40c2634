mod bounds;
mod layers;
mod servers;

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::document::tree::Value;
use crate::document::units::{GIB, MIB};

const ROOT: &str = "/srv/app";

fn load(text: &str) -> Result<Config, Faults> {
    Config::from_text(text, Path::new(ROOT))
}

fn faults(text: &str) -> Vec<String> {
    load(text).err().map(|faults| faults.list().iter().map(ToString::to_string).collect()).unwrap_or_default()
}

/// The only fault of `{"a": {"b": value}}` for the key `a.b`, without file, line and column.
fn fault_of(key: &str, value: &str) -> Option<String> {
    let list = faults(&nested(key, value));
    assert!(list.len() <= 1, "{key} = {value}: {list:?}");
    list.first().map(|fault| fault.splitn(4, ':').nth(3).unwrap_or_default().trim().to_owned())
}

fn nested(key: &str, value: &str) -> String {
    let nested = key.rsplit('.').fold(value.to_owned(), |inner, key| format!("{{\"{key}\": {inner}}}"));
    // A connection is valid only with its address.
    nested.replace("{\"redis\": {", "{\"redis\": {\"url\": \"redis://h\", ")
}

fn sources(variables: &[(&str, &str)]) -> Sources {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { variables, ..Sources::default() }
}

fn load_with(text: &str, sources: &Sources) -> Result<Config, Faults> {
    load::from_text(Some(text), Path::new(ROOT), sources)
}

#[test]
fn without_a_file_every_setting_has_its_default() {
    let config = Config::defaults(Path::new(ROOT)).unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.modules_dir, Path::new("/srv/app/modules"));
    assert_eq!(config.state_dir, Path::new("/srv/app/.fanfare"));
    assert_eq!((config.environment.as_str(), config.http.max_body), ("development", 2 * MIB));
    assert_eq!((config.node.id.as_str(), config.node.server.as_str()), ("node-1", "node"));
    assert_eq!((config.limits.max.memory, config.engine.compile_memory), (256 * MIB, 4 * GIB));
    assert_eq!(config.workers, std::thread::available_parallelism().map_or(1, usize::from));
    assert!(config.brokers == 1 && config.options == serde_json::json!({}));
    assert!(config.warnings.is_empty() && config.file.is_none());
    assert!(config.effective.leaves().iter().all(|(_, node)| node.origin == ValueOrigin::Default));
}

#[test]
fn a_file_with_every_kind_of_section_is_valid() {
    let text = r#"{
      "modulesDir": "modules", "workers": "auto", "brokers": 1, "options": { "anything": [1, null] },
      "http":  { "listen": "127.0.0.1:8080", "domain": "example.test", "cors": { "origins": [] }, "maxBody": "2MiB" },
      "admin": { "listen": "127.0.0.1:8081" },
      "events": { "listen": "127.0.0.1:14440" },            // the event service runs when this key is present
      "sse": { "path": "/stream", "maxClients": 10000, "pingInterval": "10s", "headers": {} },
      "websocket": { "listeners": [ { "path": "/socketcluster/", "protocol": 2, "module": "chat" } ] },
      "limits": { "max": { "memory": "256MiB", "timeout": "60s", "cpu": "5s", "concurrency": 256 } },
      "modules": { "test-party": { "grants": { "broadcast": ["flags"] }, "config": { "greeting": "hi" },
                                   "limits": {}, "subdomains": { "acme": { "config": {} } } } },
      "environments": { "production": { "http": { "listen": "0.0.0.0:80" } } },
      "cluster": { "nats": "nats://127.0.0.1:4222" },
      "redis": { "url": "redis://127.0.0.1:6379" },
    }"#;
    assert_eq!(load(text).unwrap().cluster.addresses().len(), 1);
}

#[test]
fn a_fault_names_file_line_column_key_and_rule() {
    assert_eq!(faults("{\n\n\n  \"workers\": 0 }"), ["fanfare.json:4:14: workers: must be at least 1, found 0"]);
}

#[test]
fn all_faults_are_reported_at_once_in_the_order_of_the_file() {
    let text = r#"{ "workers": 0, "htp": {}, "workers": 2,
      "http": { "listen": "host.test:80", "maxBody": "2MB", "cors": { "origins": ["x", null], "credentials": 1 } },
      "modules": { "Bad": {}, "m": { "limits": { "memory": "1GiB" }, "grants": { "http": ["x"], "rpc": ["A"] } } },
      "environments": { "production": { "workers": 1025, "environments": {} }, "a b": {} } }"#;
    let list = faults(text);
    let keys: Vec<&str> = list.iter().map(|fault| fault.split(':').nth(3).unwrap_or_default().trim()).collect();
    assert_eq!(
        keys,
        [
            "workers",
            "htp",
            "workers",
            "http.listen",
            "http.maxBody",
            "http.cors.origins[0]",
            "http.cors.origins[1]",
            "http.cors.credentials",
            "modules.Bad",
            "modules.m.limits.memory",
            "modules.m.grants.http[0]",
            "modules.m.grants.rpc[0]",
            "environments.production.workers",
            "environments.production.environments",
            "environments[\"a b\"]",
        ]
    );
    let list = faults(r#"{ "http": {"listen": 1}, "modules": { "m": { "limits": { "memory": "1GiB" } } } }"#);
    assert_eq!(list.len(), 2, "a fault in one section hides no fault in another: {list:?}");
}

#[test]
fn an_unknown_key_is_answered_with_the_nearest_key_or_all_keys() {
    assert_eq!(fault_of("http.listne", "1").unwrap(), "http.listne: unknown key; did you mean \"listen\"?");
    assert_eq!(fault_of("admin.zzz", "1").unwrap(), "admin.zzz: unknown key; valid keys: \"listen\"");
    assert_eq!(fault_of("http.max_body", "1").unwrap(), "http.max_body: unknown key; did you mean \"maxBody\"?");
    assert_eq!(fault_of("$schema", "\"x\""), None);
}

#[test]
fn the_histories_of_channels_have_a_path_of_their_own() {
    let with = |history: &str| {
        faults(&format!(
            r#"{{ "sse": {{ "path": "/stream" }}, "websocket": {{ "history": "{history}",
                "listeners": [{{ "path": "/sc/", "module": "chat" }}] }} }}"#
        ))
    };
    for good in ["/channels", "/a/b", "/streams", "/s"] {
        assert!(with(good).is_empty(), "{good}");
    }
    let place = "fanfare.json:1:59: websocket.history";
    assert_eq!(with("/stream"), [format!("{place}: must not cover sse.path (/stream): use another path")]);
    assert_eq!(with("/sc"), [format!("{place}: must not cover websocket.listeners[0].path (/sc/): use another path")]);
    assert!(with("/api/x")[0].starts_with(&format!("{place}: must be a path such as \"/channels\"")));
    assert_eq!(load(r#"{ "websocket": { "history": null } }"#).unwrap().websocket.history, None);
}

#[test]
fn a_value_of_the_wrong_type_is_rejected_with_the_right_type() {
    for (key, value, rule) in [
        ("workers", "true", "\"auto\" or a whole number"),
        ("workers", "1.5", "\"auto\" or a whole number"),
        ("workers", "\"4\"", "\"auto\" or a whole number"),
        ("http.maxHeaders", "\"1\"", "a whole number"),
        ("http", "[]", "an object"),
        ("http.cors.origins", "{}", "an array"),
        ("http.cors.credentials", "\"yes\"", "true or false"),
        ("http.bodyTimeout", "\"5\"", "a duration such as"),
        ("http.bodyTimeout", "1.5", "a duration such as"),
        ("http.maxBody", "\"2MB\"", "a size such as"),
        ("node.id", "7", "a name of letters"),
        ("http.listen", "\"host.test:80\"", "an IP address and port"),
        ("http.domain", "\"http://a\"", "a host name"),
        ("http.cors.origins", "[\"a.test\"]", "\"*\" or an origin"),
        ("modulesDir", "\"\"", "a path"),
        ("modules.m.config", "[]", "an object"),
        ("modules.m.subdomains", "{\"A\": {}}", "a subdomain"),
        ("environments", "{\"p\": 1}", "an object"),
    ] {
        let fault = fault_of(key, value).unwrap();
        assert!(fault.contains(&format!("must be {rule}")) && fault.contains("found"), "{fault}");
    }
}

#[test]
fn relations_between_values_are_checked() {
    let list = faults(r#"{"http": {"listen": "0.0.0.0:8081"}}"#);
    assert!(
        list[0].contains("admin.listen: must not overlap http.listen (0.0.0.0:8081, fanfare.json:1:21)"),
        "{list:?}"
    );
    let list = faults(r#"{"http": {"listen": ":9080"}, "admin": {"listen": "localhost:9080"}}"#);
    assert!(list[0].contains("admin.listen: must not overlap http.listen (127.0.0.1:9080, "), "{list:?}");
    let short =
        load(r#"{"http": {"listen": ":9080"}, "admin": {"listen": "localhost:9081"}, "events": {"listen": ":1"}}"#);
    let short = short.unwrap();
    let listens = [Some(short.http.listen), Some(short.admin.listen), short.events.listen];
    let listens = listens.map(|listen| listen.unwrap().to_string());
    assert_eq!(listens, ["127.0.0.1:9080", "127.0.0.1:9081", "127.0.0.1:1"]);
    assert!(load(r#"{"http": {"listen": "127.0.0.1:0"}, "admin": {"listen": "127.0.0.1:0"}}"#).is_ok());
    assert!(load(r#"{"http": {"listen": "127.0.0.2:80"}, "admin": {"listen": "127.0.0.1:80"}}"#).is_ok());
    let list = faults(r#"{"http": {"cors": {"origins": ["*"], "credentials": true}}}"#);
    assert!(list[0].contains("http.cors.credentials: must be false while"), "{list:?}");
    assert!(load(r#"{"http": {"cors": {"origins": ["https://a.test"], "credentials": true}}}"#).is_ok());
    let list = faults(r#"{"isolate": {"restartBackoff": "2s", "restartBackoffMax": "1s"}}"#);
    assert!(list[0].contains("isolate.restartBackoffMax: must be at least isolate.restartBackoff (2s"), "{list:?}");
    assert!(load(r#"{"isolate": {"restartBackoff": "2s", "restartBackoffMax": "2s"}}"#).is_ok());
}

#[test]
fn every_part_of_a_modules_section_is_read() {
    let text = r#"{"modules": {"m": {"grants": {"broadcast": ["*"], "rpc": ["chat"], "reload": true}, "config": {"a": {"b": null}},
        "limits": {"timeout": "1s", "logLine": 10}, "subdomains": {"acme": {"config": {"c": 1}}}}}}"#;
    let module = load(text).unwrap().module("m");
    assert!(module.grants.reload && module.grants.broadcast.allow("x") && module.grants.rpc.allow("chat"));
    assert_eq!(serde_json::Value::from(module.config), serde_json::json!({"a": {"b": null}}));
    assert_eq!(module.subdomains["acme"].config["c"], 1);
    let limits = Limits::default().with(&module.limits);
    assert_eq!((limits.timeout, limits.log_line), (Duration::from_secs(1), 10));
}

#[test]
fn no_malformed_file_causes_a_panic() {
    let text = r#"{"workers": 2, "http": {"cors": {"origins": ["*"]}, "maxBody": "1KiB"}, "modules": {"m": {"grants": {"rpc": ["a"]}}}}"#;
    for at in 0..text.len() {
        for with in ["{", "[", "\"", "-1", "1e400", "99999999999999999999", "null", "\\"] {
            let (before, after) = text.split_at(at);
            let _ = load(&format!("{before}{with}{}", after.get(1..).unwrap_or_default()));
        }
    }
}

#[test]
fn at_most_one_hundred_faults_are_kept() {
    let unknown: Vec<String> = (0..101).map(|index| format!("\"unknown{index}\": 1")).collect();
    let faults = load(&format!("{{{}}}", unknown.join(","))).unwrap_err();
    assert_eq!((faults.list().len(), faults.more()), (100, 1));
}

#[test]
fn the_section_sse_is_configured_when_a_source_has_it() {
    let configured = |text: &str| load(text).unwrap().sse.configured;
    assert!(!configured("{}") && !configured(r#"{ "sse": null }"#));
    assert!(configured(r#"{ "sse": {} }"#) && configured(r#"{ "sse": { "path": "/events" } }"#));
    let variable = load_with("{}", &sources(&[("FANFARE_SSE_PATH", "/events")])).unwrap().sse;
    assert_eq!((variable.configured, variable.path.as_str()), (true, "/events"));
    let section =
        |text: &str| load_with(text, &Sources { environment: Some("e".into()), ..Sources::default() }).unwrap();
    assert!(section(r#"{ "environments": { "e": { "sse": {} } } }"#).sse.configured);
    assert!(!section(r#"{ "sse": {}, "environments": { "e": { "sse": null } } }"#).sse.configured);
}

#[test]
fn headers_of_streams_are_checked_in_place_and_null_removes_one() {
    let text = r#"{ "sse": { "path": "/api/stream", "pingInterval": "99ms", "headers": {
      "x-a": "1", "X-A": "2",
      "Content-Length": "1",
      "x b": "1", "x-c": "a\nb", "x-d": 1, "cache-control": null
    } } }"#;
    let list = faults(text);
    let places: Vec<&str> =
        list.iter().map(|fault| fault.split_once(": must").map_or(fault.as_str(), |(place, _)| place)).collect();
    assert_eq!(
        places,
        [
            "fanfare.json:1:20: sse.path",
            "fanfare.json:1:51: sse.pingInterval",
            "fanfare.json:2:26: sse.headers.X-A: is the same header as \"x-a\": remove one",
            "fanfare.json:3:7: sse.headers.Content-Length",
            "fanfare.json:4:7: sse.headers[\"x b\"]",
            "fanfare.json:4:26: sse.headers.x-c",
            "fanfare.json:4:41: sse.headers.x-d",
        ],
        "{list:#?}"
    );
    let layered = r#"{ "sse": { "headers": { "x-a": "1", "x-b": null } },
      "environments": { "e": { "sse": { "headers": { "x-a": null, "x-b": "2" } } } } }"#;
    let config = load_with(layered, &Sources { environment: Some("e".into()), ..Sources::default() }).unwrap();
    let value = |name: &str| config.sse.headers.get(name).cloned();
    assert_eq!((value("x-a"), value("x-b")), (Some(None), Some(Some("2".to_owned()))));
}

#[test]
fn one_connection_to_redis_or_several_are_checked_in_place() {
    let found = |text: &str| faults(text);
    assert_eq!(found(r#"{ "redis": { "url": "redis://h" } }"#), [""; 0]);
    assert_eq!(
        found(r#"{ "redis": { "a": { "url": "redis://h" }, "default": { "url": "rediss://h", "ca": "f" } } }"#),
        [""; 0]
    );
    for (text, fault) in [
        (r#"{ "redis": { "database": 1 } }"#, "redis.url: is required"),
        (r#"{ "redis": { "a": {} } }"#, "redis.a.url: is required"),
        (
            r#"{ "redis": { "url": "redis://h", "usrename": "u" } }"#,
            "redis.usrename: unknown key; did you mean \"username\"?",
        ),
        (r#"{ "redis": { "url": "redis://u:p@h" } }"#, "redis.url: must be `redis://<host>[:<port>]`"),
        (r#"{ "redis": { "A": { "url": "redis://h" } } }"#, "redis.A: must be "),
        (
            r#"{ "redis": { "url": "redis://h", "passwordFile": "f", "passwordVariable": "V" } }"#,
            "redis.passwordVariable: must not be set together with passwordFile",
        ),
        (r#"{ "redis": { "url": "redis://h", "ca": "f" } }"#, "redis.ca: needs a `url` that begins with"),
        (
            r#"{ "redis": { "url": "redis://h", "reconnect": "2s", "reconnectMax": "1s" } }"#,
            "redis.reconnectMax: must be at least reconnect (2s), found 1s",
        ),
    ] {
        let list = found(text);
        let (_, fault) = fault.split_once("redis").unwrap();
        let found = list
            .first()
            .is_some_and(|one| one.starts_with("fanfare.json:1:") && one.contains(&format!("redis{fault}")));
        assert!(list.len() == 1 && found, "{text}: {list:?}");
    }
    let variable = load_with("{}", &sources(&[("FANFARE_REDIS_URL", "redis://h:1")])).unwrap();
    assert_eq!(variable.redis.0["default"].url, "redis://h:1");
}

#[test]
fn a_store_names_a_connection_to_redis() {
    let all = r#"{ "redis": { "a": { "url": "redis://h" } }, "keyvalue": STORES }"#;
    // Without file, line and column.
    let faults_of = |text: &str| -> Vec<String> {
        faults(text).iter().map(|fault| fault.splitn(4, ':').nth(3).unwrap().trim().to_owned()).collect()
    };
    let found = |stores: &str| faults_of(&all.replace("STORES", stores));
    assert_eq!(found(r#"{ "s": { "redis": "a", "prefix": "" }, "t": {} }"#), [""; 0]);
    assert_eq!(
        found(r#"{ "s": { "redis": "b" } }"#),
        ["keyvalue.s.redis: must be a connection of `redis`, which has a, found \"b\""]
    );
    assert_eq!(
        faults_of(r#"{ "keyvalue": { "s": { "redis": "default" } } }"#),
        ["keyvalue.s.redis: must be a connection of `redis`, which has none, found \"default\""]
    );
    assert_eq!(found(r#"{ "s": { "prefix": "a:" } }"#), ["keyvalue.s.prefix: needs `redis`, which names the server"]);
}

#[test]
fn a_duration_below_a_second_without_a_unit_is_a_warning() {
    let text = "{\n  \"http\": { \"bodyTimeout\": 5 },\n  \"shutdown\": { \"drain\": 5000 },\n\
        \"environments\": { \"development\": { \"calls\": { \"maxDepth\": 7 } } }\n}";
    let warned: Vec<String> = load(text).unwrap().warnings.iter().map(ToString::to_string).collect();
    let expected = "fanfare.json:2:28: http.bodyTimeout: 5 means 5 ms: write \"5ms\", or \"5s\" for 5 seconds";
    assert_eq!(warned, [expected]);
}
