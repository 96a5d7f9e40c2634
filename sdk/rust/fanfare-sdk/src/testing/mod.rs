//! An in-memory host that runs the handlers of a module under `cargo test`.
//!
//! It has workers, routes, broadcasts, calls, config and a log, as the real host has, but no
//! sockets, limits or deadlines. **Each worker is a thread**, so each worker has its own copy of a
//! `thread_local!`, as in the real host. Workers share a plain `static` here, but not in the real
//! host.
//!
//! Middlewares that are routes of the module run before the handler.
//! [`Builder::middleware`] runs in place of those of other modules.
//!
//! ```
//! use fanfare_sdk::prelude::*;
//! use std::cell::RefCell;
//!
//! thread_local! { static WORD: RefCell<String> = RefCell::default() }
//!
//! #[handler]
//! async fn say(word: Text) -> Result<()> {
//!     broadcast::gather("said", word).await?;
//!     Ok(())
//! }
//!
//! #[handler]
//! fn hear(word: Text) {
//!     WORD.set(word.0);
//! }
//!
//! #[handler]
//! fn heard() -> String {
//!     WORD.with_borrow(String::clone)
//! }
//! fanfare_sdk::module!(say, hear, heard);
//!
//! # fn main() {
//! let host = TestHost::builder(Module)
//!     .manifest(r#"{
//!         "routes": [
//!             { "path": "say", "handler": "say" },
//!             { "path": "hear", "handler": "hear", "middlewares": ["inner"] },
//!             { "method": "get", "path": "heard", "handler": "heard" },
//!         ],
//!         "broadcasts": { "said": { "path": "hear" } },
//!     }"#) // better: include_str!("../module.json")
//!     .workers(2)
//!     .start();
//! host.call("say", "hello").unwrap();
//! assert_eq!(host.request("GET heard").on(1).send().unwrap().text(), "hello");
//! assert_eq!(host.emitted()[0].name, "said");
//! assert_eq!(host.call("hear", "psst").unwrap_err().kind(), "forbidden");
//! # }
//! ```

pub(crate) mod backend;
mod builder;
mod chain;
mod channel_entry;
mod channel_imports;
mod channels;
mod client_calls;
mod clients;
mod connect;
mod dispatch;
mod events;
mod jsonc;
mod lines;
mod node;
mod promise;
mod request;
mod routes;
mod schedules;
mod sessions;
mod streams;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub use builder::Builder;
pub use clients::Client;
pub use connect::{ConnectOptions, Rejection};
pub use events::{EmittedEvent, PublishedMessage};
pub use promise::block_on;
pub use request::Request;
pub use sessions::Received;
pub use streams::{Published, Reader, Refusal, StreamOptions};

use crate::failure::CallError;
use crate::payload::IntoPayload;
use crate::types::{CallId, Entry, Isolate, Level, Payload, Reply, StartupReason};
use crate::wit::types as wit;
use node::Node;
use worker::Message;

/// How long a test waits for an event before it fails.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A line that a handler logged.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// The isolate that logged it.
    pub isolate: Isolate,
    /// The call that logged it, or `None` for background work.
    pub caller: Option<CallId>,
    /// The severity.
    pub level: Level,
    /// The message.
    pub message: String,
    /// The fields.
    pub fields: Vec<(String, String)>,
}

/// A broadcast that was emitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    /// The module that declares it, or `None` for the module under test.
    pub module: Option<String>,
    /// The name of the broadcast.
    pub name: String,
    /// The payload.
    pub payload: Payload,
    /// The tenant that it was emitted for.
    pub subdomain: Option<String>,
}

/// A call of the module under test to another module. [`Builder::answer`] answers it.
#[derive(Clone, Debug, PartialEq)]
pub struct OutgoingCall {
    /// The route, as the caller wrote it.
    pub route: String,
    /// The place to call.
    pub target: crate::types::Target,
    /// The payload.
    pub payload: Payload,
    /// The tenant to call for.
    pub subdomain: Option<String>,
}

/// An in-memory host. See the [module](self).
pub struct TestHost {
    node: Arc<Node>,
    threads: Vec<JoinHandle<()>>,
}

