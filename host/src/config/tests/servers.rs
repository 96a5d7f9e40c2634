//! `cluster.servers`: what it stands for, what is refused, and what the own entry sets.

use serde_json::json;

use super::*;

fn with_servers(servers: &str) -> String {
    format!("{{ \"cluster\": {{ \"servers\": {servers} }} }}")
}

/// The sources of a node that a flag names.
fn node(id: &str) -> Sources {
    Sources { flags: Flags { node: Some(id.to_owned()), ..Flags::default() }, ..Sources::default() }
}

/// The only fault, without file, line and column.
fn fault(servers: &str) -> String {
    let list = faults(&with_servers(servers));
    assert_eq!(list.len(), 1, "{servers}: {list:?}");
    list.first().map(|fault| fault.splitn(4, ':').nth(3).unwrap_or_default().trim().to_owned()).unwrap_or_default()
}

const ALL: &str = r#"{
    "gate": [{ "id": "gate-1", "host": "127.0.0.1", "port": 4001, "frontend": true, "clientPort": 4101, "weight": 3 }],
    "chat": { "modules": "chat", "overrides": { "workers": 1 },
              "servers": [{ "id": "chat-", "idStart": 1, "port": [4021, 4023], "args": "--strict", "tag": { "a": [1] } },
                          { "id": "last", "port": 4030, "host": "10.0.0.7", "modules": ["chat", "log"] }] }
}"#;

