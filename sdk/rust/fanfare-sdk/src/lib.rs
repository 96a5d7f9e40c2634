//! Write [Fanfare](https://example.invalid/fanfare) modules in Rust.
//!
//! A module is a component with handlers, and a handler is a function. Its arguments select the
//! parts of the call that it needs, and its result becomes the reply:
//!
//! ```
//! use fanfare_sdk::prelude::*;
//!
//! #[derive(Deserialize)]
//! struct Greeting { word: String }
//!
//! #[derive(Serialize)]
//! struct Answer { text: String }
//!
//! /// `POST /api/hello/{name}` with the body `{"word": "Good morning"}`
//! #[handler]
//! async fn greet(name: Path<String>, greeting: Json<Greeting>) -> Result<Json<Answer>> {
//!     if name.is_empty() {
//!         return Err(Failure::bad_request("no-name", "the name is empty"));
//!     }
//!     Ok(Json(Answer { text: format!("{}, {}!", greeting.word, *name) }))
//! }
//!
//! fanfare_sdk::module!(greet);
//!
//! // A test runs the module in memory, without a host:
//! # fn main() {
//! let host = TestHost::builder(Module).route("POST {name}", "greet").start();
//! let reply = host.call("POST Ada", json!({"word": "Good morning"})).unwrap();
//! assert_eq!(reply.json::<Value>().unwrap(), json!({"text": "Good morning, Ada!"}));
//! # }
//! ```
//!
//! - **Arguments**: [`Json`], [`Text`], [`Bytes`] or [`Payload`] for the body, [`Path`] and
//!   [`Query`] for parameters, [`Schedule`](types::Schedule) or
//!   [`Subscription`](types::Subscription) for the cause of the call,
//!   [`Session`](sessions::Session) for the client, [`Context`] for everything else. A handler has
//!   any number of them, in any order ([`FromCall`]).
//! - **Results**: nothing, text, bytes, [`Json`], `(status, body)`, a [`Reply`], [`Pass`], or a
//!   `Result` of these ([`IntoOutcome`]). With `?` every error becomes a [`Failure`].
//! - **Host functions**: [`broadcast`], [`rpc`], [`sessions`], [`channels`], [`sse`], [`events`],
//!   [`messages`], [`config`], [`host`], [`http`], [`master`] and [`nodes`].
//! - **Memory**: the host keeps an instance between calls, so a `thread_local!` is the memory of
//!   the module in its worker. An instance has one thread; the in-memory host of
//!   [`testing`](mod@testing) gives each worker a thread of its own.
//! - **Many calls at once**: the calls of an instance interleave at each `.await`. The host charges
//!   work to the call that does it; see [`carry`] for futures that leave their handler.
//! - **A panic is a trap**: it ends the instance with its memory and every call in it. Return a
//!   [`Failure`] instead.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(clippy::pedantic)]
#![allow(clippy::missing_errors_doc, clippy::module_name_repetitions, clippy::must_use_candidate)]

// The macros use this name, also in the tests of this crate.
extern crate self as fanfare_sdk;

mod backend;
pub mod broadcast;
pub mod channels;
pub mod config;
mod context;
mod current;
pub mod events;
mod extract;
mod failure;
pub mod host;
pub mod http;
pub mod master;
pub mod messages;
mod module;
pub mod nodes;
mod outcome;
mod params;
mod payload;
pub mod rpc;
pub mod sessions;
mod snapshot;
pub mod sse;
pub mod types;
#[doc(hidden)]
pub mod wit;

#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use context::Context;
#[cfg(feature = "spawn")]
pub use current::spawn;
pub use current::{caller, carry, carry_as};
pub use extract::{FromCall, Incoming, Path, Query};
pub use failure::{CallError, Failure, Result};
pub use fanfare_macros::handler;
pub use module::{Handler, Module};
pub use outcome::{IntoOutcome, Pass};
pub use payload::{Bytes, IntoPayload, Json, Text};
pub use serde;
pub use serde_json;
pub use snapshot::{Snapshot, State};
pub use types::{Outcome, Payload, Reply};

#[doc(hidden)]
pub mod private {
    //! Items that only the macros use.
    pub use crate::module::{LocalFuture, SnapshotFns, load, run, save, unknown_handler};
}

/// The items that most modules need.
pub mod prelude {
    pub use crate::channels::ChannelEvent;
    pub use crate::sessions::Session;
    pub use crate::types::{Isolate, Outcome, Payload, Reply, Schedule, Subscription, Trigger};
    pub use crate::{Bytes, CallError, Context, Failure, FromCall, IntoOutcome, IntoPayload, Json, Pass, Path, Query};
    pub use crate::{
        Result, State, Text, broadcast, channels, config, events, handler, host, master, messages, nodes, rpc,
        sessions, sse,
    };
    pub use crate::{debug, error, info, trace, warn};
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::{Value, json};

    #[cfg(not(target_family = "wasm"))]
    pub use crate::testing::TestHost;
}
