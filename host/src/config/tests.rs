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

/// The one fault of `{"a": {"b": value}}` for the key `a.b`, without its place.
fn fault_of(key: &str, value: &str) -> Option<String> {
    let list = faults(&nested(key, value));
    assert!(list.len() <= 1, "{key} = {value}: {list:?}");
    list.first().map(|fault| fault.splitn(4, ':').nth(3).unwrap_or_default().trim().to_owned())
}

fn nested(key: &str, value: &str) -> String {
    key.rsplit('.').fold(value.to_owned(), |inner, key| format!("{{\"{key}\": {inner}}}"))
}

fn sources(variables: &[(&str, &str)]) -> Sources {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { variables, ..Sources::default() }
}

fn load_with(text: &str, sources: &Sources) -> Result<Config, Faults> {
    load::from_text(Some(text), Path::new(ROOT), sources)
}

#[test]
fn without_a_file_the_defaults_hold() {
    let config = Config::defaults(Path::new(ROOT)).unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.modules_dir, Path::new("/srv/app/modules"));
    assert_eq!(config.state_dir, Path::new("/srv/app/.fanfare"));
    assert_eq!((config.environment.as_str(), config.http.max_body), ("development", 2 * MIB));
    assert_eq!((config.node.id.as_str(), config.node.server.as_str()), ("node-1", "node"));
    assert_eq!((config.limits.max.memory, config.engine.compile_memory), (256 * MIB, 4 * GIB));
    assert_eq!(config.workers, std::thread::available_parallelism().map_or(1, usize::from));
    assert!(config.warnings.is_empty() && config.file.is_none());
    assert!(config.effective.leaves().iter().all(|(_, node)| node.origin == Origin::Default));
}

#[test]
fn the_file_of_the_design_is_read_but_for_what_is_not_served_yet() {
    let text = r#"{
      "modulesDir": "modules", "workers": "auto", "brokers": 1,
      "http":  { "listen": "127.0.0.1:8080", "domain": "example.test", "cors": { "origins": [] }, "maxBody": "2MiB" },
      "admin": { "listen": "127.0.0.1:8081" },
      "events": { "listen": "127.0.0.1:14440" },            // the event service runs when this key is present
      "sse": { "path": "/stream", "maxClients": 10000, "pingInterval": "10s", "headers": {} },
      "websocket": { "listeners": [ { "path": "/socketcluster/", "protocol": 2 } ] },
      "limits": { "max": { "memory": "256MiB", "timeout": "60s", "cpu": "5s", "concurrency": 256 } },
      "modules": { "test-party": { "grants": { "broadcast": ["flags"] }, "config": { "greeting": "hi" },
                                   "limits": {}, "subdomains": { "acme": { "config": {} } } } },
      "environments": { "production": { "http": { "listen": "0.0.0.0:80" } } },
      "cluster": { "nats": "nats://127.0.0.1:4222" },
      "redis": { "url": "redis://127.0.0.1:6379" },
    }"#;
    let list = faults(text);
    assert_eq!(list.len(), 6, "{list:?}");
    assert_eq!(list[0], "fanfare.json:2:51: brokers: not served by this version yet");
    assert_eq!(list[1], "fanfare.json:5:7: events: not served by this version yet");
    assert!(list.iter().all(|fault| fault.ends_with("not served by this version yet")));
}

#[test]
fn a_fault_names_file_line_column_key_and_rule() {
    assert_eq!(faults("{\n\n\n  \"workers\": 0 }"), ["fanfare.json:4:14: workers: must be at least 1, found 0"]);
}

#[test]
fn all_faults_come_at_once_in_the_order_of_the_file() {
    let text = r#"{ "workers": 0, "htp": {}, "workers": 2,
      "http": { "listen": "localhost:80", "maxBody": "2MB", "cors": { "origins": ["x", null], "credentials": 1 } },
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
            "modules.m.grants.http",
            "modules.m.grants.rpc[0]",
            "environments.production.workers",
            "environments.production.environments",
            "environments[\"a b\"]",
        ]
    );
    let list = faults(r#"{ "http": {"listen": 1}, "modules": { "m": { "limits": { "memory": "1GiB" } } } }"#);
    assert_eq!(list.len(), 2, "a fault in one section hides none of another: {list:?}");
}

