//! The admin listener: readiness, metrics, status, reloads and calls for the operator. It is
//! separate from the HTTP listener, so that it answers under load.
//!
//! - `GET /livez`: 200 while the process runs
//! - `GET /readyz`: 200 once every module has tried to start; 503 `starting` before, and `draining`
//!   while the host stops
//! - `GET /metrics`: OpenMetrics text
//! - `GET /v1/status`: the node and its modules, as JSON
//! - `GET /v1/events[?follow=false][&tail=<n>]`: the host events, as server-sent events, or as a
//!   list with `follow=false`
//! - `GET /v1/nodes`: the nodes of the cluster, as JSON
//! - `POST /v1/modules/<module>/broadcasts/<name>[?gather=true]`: emits the body as a broadcast;
//!   returns a receipt, or one entry for each worker
//! - `POST /v1/modules/<module>/reload[?force=true]`: reads `fanfare.json` and the module's folder
//!   again, and swaps; returns the outcome
//! - `POST /v1/modules/<module>/rollback[?to=<generation>]`: rolls back to a retained generation
//!   and pins it; returns the outcome
//! - `POST /v1/reload[?force=true]`: reloads every module; returns one entry for each
//! - `POST /v1/workers/kill`, `POST /v1/brokers/kill`: kills one or all, one after another; returns
//!   the new instances
//! - `POST /v1/modules/<module>/call?path=..[&method=..][&target=..]`: calls a route with the body;
//!   returns the reply, or one entry for each isolate
//! - `POST /v1/workers/<n>/message[?module=..][&wait=false]`, and the same for `brokers`: sends the
//!   body to the hook `masterMessage` of a module there; returns the reply, or with `wait=false`
//!   the module that receives it
//!
//! The listener serves 64 connections, or fewer if the limit of file descriptors is very low.
//! Beyond that it closes the oldest connection that has sent no request. If all have sent one, a
//! new connection gets 503, except for `/livez`.
//!
//! There is no login. So that no web page can use the operator's browser to reach the listener, it
//! rejects a foreign `Host`, `Origin` or `Sec-Fetch-Site`.

mod accept;
mod answer;
mod api;
mod broadcasts;
mod events;
mod kills;
mod metrics;
mod nodes;
mod permits;
mod routes;
mod schedules;
mod state;
mod status;
mod write_timeout;

pub use accept::serve;
pub use state::{AdminState, LostLineCount, Triggers};
pub use status::status;
