//! Rules about the middlewares of routes that only the host calls.

use crate::registry::manifest::model::Route;
use crate::registry::manifest::raw::Middleware;

/// Whether a route has a middleware. A route with a fault counts as without.
pub(super) fn has(routes: &[Option<Route>], route: Option<usize>, middleware: Middleware) -> bool {
    let route = route.and_then(|index| routes.get(index)?.as_ref());
    route.is_some_and(|route| route.middlewares.contains(&middleware))
}

/// Checks that only the host calls a route, in every environment. Clients must not be able to call
/// the route of a hook, whose payload is the word of the host, nor a filter, because they would
/// choose what it accepts. The error says what the route must be.
pub(super) fn inside_only(routes: &[Option<Route>], route: usize, what: &str) -> Result<(), String> {
    if !has(routes, Some(route), Middleware::Inner) {
        return Err(format!("must be a route with the middleware `inner`: otherwise clients could call the {what}"));
    }
    if has(routes, Some(route), Middleware::Test) {
        return Err(format!("must be a route without the middleware `test`: a {what} runs in every environment"));
    }
    without_chain(routes, route, what)
}

/// Checks that no middlewares of modules run before a route: `what` says what calls it.
pub(super) fn without_chain(routes: &[Option<Route>], route: usize, what: &str) -> Result<(), String> {
    match routes.get(route).and_then(Option::as_ref) {
        Some(route) if !route.chain.is_empty() => {
            Err(format!("must be a route without middlewares that are routes: none runs before a {what}"))
        }
        _ => Ok(()),
    }
}
