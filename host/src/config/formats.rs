//! Formats of strings, such as addresses, names and origins: the check of each, and its pattern in
//! the schemas.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};

use jiff::tz::TimeZone;
use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer};

use super::cron;
use super::domain::is_domain;
use super::endpoint::{self, Endpoint};
use super::nats_address::NatsAddress;
use super::network::{self, Network};
use super::origin::{self, Origin};
use super::redis_address::RedisAddress;
use crate::call::{MAX_PATH, METHODS, RouteName, event_type, stream_key, topic};
use crate::document::units::{Size, Time};

mod patterns;
#[cfg(test)]
mod tests;

pub use patterns::*;

/// Checks a text against a format. Returns the number that a duration or a size represents. The
/// error is the rule that the text breaks, worded to follow "must be".
pub fn check(format: &str, text: &str) -> Result<Option<u64>, String> {
    let ok = |good: bool, rule: &str| if good { Ok(None) } else { Err(rule.to_owned()) };
    match format {
        "duration" => text.parse::<Time>().map(|time| Some(time.number())).map_err(str::to_owned),
        "size" => text.parse::<Size>().map(|size| Some(size.number())).map_err(str::to_owned),
        "workers" => ok(text == "auto", "\"auto\" or a whole number"),
        "address" => ok(
            address(text).is_some(),
            "an IP address and port such as \"127.0.0.1:8080\", \"[::1]:8080\" or \":8080\"",
        ),
        "domain" => ok(is_domain(text), "a host name in lower case without scheme and port, such as \"example.test\""),
        "subdomain" => ok(is_domain(text), "a subdomain in lower case, such as \"acme\""),
        "origin" => ok(
            text == "*" || is_origin(text),
            "\"*\" or an origin without a path, such as \"https://app.example.test\"",
        ),
        "header" => ok(http::HeaderName::from_bytes(text.as_bytes()).is_ok(), "a header name, such as \"x-token\""),
        "stream-header" => ok(is_stream_header(text), STREAM_HEADER_RULE),
        "header-text" => ok(
            text.len() <= MAX_HEADER_TEXT && http::HeaderValue::from_str(text).is_ok(),
            "a header value of at most 4096 bytes without control characters",
        ),
        "stream-path" => ok(is_stream_path(text), STREAM_PATH_RULE),
        "history-path" => ok(is_stream_path(text), HISTORY_PATH_RULE),
        "socket-path" => ok(is_socket_path(text), SOCKET_PATH_RULE),
        "service-url" => ok(
            text.len() <= 256 && is_service_url(text),
            "an address without a path, such as \"http://127.0.0.1:14440\"",
        ),
        "node" => {
            ok(is_node(text), "a name of letters, digits, `.`, `_` and `-`, at most 64, such as \"chat-server-1\"")
        }
        "module" => ok(is_module(text), MODULE_RULE),
        "module-or-all" => ok(
            text == "*" || is_module(text),
            "\"*\" for all modules, or a module name of lower case letters, digits and `-`",
        ),
        "stream-keys" => ok(text == "*" || stream_key::is_pattern(text), STREAM_KEYS_RULE),
        "channel-names" => ok(text == "*" || stream_key::is_pattern(text), CHANNEL_NAMES_RULE),
        "event-types" => ok(event_type::is_type(text), event_type::PATTERN_RULE),
        "topics" => ok(topic::is_entry(text), topic::RULE),
        "stream-pattern" => ok(stream_key::is_pattern(text), STREAM_PATTERN_RULE),
        "channel-pattern" => ok(stream_key::is_pattern(text), CHANNEL_PATTERN_RULE),
        "redis-name" => ok(
            (1..=topic::MAX).contains(&text.len()) && !text.contains(char::is_control),
            "a name of 1 to 512 bytes without control characters",
        ),
        "nats-subject" => ok(topic::is_nats_pattern(text), NATS_SUBJECT_RULE),
        "nats-name" => ok(is_nats_name(text), NATS_NAME_RULE),
        "connection" => ok(
            is_module(text),
            "the name of a connection: a lower case letter followed by lower case letters, digits and `-`, at most 64 characters",
        ),
        "key-prefix" => ok(stream_key::is_key(text), "at most 256 bytes without control characters"),
        "key-template" => ok(stream_key::is_key(text), "a key of at most 256 bytes without control characters"),
        "stream-event" => ok(
            (1..=1_024).contains(&text.len()) && !text.contains(['\0', '\n', '\r']),
            "a single line of 1 to 1024 bytes",
        ),
        "sub-protocol" => ok(
            text.len() <= MAX_SUB_PROTOCOL && http::HeaderName::from_bytes(text.as_bytes()).is_ok(),
            "a name of 1 to 64 letters, digits and characters of !#$%&'*+-.^_`|~",
        ),
        "environment" => {
            ok(is_node(text), "a name of letters, digits, `.`, `_` and `-`, at most 64, such as \"production\"")
        }
        "file-path" => ok(!text.is_empty() && !text.contains('\0'), "a path"),
        "schema-file" => {
            ok(text.ends_with(".json") && !text.contains('\0'), "a JSON Schema, or the path of a .json file with one")
        }
        "label" => ok(is_label(text), "a name of 1 to 128 characters without spaces"),
        "argument" => {
            ok(text.len() <= MAX_ARGUMENT && !text.contains('\0'), "a text of at most 4096 bytes without zero bytes")
        }
        "command" => ok(!text.trim().is_empty() && !text.contains('\0'), "a command such as \"cargo build --release\""),
        "cron" => cron::check(text).map(|()| None),
        "time-zone" => ok(cron::time_zone(text).is_some(), "the IANA name of a time zone, such as \"Europe/Berlin\""),
        "date-time" => {
            ok(cron::time_in(text, &TimeZone::UTC).is_some(), "a date with a time, such as \"2026-12-31T23:59:59Z\"")
        }
        "redis-url" => ok(RedisAddress::of(text).is_some(), REDIS_URL_RULE),
        "nats-urls" => ok(text.len() <= 4_096 && NatsAddress::list(text).is_some(), NATS_URLS_RULE),
        "variable" => ok(is_variable(text), "the name of a variable, such as \"REDIS_PASSWORD\""),
        "http-origin" => ok(text == "*" || Origin::parse(text).is_some(), origin::RULE),
        "network" => ok(text.len() <= 256 && Network::parse(text).is_some(), network::RULE),
        "guest-path" => ok(is_guest_path(text), "a path such as \"/data\", without empty, `.` or `..` segments"),
        "endpoint" => ok(text.len() <= origin::MAX && Endpoint::parse(text).is_some(), endpoint::RULE),
        "secret" => {
            ok(is_secret(text), "a letter followed by letters, digits, `_` and `-`, at most 64, such as \"hmac\"")
        }
        "method" => ok(method(text).is_some(), METHOD_RULE),
        "middleware" => ok(is_middleware(text), MIDDLEWARE_RULE),
        _ => Ok(None),
    }
}