#[test]
fn unknown_keys_name_the_nearest_or_all() {
    assert_eq!(fault_of("http.listne", "1").unwrap(), "http.listne: unknown key; did you mean \"listen\"?");
    assert_eq!(fault_of("admin.zzz", "1").unwrap(), "admin.zzz: unknown key; the keys here are \"listen\"");
    assert_eq!(fault_of("http.max_body", "1").unwrap(), "http.max_body: unknown key; did you mean \"maxBody\"?");
    assert_eq!(fault_of("$schema", "\"x\""), None);
}

#[test]
fn keys_to_come_are_refused_by_name() {
    for key in unserved::CONFIG {
        assert_eq!(fault_of(key, "{}").unwrap(), format!("{key}: not served by this version yet"));
    }
}

#[test]
fn capabilities_to_come_cannot_be_granted() {
    for key in unserved::CAPABILITIES {
        let fault = fault_of(&format!("modules.m.grants.{key}"), "[]").unwrap();
        assert!(fault.ends_with(": not served by this version yet"), "{fault}");
    }
}

#[test]
fn every_bound_holds_just_under_and_just_over() {
    for (key, under, least, most, over) in [
        ("workers", "0", "1", "1024", "1025"),
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
        ("engine.tick", "0", "1", "\"1s\"", "1001"),
        ("engine.compileMemory", "\"63MiB\"", "\"64MiB\"", "\"1TiB\"", "1099511627777"),
        ("engine.compileTimeout", "999", "\"1s\"", "\"1h\"", "3600001"),
        ("engine.maxComponent", "1023", "\"1KiB\"", "\"1GiB\"", "1073741825"),
        ("engine.maxInstances", "0", "1", "10000", "10001"),
        ("engine.maxMemories", "0", "1", "10000", "10001"),
        ("engine.maxInstanceSize", "65535", "\"64KiB\"", "\"1GiB\"", "1073741825"),
        ("engine.addressSpace", "8589934591", "\"8GiB\"", "\"120TiB\"", "131941395333121"),
        ("engine.cacheSize", "1048575", "\"1MiB\"", "\"1TiB\"", "1099511627777"),
        ("isolate.restartBackoff", "0", "1", "\"30s\"", "3600001"),
        ("isolate.restartBackoffMax", "0", "100", "\"1h\"", "3600001"),
        ("isolate.maxRestarts", "-1", "0", "10000", "10001"),
        ("isolate.restartWindow", "0", "1", "\"24h\"", "86400001"),
        ("isolate.blockedAfter", "9", "10", "\"1h\"", "3600001"),
        ("isolate.turnCalls", "0", "1", "65536", "65537"),
        ("swap.poll", "49", "50", "\"1h\"", "3600001"),
        ("swap.settle", "-1", "0", "\"1m\"", "60001"),
        ("swap.removal", "-1", "0", "\"1m\"", "60001"),
        ("swap.patience", "999", "\"1s\"", "\"1h\"", "3600001"),
        ("swap.quiesce", "-1", "0", "\"1h\"", "3600001"),
        ("swap.timeout", "0", "1", "\"1h\"", "3600001"),
        ("swap.state", "0", "1", "\"1TiB\"", "1099511627777"),
        ("shutdown.drain", "-1", "0", "\"1h\"", "3600001"),
        ("shutdown.linger", "-1", "0", "\"1h\"", "3600001"),
        ("calls.maxDepth", "0", "1", "256", "257"),
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
    let text = include_str!("tests.rs");
    for key in variables::known().values() {
        let path = key.path.join(".");
        let node = Config::defaults(Path::new(ROOT)).unwrap();
        let leaf =
            node.effective.at(&KeyPath::of(&key.path.iter().map(String::as_str).collect::<Vec<_>>())).cloned().unwrap();
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
        } else if key.ends_with("nested") {
            "2"
        } else {
            "1"
        };
        let under = (least.parse::<u64>().unwrap() - 1).to_string();
        assert_eq!(fault_of(&key, least), None, "{key}");
        assert!(fault_of(&key, &under).unwrap().contains("must be at least "), "{key}");
        let low = load(&nested(&key, least)).unwrap();
        assert!(Limits::default().above(&low.limits.max).iter().any(|above| key.ends_with(above.key)), "{key} is read");
    }
    let (default, ceiling) = (Limits::default(), Limits::ceiling());
    assert!(default.above(&ceiling).is_empty());
    assert_eq!(ceiling.above(&default).len(), Limits::KEYS.len());
    assert_eq!(
        (default.memory, default.timeout, default.cpu, default.log_line),
        (64 * MIB, Duration::from_secs(5), Duration::from_millis(500), 4096)
    );
}

