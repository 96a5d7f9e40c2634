//! One generation in one isolate: the data that every call there needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::command::Command;
use super::logs::Log;
use super::program::Program;
use super::stats::Stats;
use crate::call::channel::announced;
use crate::call::text::first_line;
use crate::call::{Call, CallError, IsolateId, Route, Trigger};
use crate::config::Limits;
use crate::registry::{DeclaredSubscription, Generation, Router, SocketRoute};

/// The names of exports in place of a handler and a route, in messages.
const WASI_HTTP: &str = "wasi:http";
const WASI_COMMAND: &str = "wasi:cli/run";

/// How an instance ended or was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceEnd {
    /// Why, in one line.
    pub why: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
}

impl InstanceEnd {
    /// When it ended, in UTC with seconds.
    pub fn time(&self) -> String {
        let seconds = i64::try_from(self.at / 1_000).ok();
        let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        time.map(|time| time.to_string()).unwrap_or_default()
    }
}

/// A generation with the router, routes and log that one slot serves it with.
pub struct Deployment {
    /// Identifies the deployment that a call's route belongs to.
    number: u64,
    isolate: IsolateId,
    pub generation: Arc<Generation>,
    /// Instances of this deployment are instances of this program.
    pub(super) program: Arc<Program>,
    /// A copy per slot, so that workers share no cache line that they write per call.
    pub router: Router,
    /// Shared by all instances, so that they share `limits.logRate`.
    pub log: Log,
    /// See [`Deployment::failures`].
    pub(super) failed: Arc<AtomicU64>,
    /// How the last instance ended that did not end by itself.
    last_end: Mutex<Option<InstanceEnd>>,
    routes: Vec<Arc<Route>>,
    /// The route of requests for the `wasi:http` export, if the component has one.
    exchange_route: Option<Arc<Route>>,
    /// The route of commands, if the component has `wasi:cli/run`.
    command_route: Option<Arc<Route>>,
}

impl Deployment {
    pub fn new(program: Arc<Program>, isolate: IsolateId, stats: &Stats) -> Deployment {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let generation = program.generation.clone();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let routes = generation.routes(number);
        let route_of = |export: &str| {
            Arc::new(Route { deployment: number, handler: export.into(), text: export.into(), chain: Vec::new() })
        };
        Deployment {
            number,
            isolate,
            router: generation.router(&routes),
            log: log(&generation, isolate, stats),
            failed: Arc::default(),
            last_end: Mutex::default(),
            exchange_route: generation.exports.http.as_ref().map(|_| route_of(WASI_HTTP)),
            command_route: generation.exports.command.as_ref().map(|_| route_of(WASI_COMMAND)),
            routes,
            generation,
            program,
        }
    }

    /// The number of calls that crashed, timed out or ended with a status of 500 or above.
    pub fn failures(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Why and when the last instance ended or was replaced.
    pub fn last_end(&self) -> Option<InstanceEnd> {
        self.last_end.lock().clone()
    }

    /// Records why an instance ended or was replaced.
    pub(super) fn note_end(&self, why: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        *self.last_end.lock() = Some(InstanceEnd { why: first_line(why).to_owned(), at });
    }

    /// Takes over the last end from the previous deployment, if that is of the same generation. An
    /// end of another generation says nothing about this one.
    pub(super) fn follow(&self, former: &Deployment) {
        if former.generation.digest == self.generation.digest {
            *self.last_end.lock() = former.last_end();
        }
    }

    /// The route at this index of the manifest.
    pub fn route(&self, index: usize) -> Option<Arc<Route>> {
        self.routes.get(index).cloned()
    }

    /// The route of requests for the `wasi:http` export, if the component has one.
    pub fn exchange_route(&self) -> Option<Arc<Route>> {
        self.exchange_route.clone()
    }

    /// The route of commands, if the component has `wasi:cli/run`.
    pub fn command_route(&self) -> Option<Arc<Route>> {
        self.command_route.clone()
    }

    /// Returns the route that a call runs here. A call that waited during a swap names a route of
    /// the previous generation: it runs the route with the same method and path, or of the
    /// broadcast, schedule, subscription or hook with the same name, of the stream key, of the
    /// channel, or of the socket with the same pattern. Fails when this generation does not have
    /// that route, or does not admit the call to it.
    pub fn route_of(&self, call: &Call) -> Result<Arc<Route>, CallError> {
        if call.route.deployment == self.number {
            return Ok(call.route.clone());
        }
        if call.exchange.is_some() {
            let gone = || CallError::NotFound(format!("{} no longer exports wasi:http", self.generation.module));
            return self.exchange_route().ok_or_else(gone);
        }
        if Command::of(call, &self.generation).is_some()
            && let Some(route) = self.command_route()
        {
            return Ok(route);
        }
        let by_text = || self.routes.iter().position(|route| route.text == call.route.text);
        let index = match &call.trigger {
            Trigger::Broadcast(broadcast) => self.generation.manifest.broadcasts.get(&*broadcast.name).copied(),
            Trigger::Schedule(run) => self.generation.manifest.schedules.get(&*run.name).and_then(|one| one.route()),
            Trigger::Subscription(message) if message.declared => {
                self.generation.manifest.subscriptions.get(&*message.name).and_then(DeclaredSubscription::route)
            }
            Trigger::Hook(name) => self.generation.manifest.hook(name, self.isolate).map(|hook| hook.route),
            Trigger::Stream { key, .. } => {
                self.generation.manifest.streams.find(key).and_then(|(_, stream)| stream.route)
            }
            Trigger::Channel(event) => {
                let channel = announced(&event.channel).unwrap_or(&event.channel);
                self.generation.manifest.channels.find(channel).and_then(|(_, one)| one.asks(event.action))
            }
            Trigger::Client(message) if message.socket.as_ref() == Some(&self.generation.module) => {
                match self.generation.manifest.sockets.get(&message.name).map(|socket| &socket.route) {
                    Some(SocketRoute::Own(index)) => Some(*index),
                    // Another module gets the later messages.
                    Some(SocketRoute::Other(_)) => by_text(),
                    None => None,
                }
            }
            _ => by_text(),
        };
        let (module, text) = (&self.generation.module, &call.route.text);
        let found = index.and_then(|index| Some((self.generation.access(index), self.route(index)?)));
        match found {
            Some((access, route)) => match access.admits(call.trigger.kind()) {
                Ok(()) => Ok(route),
                Err(denied) => Err(CallError::Forbidden(format!("`{text}` of {module}: {denied}"))),
            },
            None => Err(CallError::NotFound(format!("{module} no longer has `{text}`"))),
        }
    }
}

/// Creates the log of a generation's instances, with its limits.
pub fn log(generation: &Generation, isolate: IsolateId, stats: &Stats) -> Log {
    let Limits { log_line, log_rate, .. } = generation.limits;
    let dropped = stats.dropped_lines.clone();
    Log::new(generation.module.clone(), generation.short_digest(), isolate, log_line, log_rate, dropped)
}
