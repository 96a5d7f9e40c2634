//! What the HTTP trigger needs of the worker it runs on.

use std::future::Future;
use std::sync::Arc;

use http::Method;

use super::content::HostRoute;
use crate::call::{CallError, Ended, Payload, RequestHead, Trace};
use crate::registry::router::{Found, Matched};

/// Finds and runs the routes of a worker. Cloned once per connection.
pub trait Serve: Clone + Send + Sync + 'static {
    /// A module as the worker holds it.
    type Module: Send + Sync;

    /// A module by its name, or why it cannot be called.
    fn module(&self, name: &str) -> Result<Self::Module, CallError>;

    /// Looks a route up; `path` is what follows `/api/<module>/`, as it was sent.
    fn find(&self, module: &Self::Module, method: &Method, path: &str) -> Found;

    /// Bytes that the payload of a call may have.
    fn max_payload(&self, module: &Self::Module) -> u64;

    /// Runs a route that [`Serve::find`] brought. Dropped when the client leaves, which must not end the call.
    fn call(&self, module: &Self::Module, matched: Matched, asked: Asked) -> impl Future<Output = Ended> + Send;

    /// Finds a route of the host itself by the whole path of a request, which is not below `/api/`.
    fn host_route(&self, _path: &str) -> Option<HostRoute> {
        None
    }

    /// What the page for developers lists.
    fn modules(&self) -> Vec<ListedModule>;
}

/// A request whose route is found and whose body is read.
#[derive(Debug)]
pub struct Asked {
    /// As it was sent: `HEAD` too.
    pub method: Method,
    /// Without `?`, not decoded.
    pub query: String,
    pub payload: Payload,
    pub head: Box<RequestHead>,
    pub trace: Trace,
    pub subdomain: Option<Arc<str>>,
    /// The connection has many requests open: another worker may be better.
    pub spill: bool,
}

/// A module on the page for developers.
#[derive(Debug, Clone)]
pub struct ListedModule {
    pub name: String,
    /// In words, such as `ready` or `failed: ..`.
    pub state: String,
    pub routes: Vec<ListedRoute>,
}

/// A route on the page for developers.
#[derive(Debug, Clone)]
pub struct ListedRoute {
    pub method: Method,
    /// As in the manifest, without a leading slash.
    pub path: String,
    pub inner: bool,
}