#[test]
fn an_operators_limit_stays_below_his_ceiling() {
    let at = |memory: &str| {
        format!(
            "{{\"limits\": {{\"max\": {{\"memory\": \"128MiB\"}}}}, \"modules\": {{\"m\": {{\"limits\": {{\"memory\": {memory}}}}}}}}}"
        )
    };
    assert!(load(&at("\"128MiB\"")).is_ok());
    let list = faults(&at("134217729"));
    assert!(list[0].contains("modules.m.limits.memory: must be at most 128MiB, the ceiling limits.max.memory (fanfare.json:1:31), found 134217729B"), "{list:?}");
}

#[test]
fn values_of_another_kind_are_refused_with_the_right_one() {
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
        ("http.listen", "\"localhost:80\"", "an IP address and port"),
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
        list[0].contains("admin.listen: must be another address than http.listen (0.0.0.0:8081, fanfare.json:1:21)"),
        "{list:?}"
    );
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
fn each_layer_lies_on_the_one_before() {
    let text = r#"{"workers": 2, "environments": {"production": {"workers": 3, "http": {"maxHeaders": 3}}, "other": {"workers": 9}}}"#;
    let mut with = Sources::default();
    let seen = |with: &Sources| {
        let config = load_with(text, with).unwrap();
        (config.workers, config.origin(&KeyPath::of(&["workers"])).to_string())
    };
    assert_eq!(seen(&with), (2, "fanfare.json:1:13".into()));
    with.environment = Some("production".into());
    assert_eq!(seen(&with), (3, "environments.production fanfare.json:1:59".into()));
    with.variables.insert("FANFARE_WORKERS".into(), "4".into());
    assert_eq!(seen(&with), (4, "variable FANFARE_WORKERS".into()));
    with.flags.workers = Some("4".into());
    assert_eq!(seen(&with), (4, "variable FANFARE_WORKERS".into()), "the command line has read the variable");
    with.flags.workers = Some("5".into());
    assert_eq!(seen(&with), (5, "flag --workers".into()));
    assert_eq!(load_with(text, &with).unwrap().http.max_headers, 3);
}

