//! Tests every limit just below and just above its value, and every error of a call. The last three
//! tests fail if a limit or an error has no test.

mod call;
mod component;
mod constant;
mod errors;
mod http;
mod instance;
mod log;
mod second_module;
mod settings;
mod timeouts;
mod waiting;

use std::fs;

use fanfare::settings::Limits;
use fanfare::tooling::CallError;
use serde_json::Value;

use crate::capabilities::{files, requests};
use crate::harness::root;
use crate::kills::settings as kills;
use crate::{channels, cli, cluster, event_service, failures, hooks, redis, socketcluster, streams, websockets};

/// Defines one test for each name, and a constant with all the names.
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
    /// The limits of a module: `limits.*`.
    LIMITS:
    "memory" => instance::memory,
    "timeout" => timeouts::timeout,
    "cpu" => call::cpu,
    "concurrency" => waiting::concurrency,
    "nested" => waiting::nested,
    "mailbox" => waiting::mailbox,
    "broadcasts" => waiting::broadcasts,
    "queued" => waiting::queued,
    "payload" => call::payload,
    "hostcallFuel" => call::hostcall_fuel,
    "disk" => files::disk,
    "files" => files::files,
    "openFiles" => files::open_files,
    "tables" => instance::tables,
    "handles" => instance::handles,
    "logRate" => log::log_rate,
    "logLine" => log::log_line,
    "startup" => timeouts::startup,
    "abandonAfter" => timeouts::abandon_after,
    "maxLeaked" => timeouts::max_leaked,
    "background" => waiting::background,
    "subscriptions" => waiting::subscriptions,
    "subscriptionQueues" => waiting::subscription_queues,
}

tests_of! {
    /// The other settings of `fanfare.json` that limit something.
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
    "engine.maxInstances" => component::max_instances,
    "engine.maxMemories" => component::max_memories,
    "engine.maxInstanceSize" => component::max_instance_size,
    "engine.addressSpace" => component::address_space,
    "engine.pool" => component::pool,
    "isolate.restartBackoff" => settings::restart_backoff,
    "isolate.restartBackoffMax" => settings::restart_backoff_max,
    "isolate.maxRestarts" => settings::max_restarts,
    "isolate.restartWindow" => settings::restart_window,
    "isolate.blockedAfter" => settings::blocked_after,
    "isolate.turnCalls" => settings::turn_calls,
    "master.processTermTimeout" => kills::process_term_timeout,
    "master.killWorkerMemoryThreshold" => kills::kill_worker_memory_threshold,
    "master.workerStatusInterval" => kills::worker_status_interval,
    "shutdown.drain" => settings::drain,
    "shutdown.linger" => settings::linger,
}

