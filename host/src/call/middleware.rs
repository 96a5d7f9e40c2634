//! A call of a middleware.

use std::sync::Arc;

use super::{Context, Extra, Payload, RouteName, Trigger};

/// A call of a middleware that is a route of a module, before the handler of a call that has
/// started.
#[derive(Debug, Clone)]
pub struct MiddlewareCall {
    /// The call that waits for the middleware.
    pub context: Arc<Context>,
    /// The middleware. It names its module.
    pub name: RouteName,
    /// That of the waiting call.
    pub trigger: Trigger,
    /// That of the middleware's name. The client's query could pass for its settings.
    pub query: String,
    pub payload: Payload,
    /// The facts so far, and the route that waits: `for`.
    pub extra: Extra,
}
