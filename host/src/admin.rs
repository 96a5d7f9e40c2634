//! The operator's side: readiness, metrics, status and calls, on a listener of its own that answers under load.
//!
//! | path | answer |
//! |---|---|
//! | `GET /livez` | 200 as long as the process answers |
//! | `GET /readyz` | 200 once every module has had its first try; 503 `starting` before and `draining` while it stops |
//! | `GET /metrics` | OpenMetrics text |
//! | `GET /v1/status` | the node and its modules, as JSON |
//! | `POST /v1/modules/<module>/broadcasts/<name>[?gather=true]` | emits the body; a receipt, or one entry per worker |
//! | `POST /v1/modules/<module>/reload[?force=true]` | reads `fanfare.json` and the folder again and swaps; what it came to |
//! | `POST /v1/modules/<module>/rollback[?to=<generation>]` | goes back to a generation that served before, and pins it |
//! | `POST /v1/reload[?force=true]` | the same for every module: one entry each |
//! | `POST /v1/modules/<module>/call?path=..[&method=..][&target=..]` | calls a route with the body |
//!
//! Beyond 64 connections (fewer under a very low limit of file descriptors) the oldest one that has
//! sent no request is closed; when all have sent something, `/livez` is answered, and everything
//! else gets 503.
//!
//! It is open to whoever reaches it, so a browser must not be made to: a foreign `Host`, `Origin` or
//! `Sec-Fetch-Site` is refused.

mod accept;
mod answer;
mod api;
mod guard;
mod metrics;
mod patient;
mod places;
mod routes;
mod state;
mod status;

pub use accept::serve;
pub use state::{Admin, LostLines};
pub use status::status;
