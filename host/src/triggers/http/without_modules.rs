//! A server without modules: all its paths are routes of the host.

use std::convert::Infallible;

use http::Method;

use super::backend::Backend;
use super::host_route::HostRoute;
use crate::call::{CallError, CallResult, HttpRequest};
use crate::registry::{MatchedRoute, RouteLookup};

/// The routes of a server without modules. Each connection has a clone.
pub trait HostRoutes: Clone + Send + Sync + 'static {
    /// Finds the route of a path.
    fn route(&self, path: &str) -> Option<HostRoute>;
}

/// Serves [`HostRoutes`].
#[derive(Debug, Clone)]
pub struct WithoutModules<R>(pub R);

impl<R: HostRoutes> Backend for WithoutModules<R> {
    type Module = Infallible;

    fn module(&self, name: &str) -> Result<Infallible, CallError> {
        Err(CallError::NotFound(format!("this server has no modules, so none is named `{name}`")))
    }

    fn find(&self, module: &Infallible, _: &Method, _: &str) -> RouteLookup {
        match *module {}
    }

    fn max_payload(&self, module: &Infallible) -> u64 {
        match *module {}
    }

    async fn call(&self, module: &Infallible, _: MatchedRoute, _: HttpRequest) -> CallResult {
        match *module {}
    }

    fn has_only_host_routes(&self) -> bool {
        true
    }

    fn host_route(&self, path: &str) -> Option<HostRoute> {
        self.0.route(path)
    }
}