/// Parses the address of a listener. `localhost` and an empty address mean `127.0.0.1`, so that no
/// listener is open to other machines by mistake.
pub fn address(text: &str) -> Option<SocketAddr> {
    match text.rsplit_once(':') {
        Some((host, port)) if host.is_empty() || host.eq_ignore_ascii_case("localhost") => {
            // A number, and not `+80`.
            let port = Some(port).filter(|port| port.bytes().all(|digit| digit.is_ascii_digit()))?;
            Some((Ipv4Addr::LOCALHOST, port.parse().ok()?).into())
        }
        _ => text.parse().ok(),
    }
}

/// Reads the address of a listener: see [`address`].
pub fn read_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = <Cow<'de, str>>::deserialize(deserializer)?;
    address(&text).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &"an IP address and port"))
}

/// [`read_address`] of a listener that need not exist.
pub fn read_some_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let Some(text) = Option::<Cow<'de, str>>::deserialize(deserializer)? else { return Ok(None) };
    let read = address(&text).map(Some);
    read.ok_or_else(|| D::Error::invalid_value(Unexpected::Str(&text), &"an IP address and port"))
}

/// The rule for a subject of NATS.
const NATS_SUBJECT_RULE: &str = "a subject such as \"orders.new\" or \"orders.>\": tokens with dots between them, of \
    at most 512 bytes, of which `*` stands for any token and a last `>` for one or more. The first token has no wildcard, \
    and begins with neither `$` nor `_`";

/// The rule for the name of a stream or a consumer of JetStream.
const NATS_NAME_RULE: &str = "a name of 1 to 128 bytes without spaces and without any of `.*>/\\`";

/// Whether streams and consumers of JetStream, and queue groups, may have this name.
pub fn is_nats_name(text: &str) -> bool {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || ".*>/\\".contains(c);
    (1..=MAX_NATS_NAME).contains(&text.len()) && !text.contains(forbidden)
}

/// The rule for the path of the streams.
const STREAM_PATH_RULE: &str = "a path such as \"/stream\", other than \"/\" and not below \"/api\", of at most 256 \
    characters without a query and without empty, `.` or `..` segments";

/// The rule for the path of the histories of channels.
const HISTORY_PATH_RULE: &str = "a path such as \"/channels\", other than \"/\" and not below \"/api\", of at most 256 \
    characters without a query and without empty, `.` or `..` segments";

/// The rule for the path of a listener of WebSockets.
const SOCKET_PATH_RULE: &str = "a path such as \"/socketcluster/\", other than \"/\" and not below \"/api\", of at most \
    256 characters without a query and without empty, `.` or `..` segments";

/// The rule for the header fields of the streams.
const STREAM_HEADER_RULE: &str = "a header name such as \"x-token\", but not content-length, keep-alive, \
    proxy-connection, te, trailer, transfer-encoding or upgrade, which belong to the host";

/// The rule for module names.
pub const MODULE_RULE: &str =
    "a module name: a lower case letter followed by lower case letters, digits and `-`, at most 64 characters";