impl TestHost {
    /// Starts a host with this module and one worker. Each handler has a route with its name.
    pub fn new<M: crate::Module + 'static>(module: M) -> Self {
        Self::builder(module).start()
    }

    /// Starts to build a host with options.
    pub fn builder<M: crate::Module + 'static>(_module: M) -> Builder {
        Builder::new::<M>()
    }

    /// Sends a request from outside to worker 0, such as `host.call("PUT dark", json!(true))`, and
    /// waits for the reply.
    ///
    /// The path is relative to the module. The method may be left out when it is `POST`, and when
    /// the path has only one.
    pub fn call(&self, route: &str, body: impl IntoPayload) -> Result<Reply, CallError> {
        self.request(route).body(body).send()
    }

    /// Starts to build a request with options.
    pub fn request<'a>(&'a self, route: &'a str) -> Request<'a> {
        Request::new(&self.node, route)
    }

    /// Emits a broadcast as the operator, and waits for all workers.
    pub fn broadcast(&self, name: &str, payload: impl IntoPayload) -> Result<Vec<Entry>, CallError> {
        let emission = wit::Emission { module: None, name: name.to_owned(), subdomain: None, extra: Vec::new() };
        let (_, entries) = self.node.emit(None, &emission, &payload.into_payload()?)?;
        entries
            .into_iter()
            .enumerate()
            .map(|(index, entry)| {
                let outcome = entry.wait(TIMEOUT).unwrap_or(Err(CallError::Timeout)).map(dispatch::into_reply);
                Ok(Entry { isolate: dispatch::worker(index), node: None, outcome })
            })
            .collect()
    }

    /// Waits until no call runs or is queued, for example after `emit` or `notify`.
    ///
    /// # Panics
    /// When calls still run after ten seconds.
    pub fn settle(&self) {
        assert!(self.node.settle(TIMEOUT), "calls still run after {TIMEOUT:?}");
    }

    /// Returns all broadcasts emitted so far, in order.
    pub fn emitted(&self) -> Vec<Emitted> {
        self.node.state().emitted.clone()
    }

    /// Returns all reload requests so far, in order: the name of a module, or `None` for all
    /// modules.
    pub fn reloads(&self) -> Vec<Option<String>> {
        self.node.state().reloads.clone()
    }

    /// Starts to open a stream, as a client does with `GET /stream?connectKey=<key>`.
    pub fn stream(&self, key: &str) -> StreamOptions<'_> {
        StreamOptions::new(&self.node, key)
    }

    /// Returns all events published so far, in order, also those that no client received.
    pub fn published(&self) -> Vec<Published> {
        self.node.state().published.clone()
    }

    /// Returns all lines logged so far.
    pub fn logs(&self) -> Vec<LogLine> {
        self.node.state().logs.clone()
    }

    /// Sets a key of the config.
    pub fn set_config(&self, key: &str, value: serde_json::Value) {
        self.node.state().config[key] = value;
    }

    /// Ends the instance of a worker, as a trap does, and starts a new one with empty memory. Its
    /// startups run.
    pub fn restart(&self, worker: u32) {
        self.renew(worker, StartupReason::Restart, None);
    }

    /// Replaces the instance of every worker, as a swap does, and hands over the snapshot.
    ///
    /// # Panics
    /// When an instance fails to save, start or load the state.
    pub fn swap(&self) {
        for worker in 0..self.node.workers() {
            let (saved, waiting) = promise::promise();
            self.node.send(worker, Message::Save(saved));
            let state = match waiting.wait(TIMEOUT).flatten() {
                Some(Ok(state)) => Some(state),
                Some(Err(error)) => panic!("worker-{worker} failed to save its state: {error}"),
                None => None,
            };
            self.renew(worker, StartupReason::Swap, state);
        }
    }

    fn renew(&self, worker: u32, reason: StartupReason, state: Option<Payload>) {
        let (ready, waiting) = promise::promise();
        self.node.send(worker, Message::Renew { reason, state, ready });
        match waiting.wait(TIMEOUT) {
            Some(Ok(())) => {}
            Some(Err(error)) => panic!("worker-{worker} failed to start: {error}"),
            None => panic!("worker-{worker} did not start within {TIMEOUT:?}"),
        }
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        for worker in 0..self.node.workers() {
            self.node.send(worker, Message::Stop);
        }
        for thread in self.threads.drain(..) {
            // A worker that panicked has printed its message. A second panic here would hide it.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for TestHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestHost").field("workers", &self.node.workers()).finish_non_exhaustive()
    }
}