/// Settings that limit something, and have their test in another file.
const ELSEWHERE: &[(&str, fn())] = &[
    ("engine.compileMemory", cli::compile::a_compilation_above_compile_memory_is_refused),
    ("engine.compileTimeout", cli::compile::a_compilation_above_compile_timeout_is_refused_and_ended),
    ("engine.maxComponent", cli::compile::a_component_above_max_component_is_refused),
    ("engine.cacheSize", cli::cache::the_cache_stays_within_its_size),
    ("engine.functionCacheSize", cli::cache::kept_functions_stay_within_their_size),
    ("calls.maxDepth", too_deep),
    ("cluster.timeout", cluster::faults::a_node_starts_without_nats_and_joins_later),
    ("cluster.heartbeat", cluster::presence::nodes_that_come_and_go_are_events_and_hooks),
    ("cluster.goneAfter", cluster::faults::a_frozen_node_is_gone_and_comes_back),
    ("cluster.maxWaiting", cluster::calls::calls_beyond_the_limits_are_refused_and_counted),
    ("cluster.maxServing", cluster::calls::calls_beyond_the_limits_are_refused_and_counted),
    ("cluster.queue.messages", cluster::faults::broadcasts_beyond_the_messages_of_the_queue_are_named_in_the_receipt),
    ("cluster.queue.bytes", cluster::faults::broadcasts_beyond_the_bytes_of_the_queue_are_named_in_the_receipt),
    ("cluster.durable.maxAge", cluster::durable::limits::the_streams_have_the_age_and_the_bytes_of_the_settings),
    ("cluster.durable.maxBytes", cluster::durable::limits::the_streams_have_the_age_and_the_bytes_of_the_settings),
    (
        "cluster.durable.queue.broadcasts",
        cluster::durable::limits::the_queue_has_room_for_a_number_of_durable_broadcasts,
    ),
    ("cluster.durable.queue.bytes", cluster::durable::limits::the_queue_has_room_for_bytes_of_durable_broadcasts),
    (
        "cluster.histories.maxAge",
        cluster::homes::kept::limits::the_stream_has_the_age_the_bytes_and_the_messages_of_the_settings,
    ),
    (
        "cluster.histories.maxBytes",
        cluster::homes::kept::limits::the_stream_has_the_age_the_bytes_and_the_messages_of_the_settings,
    ),
    (
        "cluster.histories.maxMessages",
        cluster::homes::kept::limits::the_stream_has_the_age_the_bytes_and_the_messages_of_the_settings,
    ),
    ("cluster.histories.queue.messages", cluster::homes::kept::limits::the_queue_has_room_for_a_number_of_messages),
    ("cluster.histories.queue.bytes", cluster::homes::kept::limits::the_queue_has_room_for_bytes_of_messages),
    ("cluster.durable.parkedAge", cluster::durable::limits::the_streams_have_the_age_and_the_bytes_of_the_settings),
    ("cluster.durable.parkedBytes", cluster::durable::limits::the_streams_have_the_age_and_the_bytes_of_the_settings),
    ("outgoing.requests", requests::a_guest_that_never_reads_responses_is_bounded),
    ("outgoing.connections", requests::connections_have_a_limit),
    ("outgoing.idleTimeout", requests::a_connection_without_a_request_closes),
    ("outgoing.connectTimeout", requests::a_server_that_does_not_finish_the_handshake_is_given_up),
    ("outgoing.timeout", requests::bodies_and_waits_have_limits),
    ("outgoing.maxRequest", requests::bodies_and_waits_have_limits),
    ("outgoing.maxResponse", requests::bodies_and_waits_have_limits),
    ("swap.poll", crate::reload::watch::files_that_keep_changing_are_read_after_patience),
    ("swap.settle", crate::reload::watch::files_are_read_once_they_have_settled),
    ("swap.removal", crate::reload::outcomes::a_module_whose_folder_was_removed_answers_its_queued_calls),
    ("swap.patience", crate::reload::watch::files_that_keep_changing_are_read_after_patience),
    ("swap.linger", crate::foreign::swaps::a_replaced_instance_streams_for_swap_linger_at_most),
    ("swap.quiesce", crate::swap::running_calls_get_quiesce_to_end),
    ("swap.timeout", crate::swap::save_and_load_end_at_the_timeout),
    ("swap.state", crate::swap::the_size_of_the_state_is_limited),
    ("brokers", hooks::messages::a_message_without_a_receiver_says_what_is_missing),
    ("master.ipcAckTimeout", hooks::messages::a_message_without_a_reply_ends_at_ipc_ack_timeout),
    ("shutdown.hook", hooks::stop::it_has_shutdown_hook_to_end),
    ("hub.topics", streams::hub::clients_beyond_hub_topics_are_turned_away_and_counted),
    ("hub.history", streams::hub::beyond_hub_history_the_oldest_event_of_the_largest_history_is_dropped),
    ("hub.queued", streams::hub::clients_that_do_not_read_are_cut_beyond_hub_queued_whatever_their_keys),
    ("sse.maxClients", streams::full::a_client_beyond_max_clients_is_turned_away),
    ("sse.maxClientsPerKey", streams::full::a_client_beyond_max_clients_per_key_is_turned_away),
    ("sse.pingInterval", streams::open::a_quiet_stream_gets_pings),
    ("sse.history", streams::resume::a_history_keeps_what_it_may_and_no_more),
    ("sse.queue.events", streams::slow::a_client_with_too_many_events_waiting_is_cut),
    ("sse.queue.bytes", streams::slow::a_client_with_too_many_bytes_waiting_is_cut),
    ("websocket.maxClients", websockets::limits::a_client_beyond_max_clients_is_turned_away),
    ("websocket.maxMessage", websockets::limits::a_message_beyond_max_message_closes_its_socket),
    ("websocket.messageTimeout", websockets::limits::a_message_has_message_timeout_from_its_first_byte_to_its_last),
    ("websocket.ackTimeout", websockets::limits::a_message_has_ack_timeout_to_end),
    ("websocket.pingInterval", websockets::limits::a_client_that_answers_no_ping_is_closed_after_ping_timeout),
    ("websocket.pingTimeout", websockets::limits::a_client_that_answers_no_ping_is_closed_after_ping_timeout),
    ("websocket.auth.expiry", socketcluster::tokens::a_module_gives_a_token_with_which_the_client_returns),
    (
        "websocket.handshakeTimeout",
        socketcluster::limits::a_client_without_a_handshake_is_closed_after_handshake_timeout,
    ),
    ("websocket.inFlight", websockets::limits::at_most_in_flight_messages_of_a_client_run_and_then_the_host_reads_on),
    ("websocket.queue.events", websockets::slow::a_client_with_too_many_messages_waiting_is_cut),
    ("websocket.queue.bytes", websockets::slow::a_client_with_too_many_bytes_waiting_is_cut),
    ("websocket.socketChannelLimit", channels::open::a_session_has_as_many_channels_as_socket_channel_limit_allows),
    ("websocket.sessionSize", websockets::limits::values_beyond_session_size_are_rejected),
    ("events.history.count", event_service::limits::the_history_keeps_what_it_may_and_no_more),
    ("events.history.bytes", event_service::limits::the_history_keeps_what_it_may_and_no_more),
    ("events.history.age", event_service::limits::the_history_forgets_events_that_are_too_old),
    ("events.queue.events", event_service::connect::events_beyond_the_queue_are_refused_and_counted),
    ("events.queue.bytes", event_service::connect::events_beyond_the_queue_are_refused_and_counted),
    ("events.maxBody", event_service::limits::a_body_beyond_max_body_is_rejected),
    ("events.rate", event_service::limits::more_events_in_a_second_than_the_rate_are_rejected),
    ("events.maxConnections", event_service::limits::a_connection_beyond_max_connections_is_told_so_and_closed),
    ("events.maxSubscribers", event_service::limits::a_subscriber_beyond_max_subscribers_is_turned_away),
    ("events.pingInterval", event_service::limits::a_quiet_subscriber_gets_pings_with_the_position_of_other_events),
    ("redis.database", redis::access::a_connection_has_a_database_of_its_own),
    ("redis.timeout", redis::away::a_server_that_is_frozen_is_noticed_and_used_again_when_it_thaws),
    ("redis.reconnect", redis::away::after_a_restart_the_host_receives_again_and_reports_the_gap),
    ("redis.reconnectMax", redis::away::a_host_starts_without_its_redis_and_receives_once_it_is_there),
    ("redis.claimAfter", redis::streams::entries_of_a_host_that_is_gone_go_to_another_host),
    ("redis.tries", redis::streams::an_entry_that_fails_is_tried_again_and_then_stays_pending_and_is_reported),
    ("redis.queue.messages", redis::publishing::while_redis_is_away_messages_wait_in_a_bounded_queue),
    ("redis.queue.bytes", redis::publishing::the_bytes_of_the_queue_are_bounded),
    ("redis.queue.age", redis::publishing::a_message_waits_no_longer_than_the_age_of_the_queue),
    ("limits.max", failures::rejected::a_limit_above_the_ceiling_is_rejected),
];

tests_of! {
    /// The codes of call errors.
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
    assert_eq!(tested, wanted, "left: the names that have a test, right: the names that need one");
}

#[test]
fn every_limit_has_a_test() {
    assert_same(LIMITS, Limits::KEYS.iter().copied());
}

/// Finds the keys below this part of a schema that have a `maximum`. All keys of `limits.max` count
/// as one.
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
fn every_limiting_setting_has_a_test() {
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
