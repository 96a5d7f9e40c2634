//! The worker that a connection runs on, as the HTTP trigger sees it.

use std::future::Future;

use http::Method;

use super::content::HostRoute;
use super::index::IndexModule;
use crate::call::{CallError, CallResult, HttpRequest};
use crate::registry::router::{Found, Matched};

/// Finds and runs the routes of a worker. Cloned once per connection.
pub trait Backend: Clone + Send + Sync + 'static {
    /// A module that is installed in the worker.
    type Module: Send + Sync;

    /// Finds a module by its name.
    fn module(&self, name: &str) -> Result<Self::Module, CallError>;

    /// Finds a route. `path` is the part behind `/api/<module>/`, as the client sent it.
    fn find(&self, module: &Self::Module, method: &Method, path: &str) -> Found;

    /// Returns the largest payload that the module accepts, in bytes.
    fn max_payload(&self, module: &Self::Module) -> u64;

    /// Runs a route that [`Backend::find`] returned. The trigger drops the future when the client
    /// leaves, which must not end the call.
    fn call(
        &self,
        module: &Self::Module,
        matched: Matched,
        request: HttpRequest,
    ) -> impl Future<Output = CallResult> + Send;

    /// Finds a route of the host itself by the whole path of a request, which is not below `/api/`.
    fn host_route(&self, _path: &str) -> Option<HostRoute> {
        None
    }

    /// Lists the modules for the page for developers.
    fn index(&self) -> Vec<IndexModule>;
}
