//! Every limit just under and just over, and every way for a call to fail. What has no test here fails the last ones.

mod computing;
mod errors;
mod holding;
mod http;
mod lines;
mod second;
mod time;
mod waiting;

use fanfare::call::CallError;
use fanfare::config::{HttpConfig, Limits};

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
    /// `http.max*`.
    HTTP:
    "maxBody" => http::max_body,
    "maxConnections" => http::max_connections,
    "maxStreams" => http::max_streams,
    "maxHeaderBytes" => http::max_header_bytes,
    "maxHeaders" => http::max_headers,
}

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

#[test]
fn every_limit_of_http_has_a_test() {
    let section = serde_json::to_value(HttpConfig::default()).unwrap();
    let keys = section.as_object().unwrap().keys().map(String::as_str);
    assert_same(HTTP, keys.filter(|key| key.starts_with("max")));
}

#[test]
fn every_error_has_a_test() {
    assert_same(ERRORS, CallError::CODES);
}
