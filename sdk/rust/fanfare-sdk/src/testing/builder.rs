use std::collections::HashMap;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;

use super::chain::Middleware;
use super::channels::ChannelState;
use super::events::{EventState, SubscriptionEntry};
use super::node::{Answer, ModuleFns, Node, OnMessage, State};
use super::routes::{Manifest, Route, Target};
use super::schedules::ScheduleEntry;
use super::{OutgoingCall, TIMEOUT, TestHost, jsonc, promise, worker};
use crate::context::Context;
use crate::failure::CallError;
use crate::outcome::IntoOutcome;
use crate::types::{Payload, Reply, StartupReason};

/// The options of a [`TestHost`]. Create one with [`TestHost::builder`].
pub struct Builder {
    module: ModuleFns,
    name: String,
    manifest: Manifest,
    has_manifest: bool,
    workers: u32,
    config: Value,
    answers: Vec<(String, Answer)>,
    middlewares: Vec<(String, Middleware)>,
    options: Value,
    nodes: Vec<crate::wit::nodes::Node>,
    on_message: Option<OnMessage>,
}

impl Builder {
    pub(super) fn new<M: crate::Module + 'static>() -> Self {
        Builder {
            module: ModuleFns::of::<M>(),
            name: "test".to_owned(),
            manifest: Manifest::default(),
            has_manifest: false,
            workers: 1,
            config: Value::Object(serde_json::Map::new()),
            answers: Vec::new(),
            middlewares: Vec::new(),
            options: Value::Object(serde_json::Map::new()),
            nodes: Vec::new(),
            on_message: None,
        }
    }

    /// Sets the name of the module. The default is `test`.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Sets the text of `module.json`, usually with `include_str!("../module.json")`. The host
    /// reads its routes, broadcasts, startups, schedules, subscriptions, streams, channels,
    /// sockets, filters, hooks of clients and config.
    /// Without a manifest each handler has a route with its name.
    ///
    /// # Panics
    /// When the text is not JSON. Comments and trailing commas are allowed.
    #[must_use]
    pub fn manifest(mut self, text: &str) -> Self {
        match serde_json::from_str(&jsonc::to_json(text)) {
            Ok(manifest) => self.manifest = manifest,
            Err(error) => panic!("the manifest is not valid JSON for a module: {error}"),
        }
        self.has_manifest = true;
        self
    }

    /// Adds a route, such as `GET {name}`.
    #[must_use]
    pub fn route(mut self, route: &str, handler: &str) -> Self {
        let (method, path) = route.split_once(' ').unwrap_or(("post", route));
        self.manifest.routes.push(Route {
            method: Some(method.to_owned()),
            path: path.to_owned(),
            handler: handler.to_owned(),
            middlewares: Vec::new(),
        });
        self
    }

    /// Adds a broadcast, and the handler that runs for it in every worker.
    #[must_use]
    pub fn broadcast(self, name: &str, handler: &str) -> Self {
        self.with_broadcast(name, handler, None)
    }

    /// Adds a durable broadcast, and the handler that runs for it in every worker.
    #[must_use]
    pub fn durable_broadcast(self, name: &str, handler: &str) -> Self {
        self.with_broadcast(name, handler, Some("durable".to_owned()))
    }

    fn with_broadcast(mut self, name: &str, handler: &str, delivery: Option<String>) -> Self {
        let path = format!("broadcasts/{name}");
        self.manifest.broadcasts.insert(name.to_owned(), Target { path: path.clone(), delivery });
        self.route(&path, handler)
    }

    /// Adds a schedule of the type `worker`, and the handler that runs for it. Only
    /// [`run_schedule`](TestHost::run_schedule) runs it.
    #[must_use]
    pub fn schedule(mut self, name: &str, handler: &str) -> Self {
        let path = format!("schedules/{name}");
        let entry = ScheduleEntry { path: path.clone(), ..ScheduleEntry::default() };
        self.manifest.schedules.insert(name.to_owned(), entry);
        self.route(&path, handler)
    }

    /// Adds a subscription to the types of events that the pattern covers, and the handler that
    /// runs in one worker, in turns.
    #[must_use]
    pub fn subscription(mut self, name: &str, pattern: &str, handler: &str) -> Self {
        let path = format!("subscriptions/{name}");
        let (event, route) = (Some(pattern.to_owned()), Some(path.clone()));
        let entry = SubscriptionEntry { event, path: route, ..SubscriptionEntry::default() };
        self.manifest.subscriptions.insert(name.to_owned(), entry);
        self.route(&path, handler)
    }

    /// Sets the number of workers. The default is one.
    #[must_use]
    pub fn workers(mut self, workers: u32) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Overrides the config of the manifest.
    #[must_use]
    pub fn config(mut self, config: Value) -> Self {
        self.config = config;
        self
    }

    /// Answers the module's calls to a route of another module, written `other/path` or
    /// `other.path`.
    #[must_use]
    pub fn answer(
        mut self,
        route: &str,
        answer: impl Fn(OutgoingCall) -> Result<Reply, CallError> + Send + Sync + 'static,
    ) -> Self {
        self.answers.push((route.to_owned(), Arc::new(answer)));
        self
    }

    /// Runs in place of a middleware of another module, written `module/path` without its query.
    /// The function gets what the middleware would get, and returns what a handler can return: a
    /// [`Pass`](crate::Pass), a [`Passed`](crate::types::Passed), a reply or a failure.
    ///
    /// The host runs the module's own middlewares without it. A call whose middleware belongs to
    /// another module, and has no function here, fails with `unavailable`.
    ///
    /// ```
    /// use fanfare_sdk::prelude::*;
    /// use fanfare_sdk::types::Passed;
    ///
    /// #[handler]
    /// fn buy(cx: Context) -> String {
    ///     format!("{} buys", cx.extra("accounts.user").unwrap_or("nobody"))
    /// }
    /// fanfare_sdk::module!(buy);
    ///
    /// # fn main() {
    /// let host = TestHost::builder(Module)
    ///     .name("shop")
    ///     .manifest(r#"{
    ///         "routes": [{ "path": "buy", "handler": "buy", "middlewares": "accounts/signed-in?as=member" }],
    ///         "capabilities": { "rpc": ["accounts"] },
    ///     }"#)
    ///     .middleware("accounts/signed-in", |cx: Context, _| {
    ///         assert_eq!((cx.extra("for"), cx.query_pairs().len()), (Some("POST shop/buy"), 1));
    ///         let user = cx.header("x-user").ok_or_else(|| Failure::forbidden("no-user", "sign in"))?;
    ///         Ok::<_, Failure>(Passed::new().with_extra("user", user))
    ///     })
    ///     .start();
    /// assert_eq!(host.request("buy").header("x-user", "ada").send().unwrap().text(), "ada buys");
    /// assert_eq!(host.call("buy", ()).unwrap_err().failure().unwrap().name, "no-user");
    /// # }
    /// ```
    #[must_use]
    pub fn middleware<O: IntoOutcome>(
        mut self,
        route: &str,
        run: impl Fn(Context, Payload) -> O + Send + Sync + 'static,
    ) -> Self {
        let run = move |cx, payload| run(cx, payload).into_outcome();
        self.middlewares.push((route.to_owned(), Arc::new(run)));
        self
    }

    /// Sets the options of the host, which the module reads with
    /// [`master::options`](crate::master::options). Default: no options.
    #[must_use]
    pub fn options(mut self, options: Value) -> Self {
        self.options = options;
        self
    }

    /// Adds another node of the cluster, which the module finds with
    /// [`nodes::list`](crate::nodes::list). The node of the test is `test-1`, of the server type
    /// `test`.
    #[must_use]
    pub fn node(mut self, node: crate::nodes::Node) -> Self {
        self.nodes.push(node.into_wit());
        self
    }

    /// Handles the module's messages to the master, and replies to them.
    #[must_use]
    pub fn on_message(
        mut self,
        handler: impl Fn(Payload) -> Result<Payload, CallError> + Send + Sync + 'static,
    ) -> Self {
        self.on_message = Some(Box::new(handler));
        self
    }

    /// Starts the host. Each worker then has an instance whose startups have ended.
    ///
    /// # Panics
    /// When the manifest names a handler or a middleware that the module does not have, and when a
    /// startup fails.
    pub fn start(mut self) -> TestHost {
        for route in &self.manifest.routes {
            let known = self.module.handlers.contains(&route.handler.as_str());
            let (path, handler) = (&route.path, &route.handler);
            assert!(known, "the route `{path}` names the handler `{handler}`: add it to `fanfare_sdk::module!`");
        }
        if let Some(fault) = self.manifest.chain_fault(&self.name) {
            panic!("{fault}");
        }
        if !self.has_manifest {
            let by_name = self.module.handlers.iter().map(|name| Route {
                method: None,
                path: (*name).to_owned(),
                handler: (*name).to_owned(),
                middlewares: Vec::new(),
            });
            self.manifest.routes.extend(by_name);
        }
        let mut config = Value::Object(std::mem::take(&mut self.manifest.config));
        merge(&mut config, self.config);

        let (senders, inboxes): (Vec<_>, Vec<_>) = (0..self.workers).map(|_| channel()).unzip();
        let state = State {
            next_call: 1,
            next_broadcast: 1,
            calls: HashMap::new(),
            config,
            logs: Vec::new(),
            emitted: Vec::new(),
            reloads: Vec::new(),
            published: Vec::new(),
            readers: Vec::new(),
            next_reader: 0,
            events: EventState::default(),
            channels: ChannelState::default(),
            clients: Vec::new(),
            clients_so_far: 0,
        };
        let node = Arc::new(Node {
            module: self.module,
            name: self.name,
            manifest: self.manifest,
            answers: self.answers,
            middlewares: self.middlewares,
            options: self.options,
            nodes: self.nodes,
            on_message: self.on_message,
            senders: Mutex::new(senders),
            state: Mutex::new(state),
            idle: Condvar::new(),
            sequencer: Mutex::new(()),
            lines: Mutex::new(()),
        });
        let (threads, starting): (Vec<_>, Vec<_>) = inboxes
            .into_iter()
            .zip(0..)
            .map(|(inbox, index)| {
                let (ready, waiting) = promise::promise();
                (worker::supervise(&node, index, inbox, StartupReason::Start, ready), waiting)
            })
            .unzip();
        let host = TestHost { node, threads };
        for (index, waiting) in starting.into_iter().enumerate() {
            match waiting.wait(TIMEOUT) {
                Some(Ok(())) => {}
                Some(Err(error)) => panic!("worker-{index} failed to start: {error}"),
                None => panic!("worker-{index} did not start within {TIMEOUT:?}"),
            }
        }
        host
    }
}

/// Merges objects key by key. `null` removes a key, and any other value replaces the old one.
fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                if value.is_null() {
                    under.remove(&key);
                } else {
                    merge(under.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (under, over) => *under = over,
    }
}
