//! Runs the middlewares of a call that are routes of modules, before the handler.

use std::time::Instant;

use super::InstanceTask;
use crate::bindings::fanfare::module::types::Call as GuestCall;
use crate::call::{Call, CallError, MiddlewareCall, Outcome, RouteName, facts_before};
use crate::isolate::convert;

impl InstanceTask {
    /// Runs the middlewares of a call in their order. Returns the call for the handler, or `None`
    /// if a middleware or the deadline has ended the call.
    pub(super) async fn pass_middlewares(&self, mut call: Call, deadline: Instant) -> Option<GuestCall> {
        let id = call.context.id;
        let has_chain = !call.route.chain.is_empty();
        if has_chain {
            self.running_calls.set_in_chain(id, true);
        }
        for name in &call.route.clone().chain {
            match self.services.ports.calls.middleware(step(&call, name)).await {
                Ok(Outcome::Pass(passed)) => {
                    let module = name.module.as_deref().unwrap_or(&self.slot.module);
                    passed.apply(module, &mut call.payload, &mut call.extra);
                }
                Ok(Outcome::Reply(reply)) => {
                    self.running_calls.end(id, Ok(Outcome::Reply(reply)));
                    return None;
                }
                Err(error) => {
                    self.running_calls.end(id, Err(of_middleware(name, error)));
                    return None;
                }
            }
            if let Err(error) = self.check_passed(&call) {
                self.running_calls.end(id, Err(of_middleware(name, error)));
                return None;
            }
        }
        let now = Instant::now();
        if now >= deadline {
            self.running_calls.end(id, Err(CallError::Timeout(None)));
            return None;
        }
        if has_chain {
            self.running_calls.set_in_chain(id, false);
        }
        Some(convert::call(call, deadline.saturating_duration_since(now)))
    }

    /// Checks what middlewares pass against the limits of this module.
    fn check_passed(&self, call: &Call) -> Result<(), CallError> {
        let limit = self.deployment.generation.limits.payload;
        for (what, size) in [("a payload", call.payload.len()), ("facts", call.facts_len())] {
            if size as u64 > limit {
                return Err(CallError::Unavailable(format!(
                    "it passes {what} of {size} bytes, but limits.payload of {} allows {limit}",
                    self.slot.module
                )));
            }
        }
        Ok(())
    }
}

fn step(call: &Call, name: &RouteName) -> MiddlewareCall {
    MiddlewareCall {
        context: call.context.clone(),
        name: name.clone(),
        trigger: call.trigger.clone(),
        query: name.query.clone(),
        payload: call.payload.clone(),
        extra: facts_before(&call.extra, &full_name(&call.context.module, &call.route.text)),
    }
}

/// Writes a route with its module: `POST shop/buy`.
fn full_name(module: &str, text: &str) -> String {
    match text.split_once(' ') {
        Some((method, path)) => format!("{method} {module}/{path}"),
        None => format!("{module}/{text}"),
    }
}

/// The error of a call whose middleware has failed. Only what the middleware's author returned
/// reaches the caller unchanged: that the middleware is missing or crashed is no fault of this
/// module, nor of the client.
fn of_middleware(name: &RouteName, error: CallError) -> CallError {
    let named = |why: String| format!("the middleware {name}: {why}");
    match error {
        CallError::Overloaded(why) => CallError::Overloaded(named(why)),
        CallError::WouldDeadlock(why) => CallError::WouldDeadlock(named(why)),
        CallError::TooDeep(why) => CallError::TooDeep(named(why)),
        CallError::Crashed(why)
        | CallError::NotFound(why)
        | CallError::Forbidden(why)
        | CallError::Invalid(why)
        | CallError::Unavailable(why) => CallError::Unavailable(named(why)),
        other => other,
    }
}
