//! The interface through which the HTTP trigger uses the worker that owns the connection.

use std::future::Future;

use http::Method;

use super::host_route::HostRoute;
use super::restart_notice::RestartNotice;
use crate::call::{CallError, CallResult, ExchangeRequest, HttpRequest, StreamedBody};
use crate::registry::router::{MatchedRoute, RouteLookup};

/// Finds and runs the routes of a worker. Each connection has a clone.
pub trait Backend: Clone + Send + Sync + 'static {
    /// A module that is installed in the worker.
    type Module: Send + Sync;

    /// Finds a module by its name.
    fn module(&self, name: &str) -> Result<Self::Module, CallError>;

    /// Finds a route. `path` is the part after `/api/<module>/`, still percent-encoded.
    fn find(&self, module: &Self::Module, method: &Method, path: &str) -> RouteLookup;

    /// Returns the largest payload that the module accepts, in bytes.
    fn max_payload(&self, module: &Self::Module) -> u64;

    /// Runs a route that [`Backend::find`] returned. Dropping the future must not cancel the call:
    /// the trigger drops it when the client disconnects.
    fn call(
        &self,
        module: &Self::Module,
        matched: MatchedRoute,
        request: HttpRequest,
    ) -> impl Future<Output = CallResult> + Send;

    /// Why the module serves in no worker now although it will again without anybody's help, and
    /// how long that takes.
    fn restart(&self, _module: &Self::Module) -> Option<RestartNotice> {
        None
    }

    /// Whether the module answers requests that match no route, with [`Backend::exchange`].
    fn has_exchange(&self, _module: &Self::Module) -> bool {
        false
    }

    /// Whether the module answers requests outside `/api/` if `http.mount` names it.
    fn is_mounted(&self, _module: &Self::Module) -> bool {
        false
    }

    /// Lets the module answer a request through `wasi:http`. Resolves with the head of the
    /// response.
    fn exchange(
        &self,
        _module: &Self::Module,
        _request: ExchangeRequest,
    ) -> impl Future<Output = Result<http::Response<StreamedBody>, CallError>> + Send {
        std::future::ready(Err(CallError::NotFound("the module does not serve wasi:http".to_owned())))
    }

    /// Whether all paths are routes of the host, so that there are no modules.
    fn has_only_host_routes(&self) -> bool {
        false
    }

    /// Finds a route of the host itself. `path` is the whole path of a request outside `/api/`.
    fn host_route(&self, _path: &str) -> Option<HostRoute> {
        None
    }

    /// Finds the socket of a module that a path opens. `path` is as in [`Backend::find`].
    fn socket(&self, _module: &Self::Module, _path: &str) -> Option<HostRoute> {
        None
    }

    /// Is told that the host panicked while it answered a request. The panic is logged already.
    fn panicked(&self, _panic: &str) {}
}