#[test]
fn a_range_of_ports_stands_for_several_servers() {
    let config = load(&with_servers(ALL)).unwrap();
    let all: Vec<_> =
        config.servers.iter().map(|s| (s.id.as_str(), s.server.as_str(), s.port, s.client_port)).collect();
    let chat = |id, port| (id, "chat", port, None);
    let expected =
        [("gate-1", "gate", 4001, Some(4101)), chat("chat-1", 4021), chat("chat-2", 4022), chat("chat-3", 4023)];
    assert_eq!(all, [&expected[..], &[chat("last", 4030)]].concat());
    let [gate, one, .., last] = config.servers.as_slice() else { panic!() };
    assert!(gate.frontend && !one.frontend && gate.modules.is_none());
    assert_eq!((gate.settings.get("weight"), one.settings.get("tag")), (Some(&json!(3)), Some(&json!({ "a": [1] }))));
    assert!(gate.settings.len() == 1 && one.settings.len() == 1, "known keys are none of the modules'");
    assert_eq!(
        (one.args.as_slice(), one.modules.as_deref()),
        (&["--strict".to_owned()][..], Some(&["chat".to_owned()][..]))
    );
    assert_eq!((last.host.as_str(), last.modules.as_ref().map(Vec::len)), ("10.0.0.7", Some(2)));
    assert!(config.server.is_none() && config.node.id == "node-1", "no node was chosen");
    let from_zero =
        load(&with_servers(r#"{ "m": [{ "id": "m", "port": [5, 6], "frontend": true, "clientPort": 65534 }] }"#));
    let ids: Vec<_> = from_zero.unwrap().servers.iter().map(|s| (s.id.clone(), s.client_port)).collect();
    assert_eq!(ids, [("m0".to_owned(), Some(65_534)), ("m1".to_owned(), Some(65_535))]);
}

#[test]
fn the_own_entry_sets_the_node_and_its_ports() {
    let text = with_servers(ALL);
    let chat = load_with(&text, &node("chat-2")).unwrap();
    assert_eq!((chat.node.id.as_str(), chat.node.server.as_str(), chat.workers), ("chat-2", "chat", 1));
    assert_eq!((chat.admin.listen.to_string(), chat.http.listen.port()), ("127.0.0.1:4022".to_owned(), 0));
    assert_eq!(
        (chat.state_dir.as_path(), chat.shared_dir()),
        (Path::new("/srv/app/.fanfare/chat-2"), Path::new("/srv/app/.fanfare"))
    );
    assert!(chat.serves("chat") && !chat.serves("log") && chat.server.is_some());
    let gate = load_with(&text, &node("gate-1")).unwrap();
    assert_eq!((gate.http.listen.to_string(), gate.admin.listen.port()), ("127.0.0.1:4101".to_owned(), 4001));
    assert!(gate.serves("log"));
    let place = gate.origin(&KeyPath::of(&["http", "listen"]));
    assert!(place.to_string().starts_with("fanfare.json:2:"), "{place}");
    let by_variable = load_with(&text, &sources(&[("FANFARE_NODE_ID", "gate-1")])).unwrap();
    assert_eq!(by_variable.admin.listen.port(), 4001);
    let by_file = load(&text.replacen('{', "{ \"node\": { \"id\": \"gate-1\" },", 1)).unwrap();
    assert_eq!(by_file.admin.listen.port(), 4001);
}

#[test]
fn the_addresses_are_those_of_the_listeners_and_flags_override_the_entry() {
    let listen = "{ \"http\": { \"listen\": \"0.0.0.0:1\" }, \"admin\": { \"listen\": \"10.0.0.1:2\" },";
    let text = with_servers(ALL).replacen('{', listen, 1);
    let gate = load_with(&text, &node("gate-1")).unwrap();
    assert_eq!(
        (gate.http.listen.to_string(), gate.admin.listen.to_string()),
        ("0.0.0.0:4101".into(), "10.0.0.1:4001".into())
    );
    let flags = Flags { node: Some("chat-1".into()), workers: Some("3".into()), ..Flags::default() };
    let chat = load_with(&text, &Sources { flags, ..Sources::default() }).unwrap();
    assert_eq!((chat.workers, chat.admin.listen.port()), (3, 4021));
}

#[test]
fn an_id_that_no_server_has_is_refused_with_those_that_exist() {
    let text = with_servers(ALL);
    for sources in [node("chat-4"), sources(&[("FANFARE_NODE_ID", "chat-4")])] {
        let error = load_with(&text, &sources).unwrap_err().to_string();
        let parts = [
            "node.id: must be the id of a server in cluster.servers, found \"chat-4\"",
            "\"development\"",
            "\"gate-1\", \"chat-1\", \"chat-2\", \"chat-3\" and \"last\"; did you mean \"chat-1\"?",
        ];
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    assert_eq!(load_with("{}", &node("any")).unwrap().node.id, "any", "without servers every id is free");
    let alone = text.replacen('{', "{ \"node\": { \"id\": \"other\" },", 1);
    assert!(load(&alone).unwrap().server.is_none(), "the file may name a node that is no server");
}

#[test]
fn each_environment_has_its_servers() {
    let text = r#"{ "environments": {
        "production": { "cluster": { "servers": { "m": [{ "id": "m-1", "port": 7001 }] } } },
        "development": { "workers": 1 } } }"#;
    let of = |environment: &str, id: &str| {
        load_with(text, &Sources { environment: Some(environment.to_owned()), ..node(id) })
    };
    assert_eq!(of("production", "m-1").unwrap().admin.listen.port(), 7001);
    let error = of("development", "m-1").unwrap_err().to_string();
    assert!(error.contains("has none: choose another environment with --env (\"production\" have servers)"), "{error}");
    let error = of("producton", "m-1").unwrap_err().to_string();
    assert!(error.contains("no section for the environment \"producton\"; did you mean \"production\"?"), "{error}");
}

#[test]
fn wrong_servers_are_refused_with_what_to_do() {
    for (servers, expected) in [
        (
            r#"{ "m": [{ "id": "a", "port": 1, "frontend": true }] }"#,
            "cluster.servers.m[0].clientPort: is required, because `frontend` is true: add the port for clients, or remove `frontend`",
        ),
        (
            r#"{ "m": [{ "id": "a", "port": [7, 6] }] }"#,
            "cluster.servers.m[0].port: must be a range `[first, last]` that has a port, found [7, 6]",
        ),
        (
            r#"{ "m": [{ "id": "a", "port": [7] }] }"#,
            "cluster.servers.m[0].port: must be a port, or a range `[first, last]`",
        ),
        (r#"{ "m": [{ "id": "a", "port": 0 }] }"#, "cluster.servers.m[0].port: must be at least 1, found 0"),
        (r#"{ "m": [{ "id": "a", "port": 65536 }] }"#, "cluster.servers.m[0].port: must be at most 65535, found 65536"),
        (r#"{ "m": [{ "port": 1 }] }"#, "cluster.servers.m[0].id: is required"),
        (r#"{ "m": [{ "id": "a" }] }"#, "cluster.servers.m[0].port: is required"),
        (
            r#"{ "m": [{ "id": "a", "port": 1, "host": "a b" }] }"#,
            "cluster.servers.m[0].host: must be an IP address or the name of a machine, found \"a b\"",
        ),
        (
            r#"{ "m": [{ "id": "cache", "port": 1 }] }"#,
            "cluster.servers.m[0].id: must not be \"cache\", the name of a file of stateDir: rename the server",
        ),
        (
            r#"{ "m": [{ "id": "a", "port": 1, "idStart": 1000000001 }] }"#,
            "cluster.servers.m[0].idStart: must be at most 1000000000, found 1000000001",
        ),
        (
            r#"{ "m": [{ "id": "a", "port": [1, 3], "frontend": true, "clientPort": 65534 }] }"#,
            "cluster.servers.m[0].clientPort: must leave room for 3 ports up to 65535: lower it",
        ),
        (
            r#"{ "m": [{ "id": "a", "port": [1, 1001] }] }"#,
            "cluster.servers.m[0].port: makes more than 1000 servers, the most of a cluster: remove some",
        ),
        (
            r#"{ "m": [{ "id": "a", "port": 1, "overrides": { "wokers": 1 } }] }"#,
            "cluster.servers.m[0].overrides.wokers: unknown key; did you mean \"workers\"?",
        ),
        (
            r#"{ "m": [{ "id": "a", "port": 1, "overrides": { "node": {} } }] }"#,
            "cluster.servers.m[0].overrides: must not have `node`, which no server overrides: remove it",
        ),
        (
            r#"{ "m": [{ "id": "a", "port": 1, "overrides": 3 }] }"#,
            "cluster.servers.m[0].overrides: must be an object with keys of this file, found 3",
        ),
        (
            r#"{ "development": { "m": [] } }"#,
            "cluster.servers.development: must be a list of servers, or have one in `servers`: write the servers of one environment to `environments.<name>.cluster.servers`",
        ),
    ] {
        assert_eq!(fault(servers), expected, "{servers}");
    }
    assert!(load(&with_servers(r#"{ "m": [{ "id": "a", "port": [1, 1000] }] }"#)).is_ok());
}

#[test]
fn ids_and_ports_are_used_once() {
    let twice = r#"{ "m": [{ "id": "a-1", "port": 1 }], "n": [{ "id": "a-", "port": [2, 3] }] }"#;
    let message = fault(twice);
    assert!(
        message.starts_with("cluster.servers.n[0].id: \"a-1\" is the id of another server too (fanfare.json:1:"),
        "{message}"
    );
    for (one, other, refused) in [
        ("\"port\": 7", "\"port\": [5, 7]", true),
        ("\"port\": 7", "\"port\": 8, \"frontend\": true, \"clientPort\": 7, \"host\": \"LOCALHOST\"", true),
        ("\"port\": 7", "\"port\": 7, \"host\": \"10.0.0.2\"", false),
        ("\"port\": 7, \"host\": \"one\"", "\"port\": 7, \"host\": \"ONE\"", true),
        ("\"port\": 7", "\"port\": 8, \"clientPort\": 7", false),
    ] {
        let text = format!("{{ \"m\": [{{ \"id\": \"a\", {one} }}, {{ \"id\": \"b\", {other} }}] }}");
        let list = faults(&with_servers(&text));
        assert_eq!(list.len(), usize::from(refused), "{text}: {list:?}");
        let says =
            list.iter().all(|fault| fault.contains("the port 7, which is the") && fault.ends_with("use another port"));
        assert!(says, "{list:?}");
    }
}

#[test]
fn the_master_of_mydog_is_refused_and_nats_is_named() {
    for text in [
        r#"{ "cluster": { "master": { "id": "m", "host": "127.0.0.1", "port": 4080 } } }"#,
        r#"{ "cluster": { "servers": { "master": [{ "id": "m", "port": 4080 }] } } }"#,
        r#"{ "master": { "id": "m", "host": "127.0.0.1", "port": 4080 } }"#,
        r#"{ "environments": { "development": { "cluster": { "master": { "id": "m" } } } } }"#,
    ] {
        let list = faults(text);
        let only = list.len() == 1
            && list.iter().all(|fault| fault.contains("master: is not supported, because a cluster has no master"));
        assert!(only && list.iter().all(|fault| fault.contains("cluster.nats")), "{list:?}");
    }
    assert!(load(r#"{ "master": { "ipcAckTimeout": "1s" } }"#).is_ok());
}

#[test]
fn a_key_that_looks_like_one_of_the_host_is_kept_with_a_warning() {
    let config = load(&with_servers(r#"{ "m": [{ "id": "a", "port": 1, "clientport": 2 }] }"#)).unwrap();
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert!(
        matches!(warnings.as_slice(), [one] if one.ends_with("cluster.servers.m[0].clientport: is kept for the modules; did you mean \"clientPort\"?")),
        "{warnings:?}"
    );
    assert_eq!(config.servers.first().map(|server| server.settings.len()), Some(1));
    let most = "x".repeat((16 << 10) - 9);
    let entry =
        |text: &str| with_servers(&format!("{{ \"m\": [{{ \"id\": \"a\", \"port\": 1, \"y\": \"{text}\" }}] }}"));
    assert!(load(&entry(&most)).is_ok(), "{:?}", faults(&entry(&most)));
    let list = faults(&entry(&(most + "xx")));
    assert!(list.iter().any(|fault| fault.contains("bytes of keys for the modules, more than 16384")), "{list:?}");
}
