//! The calls that clients of the in-memory host cause: hooks, filters and the routes of messages.

use serde_json::json;

use super::TIMEOUT;
use super::clients::SocketMatch;
use super::dispatch::{CallSpec, Pending, into_reply};
use super::node::{CallState, Node};
use super::routes::{MatchedRoute, RouteRequest};
use crate::failure::CallError;
use crate::types::{ClientMessage, Hook, Origin, Outcome, Payload, Reply, Trigger};

impl Node {
    /// Queues the call of a hook, with the parameters and the query of the client's socket. `None`
    /// if the manifest has no such hook.
    pub(super) fn start_hook(
        &self,
        name: &str,
        socket: Option<&SocketMatch>,
        payload: Payload,
        state: CallState,
    ) -> Option<Result<Pending, CallError>> {
        let target = self.manifest.hooks.get(name)?;
        let origin = state.session.clone().map_or(Origin::Client, Origin::Session);
        Some(self.manifest.find(&RouteRequest::parse(&target.path)).map(|mut route| {
            let query = socket.map_or("", |socket| socket.query.as_str());
            route.params = socket.map(|socket| socket.params.clone()).unwrap_or_default();
            let trigger = Trigger::Hook(Hook { name: name.to_owned() });
            self.start(CallSpec { route, query, trigger, payload, timeout: None, state, origin, extra: Vec::new() })
        }))
    }

    /// Runs a hook. Returns the payload of a pass.
    pub(super) fn hook(
        &self,
        name: &str,
        socket: Option<&SocketMatch>,
        payload: Payload,
        state: CallState,
    ) -> Result<Option<Payload>, CallError> {
        let Some(started) = self.start_hook(name, socket, payload, state) else { return Ok(None) };
        match ended(started?)? {
            Outcome::Pass(passed) => Ok(passed.payload),
            Outcome::Reply(_) => Ok(None),
        }
    }

    /// Runs the filters and the route of a client's message.
    pub(super) fn client_message(
        &self,
        session: &str,
        socket: Option<&SocketMatch>,
        name: &str,
        payload: Payload,
        wants_reply: bool,
    ) -> Result<Payload, CallError> {
        let named = match socket {
            Some(socket) => self.own_route(&socket.module, socket.route.clone())?,
            None => self.route_of(name)?,
        };
        let request = RouteRequest::parse(&named);
        let (mut route, mut query) = (self.manifest.find(&request)?, request.query);
        let name = socket.map_or(name, |socket| &socket.pattern);
        if let Some(socket) = socket {
            (route.params, query) = (socket.params.clone(), &socket.query);
        }
        if !route.session {
            return Err(CallError::Forbidden(format!(
                "messages of connected clients reach only routes with the middleware `session`: `{name}` has none"
            )));
        }
        let client = self.state().client(None, Some(session)).map(|client| {
            let (worker, subdomain) = (client.record.worker, client.subdomain.clone());
            CallState { worker, subdomain, session: Some(session.to_owned()), ..CallState::default() }
        })?;
        let message = ClientMessage { session: session.to_owned(), name: name.to_owned(), wants_reply };
        let run = |route: MatchedRoute, trigger: Trigger, payload: Payload, extra: Vec<(String, String)>| {
            let origin = Origin::Session(session.to_owned());
            let (state, timeout) = (client.clone(), None);
            ended(self.start(CallSpec { route, query, trigger, payload, timeout, state, origin, extra }))
        };
        let (mut payload, mut facts, text) = (payload, Vec::new(), route.text.clone());
        for filter in &self.manifest.filters.before {
            let filter = self.manifest.find(&RouteRequest::parse(filter))?;
            let mut extra = facts.clone();
            extra.push(("for".to_owned(), text.clone()));
            match run(filter, Trigger::Client(message.clone()), payload.clone(), extra)? {
                Outcome::Reply(reply) => return Ok(reply.payload),
                Outcome::Pass(passed) => {
                    payload = passed.payload.unwrap_or(payload);
                    let named = |(name, value)| (format!("{}.{name}", self.name), value);
                    facts.extend(passed.extra.into_iter().map(named));
                }
            }
        }
        let mut reply: Reply = into_reply(run(route, Trigger::Client(message), payload, facts)?);
        for filter in &self.manifest.filters.after {
            let filter = self.manifest.find(&RouteRequest::parse(filter))?;
            let data = json!({ "route": text, "status": reply.status }).to_string();
            match run(filter, Trigger::Other(("after".to_owned(), data)), reply.payload.clone(), Vec::new())? {
                Outcome::Reply(other) => reply = other,
                Outcome::Pass(passed) => reply.payload = passed.payload.unwrap_or(reply.payload),
            }
        }
        Ok(reply.payload)
    }

    /// The route below this module that the name of a message means.
    fn route_of(&self, name: &str) -> Result<String, CallError> {
        let path = name.split_once('?').map_or(name, |(path, _)| path);
        let (module, rest) = match (name.split_once('/'), path.split_once('.')) {
            (Some((module, rest)), _) => (module, rest.to_owned()),
            (None, Some((module, rest))) => (module, rest.replace('.', "/")),
            (None, None) => return Ok(name.to_owned()),
        };
        self.own_route(module, rest)
    }

    /// Returns a path, if its module is the one under test.
    fn own_route(&self, module: &str, path: String) -> Result<String, CallError> {
        if module.is_empty() || module == self.name {
            return Ok(path);
        }
        Err(CallError::NotFound(format!("the test host has no module `{module}`")))
    }
}

fn ended(pending: Pending) -> Result<Outcome, CallError> {
    pending.wait(TIMEOUT).unwrap_or(Err(CallError::Timeout))
}