/// The rule for a pattern of stream keys.
const STREAM_PATTERN_RULE: &str = "a key of 1 to 256 bytes without control characters, or such a key that ends with `/*` for all keys that begin like it";

/// The rule for an entry of the capability `sse`.
const STREAM_KEYS_RULE: &str = "\"*\" for all keys, a key of 1 to 256 bytes without control characters, or \"prefix/*\" for all keys that begin with \"prefix/\"";

/// The rule for a pattern of channels.
const CHANNEL_PATTERN_RULE: &str = "a name of 1 to 256 bytes without control characters, or such a name that ends with `/*` for all channels that begin like it";

/// The rule for an entry of the capability `channels`.
const CHANNEL_NAMES_RULE: &str = "\"*\" for all channels, a name of 1 to 256 bytes without control characters, or \"prefix/*\" for all channels that begin with \"prefix/\"";

/// The rule for the address of a Redis server.
const NATS_URLS_RULE: &str = "the address of a NATS server without a user, such as \"nats://127.0.0.1:4222\" or \"tls://nats.example.test:4222\", or up to 64 of one kind with commas between them";

const REDIS_URL_RULE: &str = "`redis://<host>[:<port>]`, or `rediss://..` for TLS, such as \"redis://127.0.0.1:6379\"; \
    user, password and database have keys of their own (username, passwordFile, passwordVariable, database)";

/// The rule for a middleware.
const MIDDLEWARE_RULE: &str = "\"inner\", \"session\", \"test\", \"cors\", or a route of a module, such as \"limiter/check\" or \"/check\" for an own route";

/// The rule for the method of a route.
pub const METHOD_RULE: &str = "one of \"get\", \"post\", \"put\", \"patch\" and \"delete\"";

/// Reports a key that excludes another one.
pub fn excludes(other: &str) -> String {
    format!("must not be set together with {other}: remove one")
}

/// Parses a method that a route may have, in upper or lower case.
pub fn method(text: &str) -> Option<http::Method> {
    METHODS.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text))
}

/// Whether a text matches `[a-z][a-z0-9-]{0,63}`.
pub fn is_module(text: &str) -> bool {
    let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(rest)
}

/// Whether requests can have a text as their path, and no route of the host has it.
fn is_stream_path(text: &str) -> bool {
    let segments = text.strip_prefix('/').map(|rest| rest.split('/'));
    let plain = segments.is_some_and(|mut segments| segments.all(|segment| !matches!(segment, "" | "." | "..")));
    let uri = text.parse::<http::uri::PathAndQuery>();
    let whole = uri.is_ok_and(|uri| uri.path() == text && uri.query().is_none());
    let api = text == "/api" || text.starts_with("/api/");
    let ascii = text.bytes().all(|byte| byte.is_ascii_graphic());
    plain && whole && ascii && !api && text.len() <= MAX_STREAM_PATH
}

/// Like [`is_stream_path`], but the path may end with a slash.
fn is_socket_path(text: &str) -> bool {
    text.len() <= MAX_STREAM_PATH && is_stream_path(text.strip_suffix('/').unwrap_or(text))
}

/// Whether a response may have a field with this name that the host does not set itself.
fn is_stream_header(text: &str) -> bool {
    const OWN: [&str; 7] =
        ["content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];
    http::HeaderName::from_bytes(text.as_bytes()).is_ok_and(|name| !OWN.contains(&name.as_str()))
}

fn is_node(text: &str) -> bool {
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.bytes().all(rest)
}

fn is_label(text: &str) -> bool {
    let count = text.chars().take(129).count();
    (1..=128).contains(&count) && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn is_variable(text: &str) -> bool {
    let rest = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128 && !text.starts_with(|c: char| c.is_ascii_digit()) && !text.is_empty() && text.bytes().all(rest)
}

fn is_guest_path(text: &str) -> bool {
    let segment = |segment: &str| !matches!(segment, "" | "." | "..");
    let plain = text.len() <= 256 && !text.contains(char::is_control);
    plain && text.strip_prefix('/').is_some_and(|path| path.split('/').all(segment))
}

fn is_secret(text: &str) -> bool {
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(rest)
}

/// Whether a text is `http://host:port`.
fn is_service_url(text: &str) -> bool {
    let authority = text.strip_prefix("http://").and_then(|rest| rest.parse::<http::uri::Authority>().ok());
    authority.is_some_and(|authority| {
        authority.port_u16().is_some_and(|port| port > 0) && !authority.host().is_empty() && !text.contains('@')
    })
}

fn is_middleware(text: &str) -> bool {
    let is_route = || {
        let name = RouteName::parse(text).ok();
        name.is_some_and(|name| text.contains(['/', '.']) && name.module.as_deref().is_none_or(is_module))
    };
    text.len() <= MAX_PATH && (matches!(text, "inner" | "session" | "test" | "cors") || is_route())
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let plain = authority.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".:[]-".contains(&b));
    let parsed = authority.parse::<http::uri::Authority>();
    matches!(scheme, "http" | "https") && plain && parsed.is_ok_and(|parsed| !parsed.host().is_empty())
}
