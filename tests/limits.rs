//! Every limit just under and just over, and every way for a call to fail. What has no test here fails the last ones.

mod computing;
mod constant;
mod errors;
mod heavy;
mod holding;
mod http;
mod lines;
mod second;
mod settings;
mod time;
mod waiting;

use std::fs;

use fanfare::settings::Limits;
use fanfare::tooling::CallError;
use serde_json::Value;

use crate::harness::root;
use crate::{cli, failures};

/// A test for each name, and all the names.
macro_rules! tests_of {
    ($(#[$doc:meta])* $all:ident: $($name:literal => $module:ident::$test:ident,)*) => {
        $(#[$doc])*
        const $all: &[&str] = &[$($name),*];
        $(
            #[tokio::test]
            async fn $test() {
                $module::$test().await;
            }
        )*
    };
}

tests_of! {
    /// `limits.*` of a module.
    LIMITS:
    "memory" => holding::memory,
    "timeout" => time::timeout,
    "cpu" => computing::cpu,
    "concurrency" => waiting::concurrency,
    "nested" => waiting::nested,
    "mailbox" => waiting::mailbox,
    "broadcasts" => waiting::broadcasts,
    "queued" => waiting::queued,
    "payload" => computing::payload,
    "hostcallFuel" => computing::hostcall_fuel,
    "tables" => holding::tables,
    "handles" => holding::handles,
    "logRate" => lines::log_rate,
    "logLine" => lines::log_line,
    "startup" => time::startup,
    "abandonAfter" => time::abandon_after,
    "maxLeaked" => time::max_leaked,
    "background" => waiting::background,
}

tests_of! {
    /// What else bounds something in `fanfare.json`.
    SETTINGS:
    "workers" => settings::workers,
    "http.cors.maxAge" => http::cors_max_age,
    "http.maxBody" => http::max_body,
    "http.maxConnections" => http::max_connections,
    "http.maxBuffered" => http::max_buffered,
    "http.maxStreams" => http::max_streams,
    "http.localStreams" => http::local_streams,
    "http.maxHeaderBytes" => http::max_header_bytes,
    "http.maxHeaders" => http::max_headers,
    "http.bodyTimeout" => http::body_timeout,
    "http.headerTimeout" => http::header_timeout,
    "http.idleTimeout" => http::idle_timeout,
    "engine.tick" => settings::tick,
    "engine.maxInstances" => heavy::max_instances,
    "engine.maxMemories" => heavy::max_memories,
    "engine.maxInstanceSize" => heavy::max_instance_size,
    "engine.addressSpace" => heavy::address_space,
    "isolate.restartBackoff" => settings::restart_backoff,
    "isolate.restartBackoffMax" => settings::restart_backoff_max,
    "isolate.maxRestarts" => settings::max_restarts,
    "isolate.restartWindow" => settings::restart_window,
    "isolate.blockedAfter" => settings::blocked_after,
    "isolate.turnCalls" => settings::turn_calls,
    "shutdown.drain" => settings::drain,
    "shutdown.linger" => settings::linger,
}

/// The same, with a test that stands elsewhere.
const ELSEWHERE: &[(&str, fn())] = &[
    ("engine.compileMemory", cli::compile::a_compilation_above_compile_memory_is_refused),
    ("engine.compileTimeout", cli::compile::a_compilation_above_compile_timeout_is_refused_and_ended),
    ("engine.maxComponent", cli::compile::a_component_above_max_component_is_refused),
    ("engine.cacheSize", cli::cache::the_cache_stays_within_its_size),
    ("calls.maxDepth", too_deep),
    ("swap.poll", crate::reload::watch::files_that_keep_changing_are_read_in_the_end),
    ("swap.settle", crate::reload::watch::files_are_read_when_nobody_writes_to_them),
    ("swap.removal", crate::reload::outcomes::the_folder_that_is_gone_is_let_go_after_what_waits),
    ("swap.patience", crate::reload::watch::files_that_keep_changing_are_read_in_the_end),
    ("swap.quiesce", crate::swap::quiesce),
    ("swap.timeout", crate::swap::timeout),
    ("swap.state", crate::swap::state),
    ("limits.max", failures::refused::asks_for_more_than_the_ceiling),
];

tests_of! {
    /// The codes of errors.
    ERRORS:
    "failure" => errors::failure,
    "timeout" => errors::timed_out,
    "not-found" => errors::not_found,
    "forbidden" => errors::forbidden,
    "overloaded" => errors::overloaded,
    "crashed" => errors::crashed,
    "unavailable" => errors::unavailable,
    "would-deadlock" => errors::would_deadlock,
    "too-deep" => errors::too_deep,
    "invalid" => errors::invalid,
    "other" => errors::other,
}

#[track_caller]
fn assert_same<'a>(tested: &[&'a str], wanted: impl IntoIterator<Item = &'a str>) {
    let (mut tested, mut wanted) = (tested.to_vec(), wanted.into_iter().collect::<Vec<_>>());
    tested.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(tested, wanted, "left: what has a test; right: what needs one");
}

#[test]
fn every_limit_has_a_test() {
    assert_same(LIMITS, Limits::KEYS.iter().copied());
}

/// The keys below this part of a schema whose values have a largest one, with all of `limits.max` as one.
fn bounds(schema: &Value, part: &Value, path: &str, found: &mut Vec<String>) {
    let part = part.get("anyOf").map_or(part, |either| &either[0]);
    let target = part.get("$ref").and_then(|target| target.as_str()?.strip_prefix('#'));
    let part = target.map_or(part, |target| schema.pointer(target).unwrap());
    if part.get("maximum").is_some() || path == "limits.max" {
        found.push(path.to_owned());
        return;
    }
    for (key, property) in part.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        bounds(schema, property, &path, found);
    }
}

#[test]
fn every_bound_of_the_settings_has_a_test() {
    let schema = fs::read(root().join("schema/fanfare.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let mut found = Vec::new();
    bounds(&schema, &schema, "", &mut found);
    let elsewhere = ELSEWHERE.iter().map(|(key, _)| *key);
    let tested: Vec<&str> = SETTINGS.iter().copied().chain(elsewhere).collect();
    assert_same(&tested, found.iter().map(String::as_str));
}

#[test]
fn every_error_has_a_test() {
    assert_same(ERRORS, CallError::CODES);
}