#[test]
fn null_brings_the_default_back() {
    let text = r#"{"workers": 2, "http": {"domain": "a.test", "maxBody": 5}, "modules": {"m": {"limits": {"concurrency": 1}}},
        "environments": {"development": {"workers": null, "http": {"domain": null, "maxBody": null}, "modules": {"m": null}}}}"#;
    let config = load(text).unwrap();
    assert_eq!(config.workers, std::thread::available_parallelism().map_or(1, usize::from));
    assert_eq!((config.http.domain, config.http.max_body), (None, 2 * MIB));
    assert!(config.modules.is_empty());
    assert!(load(r#"{"http": null, "modules": null, "environments": null}"#).is_ok());
}

#[test]
fn the_environment_is_chosen_by_flag_then_variable() {
    let mut with = sources(&[("FANFARE_ENV", "test")]);
    assert_eq!(load_with("{}", &with).unwrap().environment, "test");
    with.environment = Some("production".into());
    assert_eq!(load_with("{}", &with).unwrap().environment, "production");
    with.environment = Some("a b".into());
    assert!(load_with("{}", &with).unwrap_err().to_string().starts_with("--env: must be a name"));
}

#[test]
fn an_environment_without_a_section_is_warned_about_where_others_have_one() {
    let text = r#"{"environments": {"production": {}}}"#;
    let with = |name: &str| Sources { environment: Some(name.into()), ..Sources::default() };
    let warnings = load_with(text, &with("prodution")).unwrap().warnings;
    assert_eq!(
        warnings[0].to_string(),
        "fanfare.json:1:18: environments: no section for the environment \"prodution\"; did you mean \"production\"?"
    );
    assert!(load_with(text, &with("production")).unwrap().warnings.is_empty());
    assert!(load(text).unwrap().warnings.is_empty());
}

#[test]
fn variables_are_checked_like_the_file() {
    let list = load_with(
        "{}",
        &sources(&[("FANFARE_WORKERS", "0"), ("FANFARE_HTTP_LISTEN", "x"), ("FANFARE_HTTP_CORS_CREDENTIALS", "yes")]),
    )
    .unwrap_err();
    let list: Vec<String> = list.list().iter().map(ToString::to_string).collect();
    assert_eq!(list[0], "FANFARE_HTTP_CORS_CREDENTIALS: http.cors.credentials: must be true or false, found \"yes\"");
    assert!(list[1].starts_with("FANFARE_HTTP_LISTEN: http.listen: must be an IP address and port"));
    assert_eq!(list[2], "FANFARE_WORKERS: workers: must be at least 1, found 0");
    let config = load_with("{}", &sources(&[("FANFARE_HTTP_MAX_BODY", "1KiB"), ("FANFARE_NOTHING", "1")])).unwrap();
    assert_eq!((config.http.max_body, config.warnings.len()), (1024, 1));
}

#[test]
fn flags_are_checked_like_the_file() {
    let flags = Flags { workers: Some("many".into()), admin: Some("x".into()), ..Flags::default() };
    let list = load_with("{}", &Sources { flags, ..Sources::default() }).unwrap_err().to_string();
    assert!(list.contains("--workers: workers: must be \"auto\" or a whole number, found \"many\""), "{list}");
    assert!(list.contains("--admin: admin.listen: must be an IP address"), "{list}");
}

#[test]
fn relative_folders_start_at_the_file_or_for_flags_at_the_user() {
    let config = load(r#"{"modulesDir": "./m", "stateDir": "/var/f"}"#).unwrap();
    assert_eq!(
        (config.modules_dir.as_path(), config.state_dir.as_path()),
        (Path::new("/srv/app/m"), Path::new("/var/f"))
    );
    let flags = Flags { modules: Some("m".into()), ..Flags::default() };
    let config = load_with("{}", &Sources { flags, ..Sources::default() }).unwrap();
    assert_eq!(config.modules_dir, std::env::current_dir().unwrap().join("m"));
}

#[test]
fn a_modules_section_is_read_whole() {
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
fn the_file_is_found_named_or_missed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let in_dir = Sources { dir: dir.to_owned(), ..Sources::default() };
    let none = Config::load(in_dir.clone()).unwrap();
    assert_eq!((none.root.as_path(), none.file), (dir, None));
    std::fs::write(dir.join(FILE_NAME), "{\"workers\": 7}").unwrap();
    let found = Config::load(in_dir.clone()).unwrap();
    assert_eq!((found.workers, found.file), (7, Some(dir.join(FILE_NAME))));
    let named = Sources { config: Some(dir.join("other.json")), ..in_dir };
    assert!(Config::load(named).unwrap_err().to_string().contains("other.json:1:1: cannot be read"));
}

#[test]
fn no_changed_file_panics() {
    let text = r#"{"workers": 2, "http": {"cors": {"origins": ["*"]}, "maxBody": "1KiB"}, "modules": {"m": {"grants": {"rpc": ["a"]}}}}"#;
    for at in 0..text.len() {
        for with in ["{", "[", "\"", "-1", "1e400", "99999999999999999999", "null", "\\"] {
            let (before, after) = text.split_at(at);
            let _ = load(&format!("{before}{with}{}", after.get(1..).unwrap_or_default()));
        }
    }
}

#[test]
fn one_hundred_faults_are_enough() {
    let unknown: Vec<String> = (0..101).map(|index| format!("\"unknown{index}\": 1")).collect();
    let faults = load(&format!("{{{}}}", unknown.join(","))).unwrap_err();
    assert_eq!((faults.list().len(), faults.more()), (100, 1));
}
