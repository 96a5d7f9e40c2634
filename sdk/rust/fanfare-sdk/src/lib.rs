//! Write [Fanfare](https://example.invalid/fanfare) modules in Rust.
//!
//! A module is a component with handlers; a handler is an async function. Its arguments say what it takes from
//! the call, its result says what it answers:
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
//! /// `POST /api/hello/{name}` with `{"word": "Good morning"}`
//! #[handler]
//! async fn greet(name: Path<String>, greeting: Json<Greeting>) -> Result<Json<Answer>> {
//!     if name.is_empty() {
//!         return Err(Failure::bad_request("no-name", "whom shall I greet?"));
//!     }
//!     Ok(Json(Answer { text: format!("{}, {}!", greeting.word, *name) }))
//! }
//!
//! fanfare_sdk::module!(greet);
//!
//! // In a test, the module runs in memory, without a host:
//! # fn main() {
//! let host = TestHost::builder(Module).route("POST {name}", "greet").start();
//! let reply = host.call("POST Ada", json!({"word": "Good morning"})).unwrap();
//! assert_eq!(reply.json::<Value>().unwrap(), json!({"text": "Good morning, Ada!"}));
//! # }
//! ```
//!
//! - **Arguments**: [`Json`], [`Text`], [`Bytes`], [`Payload`] for the body, [`Path`] and [`Query`] for parameters,
//!   [`Context`] for everything else. Any number, in any order ([`FromCall`]).
//! - **Results**: nothing, text, bytes, [`Json`], `(status, body)`, a [`Reply`], [`Pass`], and a `Result` of
//!   these ([`IntoOutcome`]). Every error becomes a [`Failure`] with `?`.
//! - **The host**: [`broadcast`], [`rpc`], [`config`], [`host`] and [`http`] are what a module can ask for.
//! - **Memory**: an instance stays between calls, so a `thread_local!` is a module's memory in its worker.
//!   (There is one thread; the in-memory host of [`testing`](mod@testing) gives each worker a thread of its own.)
//! - **Many calls at once**: calls of one instance interleave where they `.await`. What a handler does is charged to
//!   its own call; see [`carry`] for futures that leave their handler.
//! - **A panic is a trap**: it ends the instance, its memory and every call in it. Return a [`Failure`] instead.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(clippy::pedantic)]
#![allow(clippy::missing_errors_doc, clippy::module_name_repetitions, clippy::must_use_candidate)]

// The name that the macros use, also inside this crate's own tests.
extern crate self as fanfare_sdk;

mod backend;
pub mod broadcast;
pub mod config;
mod context;
mod current;
mod extract;
mod failure;
pub mod host;
pub mod http;
mod module;
mod outcome;
mod params;
mod payload;
pub mod rpc;
mod snapshot;
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
    //! For the macros.
    pub use crate::module::{LocalFuture, SnapshotFns, load, run, save, unknown_handler};
}

/// What a module's source usually needs.
pub mod prelude {
    pub use crate::types::{Isolate, Outcome, Payload, Reply, Trigger};
    pub use crate::{Bytes, CallError, Context, Failure, FromCall, IntoOutcome, IntoPayload, Json, Pass, Path, Query};
    pub use crate::{Result, State, Text, broadcast, config, handler, host, rpc};
    pub use crate::{debug, error, info, trace, warn};
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::{Value, json};

    #[cfg(not(target_family = "wasm"))]
    pub use crate::testing::TestHost;
}
