//! Runs the middlewares of a call that are routes, before its handler.

use std::sync::Arc;

use super::dispatch::{CallSpec, Pending};
use super::node::{CallState, Node};
use super::routes::{Manifest, RouteRequest};
use crate::context::Context;
use crate::extract::Incoming;
use crate::failure::{CallError, Failure};
use crate::types::{Call, Outcome, Payload};

/// Runs in place of a middleware of another module.
pub(super) type Middleware = Arc<dyn Fn(Context, Payload) -> Result<Outcome, Failure> + Send + Sync>;

/// A middleware as the manifest writes it: `[METHOD ]module/path[?query]`.
struct Name<'a> {
    method: Option<&'a str>,
    /// Empty if it is a route of the same module.
    module: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Name<'a> {
    fn parse(text: &'a str) -> Self {
        let RouteRequest { method, path, query } = RouteRequest::parse(text);
        let (module, path) = path.split_once('/').unwrap_or((path, ""));
        Name { method, module, path, query }
    }

    fn is_of(&self, module: &str) -> bool {
        self.module.is_empty() || self.module == module
    }

    fn request(&self) -> RouteRequest<'a> {
        RouteRequest { method: self.method, path: self.path, query: self.query }
    }
}

/// Whether the host decides about this middleware before it queues the call.
pub(super) fn is_built_in(name: &str) -> bool {
    matches!(name, "inner" | "session" | "test" | "cors")
}

impl Manifest {
    /// Returns why a real host would reject a chain of this module, as far as its own routes show.
    pub fn chain_fault(&self, module: &str) -> Option<String> {
        let named = self.routes.iter().flat_map(|route| route.chain().map(|name| (&route.path, name)));
        named.filter(|(_, name)| Name::parse(name).is_of(module)).find_map(|(path, name)| {
            let fault = match self.find(&Name::parse(name).request()) {
                Err(_) => "the module has no such route",
                Ok(route) if !route.inner => "its route needs the middleware `inner`",
                Ok(route) if !route.chain.is_empty() => "its route has middlewares that are routes",
                Ok(_) => return None,
            };
            Some(format!("the route `{path}` names the middleware `{name}`: {fault}"))
        })
    }
}

impl Node {
    /// Runs the middlewares and the handler of a call.
    pub async fn run(&self, mut call: Call) -> Result<Outcome, CallError> {
        let (chain, route) = {
            let mut state = self.state();
            let running = state.calls.get_mut(&call.id);
            running.map(|call| (std::mem::take(&mut call.chain), call.route.clone())).unwrap_or_default()
        };
        for name in &chain {
            let named = |error| of_middleware(name, error);
            match self.step(&call, name, &route).await.map_err(named)? {
                Outcome::Reply(reply) => return Ok(Outcome::Reply(reply)),
                Outcome::Pass(passed) => {
                    let module = Name::parse(name).module;
                    let module = if module.is_empty() { &self.name } else { module };
                    call.payload = passed.payload.unwrap_or(call.payload);
                    let facts = passed.extra.into_iter();
                    call.extra.extend(facts.map(|(fact, value)| (format!("{module}.{fact}"), value)));
                }
            }
        }
        (self.module.handle)(call).await.map_err(CallError::Failure)
    }

    /// Runs a middleware of a call for this route.
    async fn step(&self, call: &Call, text: &str, route: &str) -> Result<Outcome, CallError> {
        let name = Name::parse(text);
        let (method, path) = route.split_once(' ').unwrap_or(("POST", route));
        let mut extra = call.extra.clone();
        extra.push(("for".to_owned(), format!("{method} {}/{path}", self.name)));
        if name.is_of(&self.name) {
            return self.own_step(call, &name, extra)?.await;
        }
        let called = format!("{}/{}", name.module, name.path);
        let Some((_, run)) = self.middlewares.iter().find(|(route, _)| *route == called) else {
            return Err(CallError::Unavailable(format!(
                "it belongs to another module: add `.middleware({called:?}, ..)` to the test host, or `.name(..)` if \
                 the module under test is {}",
                name.module
            )));
        };
        let call = Call { handler: called, params: Vec::new(), query: name.query.to_owned(), extra, ..call.clone() };
        let mut incoming = Incoming::new(call);
        let payload = incoming.take_body().map_err(CallError::Failure)?;
        run(incoming.context(), payload).map_err(CallError::Failure)
    }

    /// Queues the call of a middleware of this module, in the same worker.
    fn own_step(&self, call: &Call, name: &Name<'_>, extra: Vec<(String, String)>) -> Result<Pending, CallError> {
        let nested = self.nested(Some(call.id), None)?;
        let state = self.state().calls.get(&call.id).cloned().unwrap_or_default();
        let state = CallState { depth: nested.depth, resolver: None, ..state };
        Ok(self.start(CallSpec {
            route: self.manifest.find(&name.request())?,
            query: name.query,
            trigger: call.trigger.clone(),
            payload: call.payload.clone(),
            timeout: None,
            state,
            origin: call.origin.clone(),
            extra,
        }))
    }
}

/// The error of a call whose middleware has failed, as in the real host: only a failure that the
/// middleware returned reaches the caller unchanged.
fn of_middleware(name: &str, error: CallError) -> CallError {
    let named = |why: String| format!("the middleware {name}: {why}");
    match error {
        CallError::TooDeep(why) => CallError::TooDeep(named(why)),
        CallError::Crashed(why)
        | CallError::NotFound(why)
        | CallError::Forbidden(why)
        | CallError::Invalid(why)
        | CallError::Unavailable(why) => CallError::Unavailable(named(why)),
        other => other,
    }
}
