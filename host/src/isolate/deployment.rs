//! One generation in one isolate: what is looked up there for every call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::logs::Log;
use super::stats::Stats;
use crate::call::{Call, CallError, IsolateId, Route, Trigger};
use crate::config::Limits;
use crate::registry::{Generation, Router};

/// A program with the router that one slot serves it with.
pub struct Deployment {
    /// Tells its routes from those of another one.
    number: u64,
    pub generation: Arc<Generation>,
    /// A copy of its own, so that workers share no line that is written per call.
    pub router: Router,
    /// One for all its instances, so that they share the rate.
    pub log: Log,
    /// Calls that have ended badly here: see [`Deployment::failures`].
    pub(super) failed: Arc<AtomicU64>,
    routes: Vec<Arc<Route>>,
}

impl Deployment {
    pub fn new(generation: Arc<Generation>, isolate: IsolateId, stats: &Stats) -> Deployment {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let routes = generation.routes(number);
        Deployment {
            number,
            router: generation.router(&routes),
            log: log(&generation, isolate, stats),
            failed: Arc::default(),
            routes,
            generation,
        }
    }

    /// How many calls have crashed, were late or ended with a status of 500 and above.
    pub fn failures(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// The route at an index of the manifest.
    pub fn route(&self, index: usize) -> Option<Arc<Route>> {
        self.routes.get(index).cloned()
    }

    /// What a call means here, which may have been made for another generation: the route of the same method and path, or of
    /// the broadcast of the same name. What is gone is not found, and what was closed meanwhile is closed to a client that waited.
    pub fn route_of(&self, call: &Call) -> Result<Arc<Route>, CallError> {
        if call.route.deployment == self.number {
            return Ok(call.route.clone());
        }
        let index = match &call.trigger {
            Trigger::Broadcast(broadcast) => self.generation.manifest.broadcasts.get(&*broadcast.name).copied(),
            _ => self.routes.iter().position(|route| route.text == call.route.text),
        };
        let (module, text) = (&self.generation.module, &call.route.text);
        let found = index.and_then(|index| Some((self.generation.access(index), self.route(index)?)));
        match found {
            Some((access, route)) => match access.admits(call.trigger.kind()) {
                Ok(()) => Ok(route),
                Err(closed) => Err(CallError::Forbidden(format!("`{text}` of {module}: {closed}"))),
            },
            None => Err(CallError::NotFound(format!("{module} has no `{text}` any more"))),
        }
    }
}

/// The log of a generation's instances, with its limits.
pub fn log(generation: &Generation, isolate: IsolateId, stats: &Stats) -> Log {
    let Limits { log_line, log_rate, .. } = generation.limits;
    let dropped = stats.dropped_lines.clone();
    Log::new(generation.module.clone(), generation.short_digest(), isolate, log_line, log_rate, dropped)
}
