//! A host in memory: runs a module's handlers under plain `cargo test`.
//!
//! It has workers, routes, broadcasts, calls, config and a log, as the real one has, but no sockets, limits or
//! deadlines. **Each worker is a thread**, so what a module keeps in a `thread_local!` is each worker's own, as
//! in the real host; a plain `static` would be shared here, and is not there.
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
mod dispatch;
mod jsonc;
mod node;
mod promise;
mod request;
mod routes;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub use builder::Builder;
pub use promise::block_on;
pub use request::Request;

use crate::failure::CallError;
use crate::payload::IntoPayload;
use crate::types::{CallId, Entry, Isolate, Level, Payload, Reply, StartupReason};
use crate::wit::types as wit;
use node::Node;
use worker::Message;

/// How long a test waits for anything before it fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// A line that a handler has logged.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// Where.
    pub isolate: Isolate,
    /// For which call; `None` is background work.
    pub caller: Option<CallId>,
    /// How grave it is.
    pub level: Level,
    /// The line.
    pub message: String,
    /// Its fields.
    pub fields: Vec<(String, String)>,
}

/// A broadcast that was emitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    /// `None`: the module's own.
    pub module: Option<String>,
    /// Its name.
    pub name: String,
    /// What it carries.
    pub payload: Payload,
    /// For which tenant.
    pub subdomain: Option<String>,
}

/// What another module gets to answer; see [`Builder::answer`].
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// As it was written by the caller.
    pub route: String,
    /// Where it is to run.
    pub target: crate::types::Target,
    /// What it carries.
    pub payload: Payload,
    /// For which tenant.
    pub subdomain: Option<String>,
}

/// A host in memory; see the [module](self).
pub struct TestHost {
    node: Arc<Node>,
    threads: Vec<JoinHandle<()>>,
}

impl TestHost {
    /// One worker with this module. Every handler is reachable by its name.
    pub fn new<M: crate::Module + 'static>(module: M) -> Self {
        Self::builder(module).start()
    }

    /// A host with more said about it.
    pub fn builder<M: crate::Module + 'static>(_module: M) -> Builder {
        Builder::new::<M>()
    }

    /// A request from outside to worker 0: `host.call("PUT dark", json!(true))`.
    ///
    /// The path is that inside the module. `POST` need not be written, nor the only method there is.
    pub fn call(&self, route: &str, body: impl IntoPayload) -> Result<Reply, CallError> {
        self.request(route).body(body).send()
    }

    /// A request with more said about it than route and body.
    pub fn request<'a>(&'a self, route: &'a str) -> Request<'a> {
        Request::new(&self.node, route)
    }

    /// Emits a broadcast as the operator does, and waits for every worker.
    pub fn broadcast(&self, name: &str, payload: impl IntoPayload) -> Result<Vec<Entry>, CallError> {
        let what = wit::Emission { module: None, name: name.to_owned(), subdomain: None, extra: Vec::new() };
        let (_, entries) = self.node.emit(None, &what, &payload.into_payload()?)?;
        entries
            .into_iter()
            .enumerate()
            .map(|(index, entry)| {
                let outcome = entry.wait(PATIENCE).unwrap_or(Err(CallError::Timeout)).map(dispatch::into_reply);
                Ok(Entry { isolate: dispatch::worker(index), node: None, outcome })
            })
            .collect()
    }

    /// Waits until no call runs or is queued: for what was emitted or notified.
    ///
    /// # Panics
    /// When calls are still running after ten seconds.
    pub fn settle(&self) {
        assert!(self.node.settle(PATIENCE), "there are still calls running");
    }

    /// All broadcasts emitted so far, in order.
    pub fn emitted(&self) -> Vec<Emitted> {
        self.node.state().emitted.clone()
    }

    /// What was asked to be reloaded so far, in order: a module, or `None` for all.
    pub fn reloads(&self) -> Vec<Option<String>> {
        self.node.state().reloads.clone()
    }

    /// All lines logged so far.
    pub fn logs(&self) -> Vec<LogLine> {
        self.node.state().logs.clone()
    }

    /// Changes a key of the config.
    pub fn set_config(&self, key: &str, value: serde_json::Value) {
        self.node.state().config[key] = value;
    }

    /// Ends a worker's instance, as after a trap, and makes a new one with empty memory. Its startups run.
    pub fn restart(&self, worker: u32) {
        self.renew(worker, StartupReason::Restart, None);
    }

    /// Renews every worker's instance as a swap does, with the module's snapshot handed over.
    ///
    /// # Panics
    /// When the state cannot be saved, or the new instances refuse it.
    pub fn swap(&self) {
        for worker in 0..self.node.workers() {
            let (saved, waiting) = promise::promise();
            self.node.send(worker, Message::Save(saved));
            let state = match waiting.wait(PATIENCE).flatten() {
                Some(Ok(state)) => Some(state),
                Some(Err(error)) => panic!("worker-{worker} did not save its state: {error}"),
                None => None,
            };
            self.renew(worker, StartupReason::Swap, state);
        }
    }

    fn renew(&self, worker: u32, reason: StartupReason, state: Option<Payload>) {
        let (ready, waiting) = promise::promise();
        self.node.send(worker, Message::Renew { reason, state, ready });
        match waiting.wait(PATIENCE) {
            Some(Ok(())) => {}
            Some(Err(error)) => panic!("worker-{worker} did not start: {error}"),
            None => panic!("worker-{worker} does not get ready"),
        }
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        for worker in 0..self.node.workers() {
            self.node.send(worker, Message::Stop);
        }
        for thread in self.threads.drain(..) {
            // A worker that panics has said so; a second panic here would hide it.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for TestHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestHost").field("workers", &self.node.workers()).finish_non_exhaustive()
    }
}
